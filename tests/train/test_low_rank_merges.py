"""Factors of low rank beside weights on a grid: gradients, merges, the best beginning, and the grid at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from toy_training import F32, interrupted, layers_of, rounded, task

from whet.core.checks import ValueRangeError
from whet.graph.grids import Grid
from whet.graph.zeros import hold
from whet.train.fit import fit
from whet.train.fit_report import FitReport
from whet.train.low_rank_merges import LowRankMerges
from whet.train.technique import Hooks, Session

Begun = tuple[nn.Sequential, Hooks, dict[str, Tensor], FitReport]


def begun(rank: int = 2, **options: float) -> Begun:
    module, kept, report = rounded(Grid(3)).train(), dict[str, Tensor](), FitReport()
    session = Session(module, None, F32, report, lambda: 0.1, lambda n, t: kept.setdefault(n, t))
    return module, LowRankMerges(rank, **options).begin(session), kept, report  # type: ignore[arg-type]


def step(made: Begun, seed: int = 0) -> list[Tensor]:
    """Take a step; return the slopes dL/dw of the weights, by hand from what each layer reads and passes."""
    module, hooks, _, report = made
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(seed))
    inner = module[0](x)
    inner.retain_grad()
    read = module[1](inner)
    out = module[2](read)
    out.retain_grad()
    out.square().sum().backward()
    report.steps += 1
    assert hooks.after_step is not None
    slopes = [inner.grad.t() @ x, out.grad.t() @ read.detach()]
    return slopes


def merged(made: Begun) -> None:
    assert made[1].after_step is not None
    made[1].after_step()


def factors(kept: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return kept[f"low-rank-merges.{name}.sides"], kept[f"low-rank-merges.{name}.factor"].detach()


def test_sides_are_the_first_singular_vectors_of_the_gradient_and_factors_begin_with_the_least_error() -> None:
    made = begun(rounds=3)
    before = [layer.weight.detach().clone() for layer in layers_of(made[0])]
    slopes = step(made)
    merged(made)
    for name, layer, wanted, slope in zip("02", layers_of(made[0]), before, slopes, strict=True):
        turned = len(wanted) > wanted.shape[1]
        w, g, q = ((m.t() if turned else m) for m in (wanted, slope, layer.weight.detach()))
        sides, factor = factors(made[2], name)
        assert torch.allclose(sides.t() @ sides, torch.eye(2), atol=1e-5)
        first = torch.linalg.svd(g)[0][:, :2]
        assert torch.allclose(sides @ sides.t(), first @ first.t(), atol=1e-4)
        assert torch.allclose(sides.t() @ (w - q - sides @ factor), torch.zeros(2, w.shape[1]), atol=1e-5)
        scale = layer.weight_scale.detach().unsqueeze(1)
        integers = (layer.weight.detach() / scale).round()
        assert torch.allclose(layer.weight.detach(), integers * scale, atol=1e-6) and integers.abs().max() <= 3
        error = (w - q - sides @ factor).square().sum()
        s = Grid(3).scale(wanted).unsqueeze(1)
        nearest = wanted - s * (wanted / s).round().clamp(-3, 3)
        assert error < 0.9 * nearest.square().sum(), "factors make up for some of the rounding"


def test_factors_have_the_gradient_of_the_weight_along_the_sides_and_the_weight_has_none() -> None:
    made = begun()
    step(made)
    merged(made)
    for layer in layers_of(made[0]):
        layer.weight.grad = None
    slopes = step(made, 1)
    for name, layer, slope in zip("02", layers_of(made[0]), slopes, strict=True):
        sides, _ = factors(made[2], name)
        g = slope.t() if len(slope) > slope.shape[1] else slope
        grad = made[2][f"low-rank-merges.{name}.factor"].grad
        assert grad is not None and torch.allclose(grad, sides.t() @ g, rtol=1e-4, atol=1e-3)
        assert layer.weight.grad is None


def test_a_merge_takes_the_factors_into_the_weight() -> None:
    """What both gave before differs from what they give afterwards by what rounding leaves beside the new sides."""
    made = begun(interval=1, growth=1.0)
    for seed in range(3):
        step(made, seed)
        merged(made)
    sides, factor = factors(made[2], "2")
    made[2]["low-rank-merges.2.factor"].data.add_(0.3 * torch.randn(factor.shape))
    layer = layers_of(made[0])[1]
    wanted = layer.in_training(layer.weight).detach()
    step(made, 4)
    made[2]["low-rank-merges.2.factor"].grad = None
    merged(made)
    sides, factor = factors(made[2], "2")
    now = layer.in_training(layer.weight).detach()
    assert torch.allclose(sides.t() @ (now - wanted), torch.zeros(2, 32), atol=1e-5)
    assert (now - wanted).square().sum() < 0.1 * wanted.square().sum()


def test_merges_come_behind_the_first_step_and_then_ever_more_rarely() -> None:
    made, at = begun(interval=2, growth=1.5, rate=1e-4), list[int]()
    for n in range(1, 20):
        before = factors(made[2], "2")[0].clone()
        step(made, n)
        merged(made)
        if not torch.equal(before, factors(made[2], "2")[0]):
            at.append(n)
    assert at == [1, 3, 6, 10, 17]  # after 2, 3, 4 (of 4.5) and 7 (of 6.75) steps


def test_training_gains_with_weights_of_any_rank_on_the_grid_at_the_end() -> None:
    module = rounded(Grid(3))
    ((x, y),) = task().val
    start = [layer.weight.detach().clone() for layer in layers_of(module)]
    before = float(functional.cross_entropy(module.eval()(x), y).detach())
    report = fit(module, task(), recipe=F32, epochs=16, techniques=(LowRankMerges(2, interval=10),))
    assert float(functional.cross_entropy(module(x), y).detach()) < 0.5 * before and not report.skipped
    for layer, first in zip(layers_of(module), start, strict=True):
        assert layer.in_training is None and torch.linalg.matrix_rank(layer.weight.detach() - first) > 2
        integers = layer.grid.integers(layer.weight, layer.weight_scale)
        assert torch.allclose(layer.weight.detach(), integers * layer.weight_scale.unsqueeze(1), atol=1e-6)


@pytest.mark.parametrize("settled", [0.0, 0.5])
def test_what_is_rounded_trains_last(settled: float) -> None:
    module, kept = rounded(Grid(2)).train(), dict[str, Tensor]()
    session = Session(module, None, F32, FitReport(), lambda: 0.6, lambda n, t: kept.setdefault(n, t))
    LowRankMerges(2, settled=settled).begin(session)
    layer = layers_of(module)[0]
    form = layer.integer_weight(layer.weight).detach() / layer.weight_scale.detach().unsqueeze(1)
    assert (len(form.round(decimals=3).unique()) == 3) == (settled > 0)


def test_a_training_that_was_interrupted_goes_on_exactly(tmp_path: Path) -> None:
    whole, other = interrupted(LowRankMerges(2, interval=3), lambda: rounded(Grid(3)), tmp_path)
    assert all(map(torch.equal, whole.state_dict().values(), other.state_dict().values()))


def test_layers_of_eight_bits_are_left_and_senseless_options_refused() -> None:
    session = Session(rounded(Grid(8)), None, F32, FitReport(), lambda: 0.0)
    assert LowRankMerges().begin(session) == Hooks()
    sparse = rounded(Grid(3))
    hold(sparse[0])
    report = fit(sparse, task(), recipe=F32, samples=64, techniques=(LowRankMerges(),))
    assert report.skipped == {"0": "it holds zeros, which factors of low rank would fill"}
    for options in ({"rank": 0}, {"interval": 0}, {"growth": 0.9}, {"settled": 1.2}, {"rounds": 0}, {"rate": 0.0}):
        with pytest.raises(ValueRangeError):
            LowRankMerges(**options)  # type: ignore[arg-type]
