"""Losses by name are those of torch, whatever shapes outputs and targets have."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from whet.core.errors import TaskError, UnknownNameError
from whet.data import losses
from whet.data.losses import LOSSES

LOGITS, CLASSES = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 1, 2, 1, 0])


def test_classes_lie_in_the_last_axis_of_sequences_and_in_axis_one_of_pictures() -> None:
    plain = functional.cross_entropy(LOGITS, CLASSES)
    sequence = losses.cross_entropy(LOGITS.reshape(2, 3, 4), CLASSES.reshape(2, 3))
    picture = losses.cross_entropy(LOGITS.reshape(1, 2, 3, 4).permute(0, 3, 1, 2), CLASSES.reshape(1, 2, 3))
    for found in (losses.cross_entropy(LOGITS, CLASSES), sequence, picture, losses.nll(LOGITS.softmax(1), CLASSES)):
        assert float(found) == pytest.approx(float(plain), rel=1e-5)


def test_targets_below_zero_do_not_count() -> None:
    marked = torch.cat([CLASSES, torch.tensor([-100])])
    found = losses.cross_entropy(torch.cat([LOGITS, torch.ones(1, 4)]), marked)
    assert float(found) == pytest.approx(float(functional.cross_entropy(LOGITS, CLASSES)))


def test_one_column_is_the_same_as_none() -> None:
    outputs, targets = torch.tensor([[1.0], [3.0]]), torch.tensor([2.0, 6.0])
    assert float(losses.mse(outputs, targets)) == 5.0 and float(losses.mae(outputs, targets)) == 2.0
    assert float(losses.huber(outputs, targets)) == pytest.approx(0.5 * (0.5 + 2.5))
    assert float(losses.bce(torch.zeros(2, 1), torch.tensor([0, 1]))) == pytest.approx(0.6931, abs=1e-4)
    assert float(losses.cosine(torch.eye(2), torch.eye(2).flip(0))) == 1.0
    with pytest.raises(TaskError, match=r"outputs \(2, 3\) do not fit targets \(2,\)"):
        losses.mse(torch.ones(2, 3), targets)


def test_the_logits_count_among_several_outputs() -> None:
    outputs = {"hidden": torch.zeros(6, 9), "logits": LOGITS}
    assert torch.equal(losses.cross_entropy(outputs, CLASSES), functional.cross_entropy(LOGITS, CLASSES))
    assert losses.main_output((torch.ones(1), torch.zeros(1))).item() == 1


def test_the_usual_loss_follows_the_outputs() -> None:
    assert losses.usual("classes", LOGITS) == losses.usual("tokens", LOGITS) == "cross_entropy"
    assert losses.usual("classes", LOGITS.softmax(1)) == "nll" and losses.usual("classes", LOGITS[:, :1]) == "bce"
    assert losses.usual("numbers", LOGITS) == "mse"


def test_unknown_names_and_shapes_are_said() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cross_entropy'"):
        losses.get("crossentropy")
    with pytest.raises(TaskError, match=r"outputs \(6, 4\) do not fit targets \(5,\)"):
        losses.cross_entropy(LOGITS, CLASSES[:5])
    assert all(row.function.__doc__ for row in LOSSES.values())
