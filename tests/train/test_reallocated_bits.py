"""Bits that move in training: the programme by hand, the budget in every step, and that grids are part of the state."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from toy_training import F32, interrupted, layers_of, rounded, task

from whet.core.checks import ValueRangeError
from whet.graph.fake_quantize import IntegerWeight, quantize_weight
from whet.graph.grids import Grid, stored_bits
from whet.train.fit import fit
from whet.train.fit_report import FitReport
from whet.train.reallocated_bits import WIDTHS, ReallocatedBits, bits_of, cost
from whet.train.state import load_state, save_state
from whet.train.technique import Hooks, Session


def three(bits: int = 3) -> nn.Sequential:
    """Return layers of 6 x 8, 8 x 8 and 8 x 3 weights whose last reads much more than it needs."""
    torch.manual_seed(3)
    layers = [nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)]
    return nn.Sequential(*(quantize_weight(layer, Grid(bits)) for layer in layers))


def uneven() -> nn.Sequential:
    """Return the toy network with four bits where most weights are, and two where few are."""
    module = rounded(Grid(4))
    last = layers_of(module)[1]
    last.regrid(last.weight, Grid(2))
    return module


def named(module: nn.Module) -> dict[str, IntegerWeight]:
    return {n: m for n, m in module.named_modules() if isinstance(m, IntegerWeight)}


@pytest.mark.parametrize("budget_bits", [2, 3])
def test_no_other_share_within_the_budget_costs_less(budget_bits: int) -> None:
    module = three(budget_bits)
    layers, generator = named(module), torch.Generator().manual_seed(0)
    before = {n: module.get_parameter(f"{n}.weight").detach().clone() for n in layers}
    weighed = zip(before.items(), (1.0, 9000.0, 5.0), strict=True)
    fisher = {n: s * torch.rand(v.shape, generator=generator) for (n, v), s in weighed}
    budget = bits_of(layers)
    ReallocatedBits(WIDTHS).reallocate(layers, fisher, budget)

    def costs(share: tuple[Grid, ...]) -> float:
        total = 0.0
        for grid, (name, v) in zip(share, before.items(), strict=True):
            s = grid.scale(v).unsqueeze(1)
            nearest = s * (v / s).round().clamp(-grid.most, grid.most)
            total += float((fisher[name] * (v - nearest).square()).sum())
        return total

    every = itertools.product([Grid(b) for b in WIDTHS], repeat=3)
    sizes = [v.numel() for v in before.values()]
    allowed = [s for s in every if sum(n * stored_bits(g) for n, g in zip(sizes, s, strict=True)) <= budget + 1e-6]
    found = tuple(layer.grid for layer in layers.values())
    assert found in allowed
    assert costs(found) == pytest.approx(min(map(costs, allowed)), rel=1e-5)
    if budget_bits > 2:
        assert len(set(found)) > 1 and costs(found) < 0.8 * costs((Grid(budget_bits),) * 3)


def test_fisher_information_is_the_moving_mean_of_squared_gradients() -> None:
    module, kept = three(), dict[str, Tensor]()
    session = Session(module, None, F32, FitReport(), lambda: 0.0, lambda n, t: kept.setdefault(n, t))
    hooks = ReallocatedBits(decay=0.75).begin(session)
    assert hooks.before_step is not None
    for value in (2.0, 4.0):
        module[0].weight.grad = torch.full_like(module[0].weight, value)
        hooks.before_step()
    assert torch.allclose(kept["reallocated-bits.0"], torch.tensor(0.75 * (0.25 * 4) + 0.25 * 16))
    assert (kept["reallocated-bits.1"] == 0).all()


def test_costs_weigh_each_error_by_its_information() -> None:
    weight = torch.tensor([[1.0, 0.3, -0.2], [0.5, -0.5, 0.1]])
    fisher, grid = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), Grid(2)
    s = grid.scale(weight).unsqueeze(1)
    by_hand = (fisher * (weight - s * (weight / s).round().clamp(-1, 1)).square()).sum()
    assert cost(weight, fisher, grid) == pytest.approx(float(by_hand), rel=1e-6)


class Watch:
    """Remembers the grids behind each step."""

    def __init__(self) -> None:
        self.seen, self.progress = list[tuple[Grid, ...]](), list[float]()

    def begin(self, session: Session) -> Hooks:
        def after_step() -> None:
            self.seen.append(tuple(layer.grid for layer in layers_of(session.module)))
            self.progress.append(session.progress())

        return Hooks(after_step=after_step)


def test_the_budget_holds_in_every_step_and_bits_rest_after_until() -> None:
    module, watch = uneven(), Watch()
    budget = bits_of(named(module))
    sizes = [layer.weight.numel() for layer in layers_of(module)]
    fit(module, task(), recipe=F32, epochs=12, techniques=(ReallocatedBits(until=0.4), watch))
    for grids in watch.seen:
        assert sum(n * stored_bits(g) for n, g in zip(sizes, grids, strict=True)) <= budget + 1e-6
    late = {grids for grids, p in zip(watch.seen, watch.progress, strict=True) if p >= 0.4}
    assert len(late) == 1 and late != {(Grid(4), Grid(2))}
    assert set(watch.seen[:3]) == {(Grid(4), Grid(2))}, "not before there is information"
    for layer, grid in zip(layers_of(module), *late, strict=True):
        weight = layer.integer_weight(layer.weight).detach()
        integers = (weight / layer.weight_scale.unsqueeze(1)).round()
        assert layer.grid == grid and float(integers.abs().max()) <= grid.most


def test_bits_are_shared_out_so_many_times_and_then_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    at, progress = list[float](), [0.0]
    monkeypatch.setattr(ReallocatedBits, "reallocate", lambda *_: at.append(progress[0]))
    session = Session(three(), None, F32, FitReport(), lambda: progress[0])
    hooks = ReallocatedBits(times=4, until=0.5).begin(session)
    assert hooks.after_step is not None
    for step in range(1, 17):
        progress[0] = step / 16
        hooks.after_step()
    assert at == [0.125, 0.25, 0.375, 0.5]


def test_grids_are_part_of_the_state(tmp_path: Path) -> None:
    """What goes back to earlier weights, into a file or to another process goes with its grids."""
    module, x = rounded(Grid(3)), torch.randn(4, 6)
    before, plain = {k: v.clone() for k, v in module.state_dict().items()}, module.eval()(x).detach()
    layer = layers_of(module)[1]
    layer.regrid(layer.weight, Grid(4))
    assert torch.equal(layer.weight_scale, Grid(4).scale(layer.weight))
    assert layer.grid == Grid(4) and "int4" in repr(layer) and not torch.equal(module(x).detach(), plain)
    save_state(module, tmp_path / "state.safetensors")
    other = rounded(Grid(3)).eval()
    load_state(tmp_path / "state.safetensors", other)
    assert layers_of(other)[1].grid == Grid(4) and torch.equal(other(x), module(x))
    module.load_state_dict(before)
    assert layer.grid == Grid(3) and torch.equal(module(x).detach(), plain)


def test_a_training_that_was_interrupted_goes_on_exactly(tmp_path: Path) -> None:
    whole, other = interrupted(ReallocatedBits(times=4), uneven, tmp_path)
    assert all(map(torch.equal, whole.state_dict().values(), other.state_dict().values()))
    assert [m.grid for m in layers_of(whole)] != [Grid(4), Grid(2)]


def test_what_cannot_be_treated_is_said_and_senseless_options_are_refused() -> None:
    module = rounded(Grid(3, top=2))
    report = fit(module, task(), recipe=F32, samples=64, techniques=(ReallocatedBits(),))
    assert report.skipped["0"] == "its grid, 5 levels, is none of (4, 3, 2) bits alone"
    assert "no two layers" in report.skipped["reallocated-bits"]
    for options in ({"bits": (4,)}, {"bits": (8, 4)}, {"until": 0.0}, {"times": 0}, {"decay": 1.5}):
        with pytest.raises(ValueRangeError):
            ReallocatedBits(**options)  # type: ignore[arg-type]
