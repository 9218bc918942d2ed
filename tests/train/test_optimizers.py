"""Optimizers are made of a recipe's numbers; norms, biases and what does not train are spared from decay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from whet.train.optimizers import OPTIMIZERS, groups_of
from whet.train.recipe import Recipe


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2), nn.LayerNorm((2, 2)))


def test_only_matrices_outside_of_norms_decay() -> None:
    module = network()
    decayed, rest = groups_of(module, 0.1)
    names = {id(p): n for n, p in module.named_parameters()}
    assert [names[id(p)] for p in decayed["params"]] == ["0.weight", "3.weight"] and decayed["weight_decay"] == 0.1
    assert {names[id(p)] for p in rest["params"]} == set(names.values()) - {"0.weight", "3.weight"}
    assert rest["weight_decay"] == 0.0, "a norm's matrix does not decay either"


def test_what_does_not_train_is_in_no_group_and_empty_groups_are_left_out() -> None:
    module = network()
    module.requires_grad_(False)
    assert groups_of(module, 0.1) == []
    module[3].weight.requires_grad_(True)  # type: ignore[union-attr]
    (only,) = groups_of(module, 0.1)
    assert [p is module[3].weight for p in only["params"]] == [True]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_steps_as_the_recipe_says(momentum: float) -> None:
    """Nesterov's step, with v = mu v + g, is w - lr (g + mu v); without momentum it is w - lr g."""
    w = nn.Parameter(torch.tensor([[1.0]]))
    recipe = Recipe("sgd", 0.1, momentum=momentum)
    optimizer = OPTIMIZERS["sgd"]([{"params": [w], "weight_decay": 0.0}], recipe)
    expected, v = 1.0, 0.0
    for gradient in (1.0, -0.5, 2.0):
        w.grad = torch.tensor([[gradient]])
        optimizer.step()
        v = momentum * v + gradient
        expected -= 0.1 * (gradient + momentum * v)
        assert w.item() == pytest.approx(expected)


def test_adamw_decays_apart_from_its_step() -> None:
    """AdamW's first step is lr * sign(g), beside w (1 - lr * decay)."""
    w = nn.Parameter(torch.tensor([[2.0]]))
    recipe = Recipe("adamw", 0.01, betas=(0.8, 0.95), epsilon=1e-9)
    optimizer = OPTIMIZERS["adamw"]([{"params": [w], "weight_decay": 0.5}], recipe)
    w.grad = torch.tensor([[-3.0]])
    optimizer.step()
    assert w.item() == pytest.approx(2.0 * (1 - 0.01 * 0.5) + 0.01, rel=1e-6)
    assert optimizer.defaults["betas"] == (0.8, 0.95) and optimizer.defaults["eps"] == 1e-9
