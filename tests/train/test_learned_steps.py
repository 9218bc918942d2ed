"""Learned steps: the gradient of the paper, its scale, and that a training gains by them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from toy_training import F32, network, task

from whet.core.checks import ValueRangeError
from whet.graph.fake_quantize import ActivationQuantizer, IntegerWeight, fake_quantize, quantize_weight
from whet.graph.grids import Grid, InputGrid
from whet.graph.zeros import hold
from whet.train.fit import fit
from whet.train.fit_report import FitReport
from whet.train.learned_steps import LearnedSteps, few_bit_inputs, few_bits, input_share, share_of
from whet.train.technique import Session


def rounded(grid: Grid) -> nn.Module:
    module = network()
    for name in ("0", "2"):
        module.set_submodule(name, quantize_weight(module.get_submodule(name), grid))
    return module


def test_the_gradient_of_a_step_is_that_of_the_paper() -> None:
    """Equation 3: -v / s + round(v / s) inside, -Q_N or Q_P beyond the ends; equation 5 for the weights."""
    w = torch.tensor([[-0.9, -0.24, 0.1, 0.26, 0.9], [0.3, -0.3, 0.05, 0.0, 2.0]], requires_grad=True)
    s = torch.tensor([0.2, 0.5], requires_grad=True)
    given = torch.tensor([[1.0, 2.0, -3.0, 0.5, 4.0], [1.0, 1.0, 1.0, 1.0, -2.0]])
    (fake_quantize(w, s, torch.zeros(2, dtype=torch.long), 0, -3, 3) * given).sum().backward()
    v = (w / s.view(2, 1)).detach()
    slope = torch.where(v <= -3, -3.0, torch.where(v >= 3, 3.0, v.round() - v))
    assert s.grad is not None and torch.allclose(s.grad, (slope * given).sum(1))
    assert w.grad is not None and torch.equal(w.grad, given * (v.abs() < 3.5))


@pytest.mark.parametrize(("grid", "each"), [(Grid(3), 6), (Grid(3, group=3), 3), (Grid(3, top=2), 6)])
def test_the_share_of_a_step_is_that_of_its_weights(grid: Grid, each: int) -> None:
    layer: Any = quantize_weight(nn.Linear(6, 4), grid)
    assert share_of(layer) == pytest.approx(1 / (each * grid.most) ** 0.5)


def test_the_gradient_of_an_input_step_is_that_of_the_paper_for_unsigned_and_signed_numbers() -> None:
    """Equation 3 with Q_N = 0 or 8 and Q_P = 15 or 7, and g of N features a sample."""
    for zero, low, high in ((0, 0, 15), (8, -8, 7)):
        quantizer = ActivationQuantizer(0.25, zero, grid=InputGrid(4))
        quantizer.scale.requires_grad_(True)
        x = torch.tensor([[-9.0, -0.3, 0.1, 0.3, 1.4, 9.0]])
        quantizer(x).sum().backward()
        v = x / 0.25
        slope = torch.where(v <= low, float(low), torch.where(v >= high, float(high), v.round() - v))
        assert quantizer.scale.grad is not None and quantizer.scale.grad.item() == pytest.approx(float(slope.sum()))
        assert input_share(quantizer, 6) == pytest.approx(1 / (6 * high) ** 0.5)


def test_input_steps_move_by_the_share_of_the_features_of_a_sample() -> None:
    module = nn.Sequential(ActivationQuantizer(0.5, 0, grid=InputGrid(2)), nn.Linear(6, 2))
    (quantizer,) = few_bit_inputs(module)
    recipe = replace(F32, learning_rate=0.1, momentum=0.0, schedule="constant", warmup=0.0)
    hooks = LearnedSteps().begin(Session(module, None, recipe, FitReport(), lambda: 0.5))
    module(torch.rand(8, 6)).square().sum().backward()
    slope = float(quantizer.scale.grad)  # type: ignore[arg-type]
    assert hooks.after_step is not None and hooks.end is not None and slope != 0
    hooks.after_step()
    assert float(quantizer.scale.detach()) == pytest.approx(0.5 - 0.1 * slope / (6 * 3) ** 0.5)
    hooks.end()
    assert not quantizer.scale.requires_grad and not quantizer._forward_pre_hooks


def test_steps_move_against_their_gradient_by_its_share_and_rest_afterwards() -> None:
    module = rounded(Grid(3))
    layers = few_bits(module)
    recipe = replace(F32, learning_rate=0.1, momentum=0.0, schedule="constant", warmup=0.0)
    session = Session(module, None, recipe, FitReport(), lambda: 0.5)
    hooks = LearnedSteps(rate=0.5).begin(session)
    assert hooks.after_step is not None and hooks.end is not None
    module(torch.randn(8, 6)).square().sum().backward()
    before = [layer.weight_scale.detach().clone() for layer in layers]
    slopes = [layer.weight_scale.grad.clone() for layer in layers if layer.weight_scale.grad is not None]
    hooks.after_step()
    for layer, old, slope in zip(layers, before, slopes, strict=True):
        assert slope.abs().max() > 0
        moved = old - 0.5 * 0.1 * share_of(layer) * slope
        assert torch.allclose(layer.weight_scale, moved.clamp(min=1e-8)) and layer.weight_scale.grad is None
    hooks.end()
    assert not any(layer.weight_scale.requires_grad for layer in layers)


def test_training_makes_up_for_what_rounding_took() -> None:
    ((x, y),) = task().val

    def loss(module: nn.Module) -> float:
        with torch.no_grad():
            return float(functional.cross_entropy(module.eval()(x), y))

    module = network()
    fit(module, task(), recipe=F32, epochs=8)
    for name in ("0", "2"):
        module.set_submodule(name, quantize_weight(module.get_submodule(name), Grid(2)))
    before, steps = loss(module), [layer.weight_scale.clone() for layer in few_bits(module)]
    fit(module, task(), recipe=F32, epochs=8)
    assert loss(module) < 0.8 * before
    assert all(not torch.equal(layer.weight_scale, s) for layer, s in zip(few_bits(module), steps, strict=True))


def test_zeros_that_are_held_stay_zero() -> None:
    module = rounded(Grid(3))
    weight = module[0].get_parameter("weight")  # type: ignore[index]
    weight.data[:, ::2] = 0.0
    hold(module[0])  # type: ignore[index]
    fit(module, task(), recipe=F32, epochs=1)
    assert (weight[:, ::2] == 0).all() and (weight[:, 1::2] != 0).all()


def test_eight_bits_and_floats_are_left_alone() -> None:
    assert not few_bits(network()) and not few_bits(rounded(Grid(8))) and len(few_bits(rounded(Grid(4)))) == 2
    module = rounded(Grid(8))
    fit(module, task(), recipe=F32, epochs=1)
    layer = module[0]  # type: ignore[index]
    assert isinstance(layer, IntegerWeight)
    with pytest.raises(ValueRangeError, match="rate"):
        LearnedSteps(0.0)
