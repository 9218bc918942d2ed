"""The problem of sharing bits out: what rounding a layer does to outputs, how bits count, and names of engines."""

from __future__ import annotations

import pytest
import torch
from shares import Twice, problem_of

from whet.compress.quantize.allocation import ENGINES, KEPT, drawn, engine
from whet.core.errors import UnknownNameError
from whet.graph.grids import Grid, stored_bits


def test_changes_are_those_of_the_outputs_and_leave_the_network_as_it_is() -> None:
    torch.manual_seed(0)
    module, x = Twice(-0.5), torch.randn(40, 6)
    problem = problem_of(module, x, 100.0)
    before = problem.net.layer("other").get_parameter("weight").detach().clone()
    lost = problem.rounded("other", Grid(2)) - before
    spread = module(x).detach().double()
    wanted = (-0.5 * x @ lost.T).double() / (spread - spread.mean(0)).square().mean().sqrt()
    assert torch.allclose(problem.change("other", Grid(2)), wanted.flatten(), atol=1e-5)
    assert torch.equal(problem.net.layer("other").get_parameter("weight"), before)
    assert problem.within(50.0).change("other", Grid(2)) is problem.change("other", Grid(2))


def test_large_outputs_are_drawn_from() -> None:
    wide = torch.arange(2.0 * KEPT).view(2, -1)
    found = drawn([[wide], [wide]], [2.0])
    assert len(found) == KEPT and torch.equal(found, drawn([[wide], [wide]], [2.0])) and found.max() < KEPT


def test_bits_are_those_of_the_file() -> None:
    problem = problem_of(Twice(1.0), torch.randn(40, 6), 100.0)
    assert problem.bits({"one": Grid(8), "other": Grid(4)}) == 24 * 12
    assert stored_bits(Grid(3, top=2)) == pytest.approx(2.3219, abs=1e-4)


def test_names_of_engines() -> None:
    assert all(callable(engine(name)) for name in ENGINES)
    with pytest.raises(UnknownNameError, match="did you mean 'orthogonality'"):
        engine("orthogonal")
