"""The ladder of budgets: its solutions are the true front where effects add up, and the farthest is proposed."""

from __future__ import annotations

import numpy as np
import pytest
from engines import NETWORK, areas, beat_random_search

from whet.core.errors import UnknownNameError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.decisions.enumerate import point, size
from whet.search import strategies
from whet.search.strategies import sweep
from whet.search.strategies.sweep import PROGRAMMES, Sweep
from whet.testing.strategies import SPACES, check

BLOCKS = Space([Choice(f"b{i}:keep", (True, False), True) for i in range(5)])
GAINS, HARMS = (0.1, 0.3, 0.05, 0.2, 0.4), (0.01, 0.05, 0.002, 0.03, 0.02)


def figures(decision: Decision) -> tuple[float, float]:
    """The gain in log latency and the damage: those of the blocks that are gone, added."""
    gone = [name in decision for name in BLOCKS.choices]
    return float(np.dot(GAINS, gone)), float(np.dot(HARMS, gone))


def informed(programme: str) -> Sweep:
    """Return a strategy that was told each block's effects, and measured the network without any block."""
    strategy = Sweep(BLOCKS, programme=programme)
    names = list(BLOCKS.choices)
    strategy.believe({n: -g for n, g in zip(names, GAINS, strict=True)}, dict(zip(names, HARMS, strict=True)))
    gone = Decision(dict.fromkeys(names, False))
    strategy.tell([Observation(gone, (float(np.exp(sum(GAINS))), sum(HARMS)))])
    return strategy


@pytest.mark.parametrize("programme", PROGRAMMES)
def test_a_sweep_over_additive_effects_finds_the_true_front(programme: str) -> None:
    """With effects that are known and add up, the ladder's solutions are Pareto-optimal decisions."""
    every = [figures(point(BLOCKS, r)) for r in range(size(BLOCKS))]
    ladder = {figures(d) for d in informed(programme).ladder()}
    assert len(ladder) >= 6
    for gain, harm in ladder:
        better = [(g, h) for g, h in every if g >= gain - 1e-9 and h <= harm + 1e-9]
        assert all(g < gain + 1e-9 and h > harm - 1e-9 for g, h in better)


@pytest.mark.parametrize("programme", PROGRAMMES)
def test_the_ladder_goes_from_next_to_nothing_to_nearly_everything(programme: str) -> None:
    gone = [len(d) for d in informed(programme).ladder()]
    assert min(gone) <= 1 and max(gone) >= 4 and {2, 3} <= set(gone)


@pytest.mark.parametrize("programme", PROGRAMMES)
def test_the_solution_farthest_from_what_was_measured_is_proposed(programme: str) -> None:
    """The network without any block was measured: what is farthest from it is the one that cuts least."""
    strategy = informed(programme)
    least = min((d for d in strategy.ladder() if d not in strategy.ledger.entries), key=lambda d: figures(d)[0])
    assert strategy.ask() == [least]


@pytest.mark.parametrize("programme", PROGRAMMES)
def test_between_both_ends_the_solution_in_the_middle_is_proposed(programme: str) -> None:
    strategy = informed(programme)
    strategy.tell([Observation(Decision(), (1.0, 0.0))])
    known = strategy.points()
    new = list(dict.fromkeys(d for d in strategy.ladder() if d not in strategy.ledger.entries))
    points = np.array([(strategy.latency(d), strategy.damage(d)) for d in new])
    apart = np.linalg.norm((points[:, None] - known[None]) / np.ptp(known, axis=0), axis=-1).min(1)
    assert strategy.ask() == [new[int(apart.argmax())]] != [new[0]]


def test_conforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "LADDER", 6)  # what is promised of every strategy does not depend on it
    assert check(lambda space, seed: strategies.get("sweep", space, seed)) == list(SPACES)


def test_beats_random_search() -> None:
    assert beat_random_search("sweep", rounds=24, seeds=2)


def test_the_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    areas(Sweep(NETWORK), 16)
    assert capfd.readouterr().out == ""


def test_unknown_programme() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'dynamic'"):
        Sweep(NETWORK, programme="dinamic")
