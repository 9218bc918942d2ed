from __future__ import annotations

import pytest
import torch

from whet.core.errors import TaskError
from whet.data.sources.source import Bad, Options, Part, Picked, need


def test_rows_of_rows_are_the_rows_that_they_were() -> None:
    values = torch.arange(10) * 10
    lazy = Picked(Picked(values, torch.tensor([9, 7, 5, 3])), torch.tensor([3, 0]))
    assert len(lazy) == 2 and lazy[torch.tensor([1, 0])].tolist() == [90, 30]


def test_inputs_and_targets_of_a_part_stay_together() -> None:
    part = Part({"x": torch.arange(6), "mask": torch.arange(6) + 100}, torch.arange(6) * 2).at(torch.tensor([4, 1]))
    assert part.targets is not None and part.targets.tolist() == [8, 2] and len(part) == 2
    assert [values[:].tolist() for values in part.inputs.values()] == [[4, 1], [104, 101]]
    assert Part({"x": torch.arange(6)}).at(torch.tensor([0])).targets is None


def test_what_is_bad_is_counted_and_named_and_left_out_only_where_asked() -> None:
    bad = Bad("images", {f"{n}.png": "no image" for n in range(7)})
    with pytest.raises(TaskError, match=r"7 images cannot be used: 0.png \(no image\), .* and 2 more.*--skip-bad"):
        bad.settle(Options(), 3)
    (note,) = bad.settle(Options(skip_bad=True), 3)
    assert note.startswith("left out: 7 images")
    with pytest.raises(TaskError, match="nothing else is there"):
        bad.settle(Options(skip_bad=True), 0)
    assert Bad("images").settle(Options(), 3) == ()


def test_a_package_that_is_not_there_is_named_with_how_to_install_it() -> None:
    with pytest.raises(TaskError, match=r"'a.parquet' needs .*'absent_package': pip install 'whet-nn\[data\]'"):
        need("absent_package", "'a.parquet'")
