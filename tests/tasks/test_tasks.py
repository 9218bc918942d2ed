from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from whet import tasks
from whet.core.errors import TaskError, UnknownNameError
from whet.core.task import Task, predict
from whet.tasks.bundle import Bundle, TensorBatches
from whet.tasks.cifar10 import crop_and_flip
from whet.tasks.shakespeare import bits_per_character


def bundle(name: str) -> Bundle:
    try:
        return tasks.get(name)
    except TaskError as error:
        pytest.skip(str(error))


def test_digits_splits_are_disjoint_and_stratified() -> None:
    task = tasks.get("digits").task
    parts = [task.train, task.val, task.test]
    rows = [{x.numpy().tobytes() for x in b.inputs} for b in parts]
    assert [len(b.targets) for b in parts] == [1077, 360, 360]
    assert not rows[0] & rows[2] and not rows[0] & rows[1] and not rows[1] & rows[2]
    for part in parts:
        shares = torch.bincount(part.targets, minlength=10) / len(part.targets)
        assert float(shares.min()) > 0.08 and float(shares.max()) < 0.12


def test_epochs_are_shuffled_and_repeatable() -> None:
    batches = TensorBatches(torch.arange(100.0)[:, None], torch.arange(100), 32, shuffle=True, seed=3)
    first, again, second = ([t for _, t in batches.at_epoch(e)] for e in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], second[0])
    assert len(batches) == len(first) == 3
    whole = torch.cat([t for _, t in TensorBatches(torch.zeros(100, 1), torch.arange(100), 32)])
    assert torch.equal(whole, torch.arange(100))


def test_crops_keep_pixels_and_mirror_half() -> None:
    images = torch.arange(1, 1 + 200 * 3 * 32 * 32).remainder(251).to(torch.uint8).view(200, 3, 32, 32)
    out = crop_and_flip(images, torch.Generator().manual_seed(0))
    assert out.shape == images.shape and out.dtype == torch.uint8
    middle = images[:, :, 16, 16]
    found = sum(bool((o == m[:, None, None]).all(0).any()) for o, m in zip(out, middle, strict=True))
    assert found == 200, "the middle pixel is in every crop"


def test_given_resnet20_scores_what_it_is_said_to() -> None:
    b = bundle("cifar10")
    module, _ = b.trained("resnet20")
    scores = [b.task.score(*predict(module, part, 2000)) for part in (b.task.val, b.task.test)]
    spread = 4 * math.sqrt(0.8866 * (1 - 0.8866) / 4000)
    assert sum(scores) / 2 == pytest.approx(0.8866, abs=spread)
    assert len(b.task.val.targets) == len(b.task.test.targets) == 5000
    assert not np.array_equal(b.task.val.inputs[:50].numpy(), b.task.test.inputs[:50].numpy())


def test_shakespeare_is_split_in_order() -> None:
    b = bundle("shakespeare")
    x, y = next(iter(b.task.val))
    assert torch.equal(x[:, 1:], y[:, :-1]) and x.shape[1] == 128
    even = torch.zeros(2, 5, 4)
    assert bits_per_character(even, torch.zeros(2, 5, dtype=torch.long)) == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["protein", "parkinsons"])
def test_tables_are_standardised(name: str) -> None:
    task = bundle(name).task
    assert float(task.train.inputs.mean(0).abs().max()) < 1e-3
    assert float(task.train.targets.std()) == pytest.approx(1.0, abs=1e-3)
    assert task.direction == "min" and task.loss_of_quality(0.55, 0.5) == pytest.approx(0.1)


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
