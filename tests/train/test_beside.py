"""Tensors beside the network: they step as the recipe says, and what the optimizer remembers is kept from the start."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from toy_training import F32

from whet.train.beside import Beside
from whet.train.fit_report import FitReport
from whet.train.technique import Session


def session(kept: dict[str, torch.Tensor], **recipe: object) -> Session:
    return Session(
        nn.Linear(1, 1), None, replace(F32, warmup=0.0, **recipe), FitReport(), lambda: 0.5,  # type: ignore[arg-type]
        lambda name, tensor: kept.setdefault(name, tensor),
    )  # fmt: skip


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_steps_are_those_of_the_recipe_without_decay(optimizer: str) -> None:
    """What is made at the beginning to have a state to keep changes nothing: steps are as of a new optimizer."""
    tensor, plain = (torch.tensor([1.0, -2.0], requires_grad=True) for _ in range(2))
    given = session({}, optimizer=optimizer, schedule="constant", weight_decay=0.3)
    beside = Beside("b", [tensor], given, rate=0.5)
    assert tensor.tolist() == [1.0, -2.0] and tensor.grad is None
    rate, recipe = 0.5 * given.recipe.learning_rate, given.recipe
    other = (
        torch.optim.SGD([plain], rate, momentum=recipe.momentum, nesterov=True) if optimizer == "sgd"
        else torch.optim.AdamW([plain], rate, betas=recipe.betas, eps=recipe.epsilon, weight_decay=0.0)
    )  # fmt: skip
    for slope in ([1.0, 0.5], [-1.0, 2.0], [0.0, 3.0]):
        for one in (tensor, plain):
            one.grad = torch.tensor(slope)
        beside.step()
        other.step()
        assert torch.allclose(tensor, plain) and tensor.grad is None


def test_steps_follow_the_schedule() -> None:
    tensor = torch.zeros(1, requires_grad=True)
    beside = Beside("b", [tensor], session({}, momentum=0.0, schedule="cosine"))
    tensor.grad = torch.ones(1)
    beside.step()
    assert tensor.item() == pytest.approx(-F32.learning_rate / 2)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_remembered_is_in_what_is_kept(optimizer: str) -> None:
    """A second one that gets the tensors and what the first kept goes on as the first does."""
    kept, later = dict[str, torch.Tensor](), dict[str, torch.Tensor]()
    first = torch.tensor([1.0, -2.0], requires_grad=True)
    beside = Beside("b", [first], session(kept, optimizer=optimizer))
    first.grad = torch.tensor([1.0, 0.5])
    beside.step()
    second = first.detach().clone().requires_grad_(True)
    other = Beside("b", [second], session(later, optimizer=optimizer))
    assert kept.keys() == later.keys() and kept
    for name, value in later.items():
        value.copy_(kept[name])
    for tensor, one in ((first, beside), (second, other)):
        tensor.grad = torch.tensor([-0.3, 0.1])
        one.step()
    assert torch.equal(first, second)
