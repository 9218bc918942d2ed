"""Bits by dependencies: errors that cancel cost nothing together, those that add up do; shares are nested."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from shares import GRIDS, Twice, problem_of
from torch import Tensor, nn

from whet.compress.quantize.dependencies import by_dependencies
from whet.graph.grids import Grid, stored_bits


class Pair(nn.Module):
    """Two equal layers whose outputs partly cancel, and one between them in size beside."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.other, self.alone = (nn.Linear(6, 4, False) for _ in range(3))
        self.other.weight.data = self.one.weight.data.clone()
        self.alone.weight.data = 1.2 * self.one.weight.data.flip(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return one(x) - 1.5 other(x) + alone(x): (rows, 4)."""
        y: Tensor = self.one(x) - 1.5 * self.other(x) + self.alone(x)
        return y


def test_errors_that_cancel_are_seen_only_between_layers() -> None:
    """The quadratic form is exact in a linear network: -1.5 d takes of d what a layer of its own does not."""
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    coarse = stored_bits(Grid(2))
    problem = replace(problem_of(Pair(), x, 24 * (8 + 2 * coarse)), grids=(Grid(8), Grid(2)))
    together = problem.change("one", Grid(2)) + problem.change("other", Grid(2))
    assert torch.allclose(together, -0.5 * problem.change("one", Grid(2)), atol=1e-6)

    def damage(share: dict[str, Grid]) -> float:
        return float(sum(problem.change(s, g) for s, g in share.items()).square().sum())

    found, apart = by_dependencies(problem), by_dependencies(problem, dependent=False)
    assert [s for s, g in found.items() if g == Grid(2)] == ["one", "other"]
    assert [s for s, g in apart.items() if g == Grid(2)] == ["one", "alone"]
    assert damage(found) < 0.2 * damage(apart)
    assert problem.bits(found) <= problem.most_bits and problem.bits(apart) <= problem.most_bits


def test_errors_that_add_up_are_kept_apart() -> None:
    """One layer of two bits is worse than two of four where they are alike: (a + b)^2 > a^2 + b^2."""
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    problem = problem_of(Twice(1.0), x, 24 * 12.0)
    for mean_bits in (2.0, 4.0, 6.0):
        share = by_dependencies(problem.within(48 * mean_bits))
        every = [dict(zip(share, grids, strict=True)) for grids in itertools.product(GRIDS, repeat=2)]
        legal = [s for s in every if problem.bits(s) <= 48 * mean_bits]
        damages = [float(sum(problem.change(k, g) for k, g in s.items()).square().sum()) for s in legal]
        own = float(sum(problem.change(k, g) for k, g in share.items()).square().sum())
        assert own <= 1.5 * min(damages) + 1e-12, "the steps come near the best of all shares"


def test_fewer_bits_go_on_from_more() -> None:
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(2))
    problem = problem_of(Pair(), x, 0.0)
    shares = [by_dependencies(problem.within(72 * mean)) for mean in (8.0, 6.5, 5.0, 4.0, 3.0, 1.6)]
    for more, fewer in itertools.pairwise(shares):
        assert all(stored_bits(fewer[s]) <= stored_bits(more[s]) for s in more)
    assert set(shares[0].values()) == {Grid(8)} and set(shares[-1].values()) == {Grid(2)}


@pytest.mark.parametrize("dependent", [True, False])
def test_a_limit_below_all_grids_ends_at_the_fewest_bits(dependent: bool) -> None:
    problem = problem_of(Twice(1.0), torch.randn(40, 6), 1.0)
    assert set(by_dependencies(problem, dependent).values()) == {Grid(2)}
