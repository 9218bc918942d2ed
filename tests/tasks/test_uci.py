"""Tables: standardised by the rows that are trained on, split by the mask that comes with them."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from loaded import bundle

from whet.core.errors import TaskError
from whet.tasks.uci import root_mean_squared_error, table


@pytest.mark.parametrize("name", ["protein", "parkinsons"])
def test_tables_are_standardised(name: str) -> None:
    task = bundle(name).task
    assert float(task.train.inputs.mean(0).abs().max()) < 1e-3
    assert float(task.train.targets.std()) == pytest.approx(1.0, abs=1e-3)
    assert task.direction == "min" and task.loss_of_quality(0.55, 0.5) == pytest.approx(0.1)


def written(folder: Path, rows: int, mask: int) -> None:
    """Write a table of three columns, of which the last is the target, and a mask that marks its first tenth."""
    (folder / "uci").mkdir()
    values = np.random.default_rng(0).normal(5.0, 2.0, (rows, 3))
    marks = (np.arange(mask) < rows // 10)[:, None].astype(int)
    for name, array in (("data", values), ("test_mask", marks)):
        text = "\n".join(",".join(map(str, row)) for row in array)
        (folder / "uci" / f"mine.{name}.csv.gz").write_bytes(gzip.compress(text.encode()))


def test_the_mask_marks_the_test_and_a_tenth_of_the_rest_is_validation(tmp_path: Path) -> None:
    written(tmp_path, 200, 200)
    task = table("mine", tmp_path).task
    assert [len(part.inputs) for part in (task.train, task.val, task.test)] == [162, 18, 20]
    assert task.train.inputs.shape[1] == 2 and task.train.targets.shape[1] == 1
    torch.testing.assert_close(task.train.inputs.std(0), torch.ones(2))
    again = table("mine", tmp_path).task
    assert torch.equal(again.val.inputs, task.val.inputs)


def test_a_mask_of_another_length_is_named(tmp_path: Path) -> None:
    written(tmp_path, 200, 150)
    with pytest.raises(TaskError, match=r"has 200 rows but .* has 150"):
        table("mine", tmp_path)


def test_the_error_is_in_the_targets_unit() -> None:
    assert root_mean_squared_error(torch.tensor([1.0, 5.0]), torch.tensor([1.0, 1.0])) == pytest.approx(8**0.5)
