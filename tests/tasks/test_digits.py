"""The digits: a fixed split in which every class has its share."""

import torch

from whet import tasks


def test_digits_splits_are_disjoint_and_stratified() -> None:
    task = tasks.get("digits").task
    parts = [task.train, task.val, task.test]
    rows = [{x.numpy().tobytes() for x in b.inputs} for b in parts]
    assert [len(b.targets) for b in parts] == [1077, 360, 360]
    assert not rows[0] & rows[2] and not rows[0] & rows[1] and not rows[1] & rows[2]
    for part in parts:
        shares = torch.bincount(part.targets, minlength=10) / len(part.targets)
        assert float(shares.min()) > 0.08 and float(shares.max()) < 0.12


def test_pixels_lie_between_zero_and_one() -> None:
    bundle = tasks.get("digits")
    x = bundle.task.train.inputs
    assert float(x.min()) == 0.0 and float(x.max()) == 1.0 and x.shape[1:] == (1, 8, 8)
    assert bundle.networks == ("digits_cnn",)
