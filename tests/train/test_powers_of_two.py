"""Powers of two without a zero: signs and powers train apart, and the end is on the grid."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from toy_training import F32, interrupted, layers_of, rounded, task

from whet.core.checks import ValueRangeError
from whet.graph.grids import Grid
from whet.train.fit import fit
from whet.train.fit_report import FitReport
from whet.train.powers_of_two import PowersOfTwo, best_scale, nearest_power, power
from whet.train.technique import Session


def test_powers_are_the_steps_that_are_up_in_a_row_at_the_end() -> None:
    """S_t = H(u_t) (S_{t-1} + 1): of three steps all of 0 to 3 are there, and a step that is down begins anew."""
    each = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)))
    wanted = []
    for row in each.tolist():
        s = 0
        for u in row:
            s = (s + 1) if u > 0 else 0
        wanted.append(float(s))
    assert power(each.t()).tolist() == wanted and set(wanted) == {0.0, 1.0, 2.0, 3.0}


def test_gradients_pass_steps_as_if_they_were_not_there() -> None:
    """dS_2 = du_2 (S_1 + 1) + H(u_2) du_1 (S_0 + 1)."""
    steps = torch.tensor([[0.2, 0.2, -0.2], [0.1, -0.1, 0.1]], requires_grad=True)
    power(steps).sum().backward()
    assert steps.grad is not None and steps.grad.tolist() == [[1.0, 0.0, 1.0], [2.0, 2.0, 1.0]]


def test_weights_begin_at_the_nearest_powers_and_signs_and_powers_have_their_own_gradients() -> None:
    module, kept = rounded(Grid(4)).train(), dict[str, torch.Tensor]()
    session = Session(module, None, F32, FitReport(), lambda: 0.0, lambda n, t: kept.setdefault(n, t))
    PowersOfTwo().begin(session)
    layer = layers_of(module)[0]
    s, v = layer.weight_scale.detach().unsqueeze(1), layer.weight.detach()
    levels = s.unsqueeze(2).expand(*v.shape, 1) * torch.tensor([-4.0, -2.0, -1.0, 1.0, 2.0, 4.0])
    nearest = levels.gather(2, (levels - v.unsqueeze(2)).abs().argmin(2, keepdim=True)).squeeze(2)
    form = layer.integer_weight(layer.weight)
    assert torch.allclose(form, nearest)
    steps = kept["powers-of-two.0"]
    of_weight, of_steps = torch.autograd.grad(form.sum(), [layer.weight, steps])
    assert torch.allclose(of_weight, form.detach().abs()), "the slope of a sign is its magnitude"
    assert torch.allclose(of_steps[-1], form.detach() * 0.6931472 * (power(steps[:-1]).detach() + 1), atol=1e-5)
    assert steps.detach().abs().unique().tolist() == pytest.approx([1e-3])


def test_scales_begin_where_the_squared_error_is_least() -> None:
    rows = torch.randn(5, 200, generator=torch.Generator().manual_seed(0))

    def error(scale: torch.Tensor) -> torch.Tensor:
        found = rows.sign() * torch.exp2(nearest_power(rows, scale, 2)) * scale.unsqueeze(1)
        return (rows - found).square().sum(1)

    best = best_scale(rows, 2)
    assert all((error(best) <= error(best * c) * 1.02).all() for c in (0.7, 0.85, 1.2, 1.5))


def test_no_weight_is_zero_and_all_are_powers_of_two_of_the_grid_at_the_end() -> None:
    module = rounded(Grid(4))
    ((x, y),) = task().val
    before = float(functional.cross_entropy(module.eval()(x), y).detach())
    start = [layer.grid.integers(layer.weight, layer.weight_scale) for layer in layers_of(module)]
    fit(module, task(), recipe=replace(F32, learning_rate=0.02), epochs=8, techniques=(PowersOfTwo(),))
    for layer, first in zip(layers_of(module), start, strict=True):
        integers = layer.grid.integers(layer.weight, layer.weight_scale)
        assert set(integers.unique().tolist()) <= {-4, -2, -1, 1, 2, 4} and layer.in_training is None
        assert torch.allclose(layer.weight.detach(), integers * layer.weight_scale.unsqueeze(1), atol=1e-6)
        assert (integers != first).any()
    assert float(functional.cross_entropy(module(x), y).detach()) < 0.5 * before


def test_powers_move_with_a_training_and_not_signs_alone() -> None:
    module, kept = rounded(Grid(4)).train(), dict[str, torch.Tensor]()
    session = Session(module, None, F32, FitReport(), lambda: 0.3, lambda n, t: kept.setdefault(n, t))
    hooks = PowersOfTwo(rate=2.0).begin(session)
    before = {n: t.detach().clone() for n, t in kept.items()}
    module(torch.randn(16, 6)).square().sum().backward()
    assert hooks.after_step is not None
    hooks.after_step()
    assert not torch.equal(kept["powers-of-two.0"], before["powers-of-two.0"])


def test_a_training_that_was_interrupted_goes_on_exactly(tmp_path: Path) -> None:
    whole, other = interrupted(PowersOfTwo(), lambda: rounded(Grid(4)), tmp_path)
    assert all(map(torch.equal, whole.state_dict().values(), other.state_dict().values()))


def test_of_two_bits_signs_alone_are_left_and_senseless_options_are_refused() -> None:
    module = rounded(Grid(2))
    fit(module, task(), recipe=F32, samples=64, techniques=(PowersOfTwo(),))
    (layer, _) = layers_of(module)
    assert set(layer.grid.integers(layer.weight, layer.weight_scale).unique().tolist()) == {-1, 1}
    with pytest.raises(ValueRangeError, match="spread"):
        PowersOfTwo(spread=0.0)
