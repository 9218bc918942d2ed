"""Attention over bits: the mixture, its temperature, what pulls it down, and that the coarsest alone is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_training import F32, interrupted, layers_of, rounded, task

from whet.core.checks import ValueRangeError
from whet.graph.fake_quantize import fake_quantize
from whet.graph.grids import Grid, widest_scale
from whet.train.bit_attention import BitAttention
from whet.train.fit import fit
from whet.train.fit_report import FitReport
from whet.train.technique import Hooks, Session

STEADY = replace(F32, momentum=0.0, schedule="constant", warmup=0.0)


def begun(progress: float, **options: float) -> tuple[list[object], Hooks, dict[str, torch.Tensor]]:
    module, kept = rounded(Grid(2)).train(), dict[str, torch.Tensor]()
    session = Session(module, None, STEADY, FitReport(), lambda: progress, lambda n, t: kept.setdefault(n, t))
    return layers_of(module), BitAttention(**options).begin(session), kept  # type: ignore[arg-type]


def on(grid: Grid, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    zeros = torch.zeros(len(weight), dtype=torch.long)
    found: torch.Tensor = fake_quantize(weight, scale, zeros, 0, -grid.most, grid.most)
    return found


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_the_mixture_is_a_softmax_that_the_temperature_sharpens(progress: float) -> None:
    layers, _, kept = begun(progress, hot=2.0, cold=0.05)
    kept["bit-attention.0"].data = torch.tensor([0.1, 0.3, 0.2])
    layer, v = layers[0], layers[0].weight.detach()  # type: ignore[attr-defined]
    a = torch.softmax(torch.tensor([0.1, 0.3, 0.2]) / (2.0 * (0.05 / 2.0) ** progress), 0)
    finer = [on(g, v, widest_scale(v, g.most)) for g in (Grid(8), Grid(4))]
    wanted = a[0] * finer[0] + a[1] * finer[1] + a[2] * on(Grid(2), v, layer.weight_scale)  # type: ignore[attr-defined]
    assert torch.allclose(layer.integer_weight(layer.weight), wanted, atol=1e-6)  # type: ignore[attr-defined]


def test_the_pull_is_the_mean_of_the_bits_beyond_the_own_ones() -> None:
    """Equal shares of 8, 4 and 2 bits: (3 + 1 + 0) / 3 more than the own two, for each of two layers."""
    _, hooks, kept = begun(0.0, pull=0.3)
    assert hooks.loss is not None
    assert hooks.loss().item() == pytest.approx(2 * 0.3 * (3 + 1) / 3)
    hooks.loss().backward()  # type: ignore[no-untyped-call]
    slope = kept["bit-attention.2"].grad
    assert slope is not None and slope[0] > 0 > slope[2]


def test_a_step_moves_the_mixture_against_its_gradient_by_the_rate() -> None:
    _, hooks, kept = begun(0.0, rate=0.5)
    assert hooks.after_step is not None
    kept["bit-attention.0"].grad = torch.tensor([1.0, 0.0, -2.0])
    hooks.after_step()
    assert torch.allclose(kept["bit-attention.0"].detach(), 0.5 * 0.05 * torch.tensor([-1.0, 0.0, 2.0]))


def test_the_coarsest_alone_is_left_and_what_was_trained_is_what_it_gives() -> None:
    module = rounded(Grid(2))
    report = fit(module, task(), recipe=F32, epochs=12, techniques=(BitAttention(pull=0.5),))
    assert not report.skipped
    weak = fit(rounded(Grid(2)), task(), recipe=F32, samples=64, techniques=(BitAttention(pull=0.0),))
    assert weak.skipped.keys() == {"0", "2"} and "of its mixture was on its own grid" in weak.skipped["0"]
    for layer in layers_of(module):
        assert layer.in_training is None
        assert set(layer.grid.integers(layer.weight, layer.weight_scale).unique().tolist()) <= {-1, 0, 1}


def test_a_training_that_was_interrupted_goes_on_exactly(tmp_path: Path) -> None:
    whole, other = interrupted(BitAttention(), lambda: rounded(Grid(2)), tmp_path)
    assert all(map(torch.equal, whole.state_dict().values(), other.state_dict().values()))


def test_grids_as_fine_as_the_mixture_are_left_alone_and_senseless_options_refused() -> None:
    layers = layers_of(rounded(Grid(4)))
    assert BitAttention().finer(layers[0].grid) == (Grid(8),) and BitAttention((4,)).finer(Grid(4)) == ()
    with pytest.raises(ValueRangeError, match="cold must be at most hot"):
        BitAttention(cold=2.0)
    with pytest.raises(ValueRangeError, match="higher must name"):
        BitAttention(())
