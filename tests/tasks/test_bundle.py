from __future__ import annotations

import gzip
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from whet import tasks
from whet.core.errors import TaskError, UnknownNameError
from whet.core.task import Task
from whet.tasks.bundle import TensorBatches, file_name


def test_epochs_are_shuffled_and_repeatable() -> None:
    batches = TensorBatches(torch.arange(100.0)[:, None], torch.arange(100), 32, shuffle=True, seed=3)
    first, again, second = ([t for _, t in batches.at_epoch(e)] for e in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], second[0])
    assert len(batches) == len(first) == 3
    whole = torch.cat([t for _, t in TensorBatches(torch.zeros(100, 1), torch.arange(100), 32)])
    assert torch.equal(whole, torch.arange(100))


@pytest.mark.parametrize("name", ["cifar10", "shakespeare", "protein", "parkinsons"])
def test_absent_data_say_what_to_put_where(name: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=rf"task '{name}' needs .* WHET_DATA") as caught:
        tasks.get(name, tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_truncated_data_are_named(tmp_path: Path) -> None:
    (tmp_path / "cifar10").mkdir()
    for part in ("train", "test"):
        (tmp_path / "cifar10" / f"{part}.npz").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(TaskError, match=r"train\.npz' is truncated"):
        tasks.get("cifar10", tmp_path)
    (tmp_path / "uci").mkdir()
    whole = gzip.compress(b"1,2,3\n4,5,6\n" * 500)
    for part in ("data", "test_mask"):
        (tmp_path / "uci" / f"protein.{part}.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TaskError, match=r"protein\.data\.csv\.gz' is truncated"):
        tasks.get("protein", tmp_path)


def test_misspelt_tasks_and_networks_are_told() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'digits'"):
        tasks.get("digit")
    with pytest.raises(UnknownNameError, match="did you mean 'digits_cnn'"):
        tasks.get("digits").trained("digits_cn")


@pytest.mark.parametrize("value", ["high", None, float("nan")])
def test_a_metric_must_give_a_number(value: object) -> None:
    batches = [(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long))]
    task = Task("mine", train=batches, val=batches, loss=torch.nn.functional.cross_entropy, metric=lambda o, t: value)
    with pytest.raises(TaskError, match="metric 'accuracy' of task 'mine'"):
        task.score(*batches[0])


def test_the_data_folder_may_be_text(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="lacks"):
        tasks.get("protein", str(tmp_path))


def test_networks_of_the_catalogue_are_built_for_the_task_if_they_take_its_inputs() -> None:
    bundle = tasks.get("digits")
    assert bundle.knows("digits_cnn") and bundle.knows("digits-cnn(blocks=1)") and not bundle.knows("net.py:build")
    small = bundle.built("digits-cnn(channels=4, blocks=1)")
    assert len(small.stage1) == 1 and small(*bundle.example).shape == (2, 10)  # type: ignore[arg-type]
    with pytest.raises(TaskError, match=r"'mlp' needs features: write .*Task 'digits' has networks .*: digits_cnn\."):
        bundle.built("mlp")
    with pytest.raises(TaskError, match=r"network 'mlp\(features=9\)' does not take the inputs of task 'digits'"):
        bundle.built("mlp(features=9)")
    with pytest.raises(UnknownNameError, match="did you mean 'digits_cnn'"):
        bundle.built("digit_cnn")


def test_a_networks_words_are_its_files_name_and_options_keep_files_apart() -> None:
    names = [file_name(words) for words in ("resnet20", "mlp(features=9)", "mlp(features=8)", "mlp (features='/')")]
    assert names[0] == "resnet20" and len(set(names)) == 4
    assert all(re.fullmatch(r"mlp-[0-9a-f]{8}", name) for name in names[1:])


def test_a_network_that_is_trained_from_scratch_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {}
    for name, stops in (("whole", False), ("stopped", True)):
        monkeypatch.setenv("WHET_CACHE", str(tmp_path / name))
        bundle = replace(tasks.get("digits"), pretraining_epochs=2)
        steps = count()

        def stop(event: dict[str, Any], steps: Iterator[int] = steps) -> None:
            if next(steps) == 1:
                signal.raise_signal(signal.SIGINT)

        with patch("whet.train.fit.REPORT_SECONDS", 0.0):
            if stops:
                with pytest.raises(KeyboardInterrupt):
                    bundle.trained(progress=stop)
                assert list((tmp_path / name).glob("*.part"))
            weights[name] = bundle.trained()[0].state_dict()
        assert not list((tmp_path / name).glob("*.part"))
    for one, other in zip(weights["whole"].values(), weights["stopped"].values(), strict=True):
        torch.testing.assert_close(one, other)
