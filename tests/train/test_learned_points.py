"""Learned points: their gradient, how far they move, and that weights keep to few values of which each is whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from toy_training import F32, interrupted, layers_of, network, task

from whet.compress.quantize.points import put_on_points
from whet.core.checks import ValueRangeError
from whet.graph.fake_quantize import quantize_weight
from whet.graph.grids import Grid
from whet.graph.zeros import hold
from whet.train.fit import fit
from whet.train.fit_report import FitReport
from whet.train.learned_points import LearnedPoints, with_points
from whet.train.technique import Hooks, Session
from whet.train.zeros import HeldZeros

STEADY = replace(F32, learning_rate=0.1, momentum=0.0, schedule="constant", warmup=0.0)
GRID = Grid(8, points=5)


def rounded(trained: bool = False, grid: Grid = GRID) -> nn.Sequential:
    """Return the toy network on points."""
    module = network()
    if trained:
        fit(module, task(), recipe=F32, epochs=8)
    for name in ("0", "2"):
        module.set_submodule(name, quantize_weight(module.get_submodule(name), grid))
        put_on_points(module.get_submodule(name), None)
    return module


def begun(module: nn.Module, rate: float = 1.0) -> tuple[Hooks, dict[str, torch.Tensor]]:
    kept: dict[str, torch.Tensor] = {}
    session = Session(module.train(), None, STEADY, FitReport(), lambda: 0.5, lambda n, t: kept.setdefault(n, t))
    return LearnedPoints(rate).begin(session), kept


def integers(layer: Any) -> torch.Tensor:
    found: torch.Tensor = layer.grid.integers(layer.weight.detach(), layer.weight_scale)
    return found


def test_a_point_has_the_gradients_of_its_weights_times_their_scales_and_moves_by_its_share() -> None:
    module = rounded()
    layer = layers_of(module)[0]
    whole, scale = integers(layer).float(), layer.weight_scale.detach().unsqueeze(1).expand_as(layer.weight)
    hooks, kept = begun(module, rate=0.5)
    points = kept["learned-points.0"]
    given = torch.randn_like(layer.weight)
    (layer.integer_weight(layer.weight) * given).sum().backward()
    before = points.detach().clone()
    slopes = torch.stack([(given * scale)[whole == p].sum() for p in before])
    assert points.grad is not None and torch.allclose(points.grad, slopes, atol=1e-5)
    assert layer.weight.grad is None and set(before.tolist()) == set(whole.unique().tolist())
    assert hooks.after_step is not None
    hooks.after_step()
    counts = torch.stack([(whole == p).sum() for p in before])
    squares = torch.stack([scale[whole == p].square().sum() for p in before])
    wanted = before - 0.5 * 0.1 * slopes * counts.sqrt() / squares
    assert torch.allclose(points.detach(), wanted.clamp(-127, 127), rtol=1e-4)


def test_it_ends_on_whole_points_that_moved_and_no_more_of_them() -> None:
    module = rounded()
    before = [integers(layer).unique() for layer in layers_of(module)]
    hooks, kept = begun(module)
    kept["learned-points.0"].data += 2.3
    layer = layers_of(module)[0]
    seen = layer.integer_weight(layer.weight).detach()
    assert hooks.end is not None
    hooks.end()
    assert layer.in_training is None and torch.allclose(layer.weight, seen)
    assert torch.equal(integers(layer).unique(), before[0] + 2)
    assert torch.allclose(layer.eval().integer_weight(layer.weight), seen, atol=1e-6)


def test_training_makes_up_for_what_few_values_took() -> None:
    ((x, y),) = task().val

    def loss(module: nn.Module) -> float:
        with torch.no_grad():
            return float(functional.cross_entropy(module.eval()(x), y))

    module = rounded(trained=True, grid=Grid(8, points=3))
    before, points = loss(module), [integers(layer).unique() for layer in layers_of(module)]
    fit(module, task(), recipe=F32, epochs=8)
    assert loss(module) < 0.85 * before
    after = [integers(layer).unique() for layer in layers_of(module)]
    assert all(len(p) <= 3 for p in after)
    assert any(a.tolist() != b.tolist() for a, b in zip(after, points, strict=True))


def test_zeros_that_are_held_stay_zero() -> None:
    module = network()
    layer = quantize_weight(module[0], GRID)
    layer.get_parameter("weight").data[:, ::2] = 0.0
    hold(layer)
    put_on_points(layer, None)
    module.set_submodule("0", layer)
    fit(module, task(), recipe=F32, epochs=1)
    assert (layer.get_parameter("weight")[:, ::2] == 0).all()


def test_a_training_that_was_interrupted_goes_on_exactly(tmp_path: Path) -> None:
    whole, other = interrupted(HeldZeros(), rounded, tmp_path)
    assert all(map(torch.equal, whole.state_dict().values(), other.state_dict().values()))


def test_other_networks_are_left_alone() -> None:
    assert not with_points(network()) and set(with_points(rounded())) == {"0", "2"}
    with pytest.raises(ValueRangeError, match="rate"):
        LearnedPoints(0.0)
