"""Sweep, early exit, tree search and bandits: conformance, and that each beats random search."""

from __future__ import annotations

from statistics import mean

import numpy as np
import pytest
from engines import NETWORK, areas

from whet.core.errors import UnknownNameError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation, point, size
from whet.search import strategies
from whet.search.strategies.bandits import Bandits
from whet.search.strategies.early_exit import EarlyExitEvolution
from whet.search.strategies.sweep import PROGRAMMES, Sweep
from whet.search.strategies.tree import TreeSearch
from whet.testing.strategies import SPACES, check

NAMES = ["sweep", "early-exit", "tree", "bandits", "divided", "regular"]


@pytest.mark.parametrize("name", NAMES)
def test_conforms(name: str) -> None:
    assert check(lambda space, seed: strategies.get(name, space, seed)) == list(SPACES)


@pytest.mark.parametrize("name", NAMES)
def test_beats_random_search(name: str) -> None:
    seeds = range(2 if name == "sweep" else 4)
    found = mean(areas(strategies.get(name, NETWORK, seed), 60)[-1] for seed in seeds)
    chance = mean(areas(strategies.get("random", NETWORK, seed), 60)[-1] for seed in seeds)
    assert found > chance


def test_the_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    areas(Sweep(NETWORK), 40)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("programme", PROGRAMMES)
def test_a_sweep_over_additive_effects_finds_the_true_front(programme: str) -> None:
    """With effects that are known and add up, the ladder's solutions are Pareto-optimal decisions."""
    space = Space([Choice(f"b{i}:keep", (True, False), True) for i in range(5)])
    gains, harms = (0.1, 0.3, 0.05, 0.2, 0.4), (0.01, 0.05, 0.002, 0.03, 0.02)
    strategy = Sweep(space, programme=programme)
    names = list(space.choices)
    strategy.believe({n: -g for n, g in zip(names, gains, strict=True)}, dict(zip(names, harms, strict=True)))
    strategy.tell([Observation(Decision(dict.fromkeys(names, False)), (np.exp(sum(gains)), sum(harms)))])

    def figures(decision: Decision) -> tuple[float, float]:
        gone = [n in decision for n in names]
        return sum(g for g, x in zip(gains, gone, strict=True) if x), sum(
            h for h, x in zip(harms, gone, strict=True) if x
        )

    every = [figures(point(space, r)) for r in range(size(space))]
    ladder = {figures(d) for d in strategy.ladder()}
    assert len(ladder) >= 6
    for gain, harm in ladder:
        better = [(g, h) for g, h in every if g >= gain - 1e-9 and h <= harm + 1e-9]
        assert all(g < gain + 1e-9 and h > harm - 1e-9 for g, h in better)


def test_unknown_programme() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'dynamic'"):
        Sweep(NETWORK, programme="dinamic")


def test_early_exit_measures_nothing_costly_while_there_are_cheap_candidates() -> None:
    strategy = EarlyExitEvolution(NETWORK, 0, limit=0.5)
    for _ in range(40):
        (decision,) = strategy.ask()
        assert strategy.share_left(decision) <= 0.5
        strategy.tell([Observation(decision, (1.0 + len(decision), 0.01 * len(decision)))])


def test_early_exit_takes_the_cost_it_is_given() -> None:
    strategy = EarlyExitEvolution(NETWORK, 0, cost=lambda d: float("block0:keep" not in d), limit=0.0)
    assert all("block0:keep" in d for d in strategy.ask(10))


def test_a_tree_goes_where_the_reward_is() -> None:
    """UCT's visits concentrate on the better half; with bisection also among sixteen values of one choice."""
    space = Space([Choice("a:width", tuple((i + 1) / 16 for i in range(16)), 1.0), *NETWORK])
    strategy = TreeSearch(space, 0, ("minimize",))
    late = []
    for index in range(120):
        (decision,) = strategy.ask()
        value = float(decision.of(space.choices["a:width"]))  # type: ignore[arg-type]
        strategy.tell([Observation(decision, (abs(value - 0.25),))])
        late += [value] if index >= 60 else []
    assert np.mean([v <= 0.5 for v in late]) > 0.7


def test_bandits_learn_the_better_arm_of_each_choice() -> None:
    space = Space([Choice(f"a{i}:keep", (True, False), True) for i in range(10)])
    strategy = Bandits(space, 0, ("maximize",))
    sums = []
    for _ in range(100):
        (decision,) = strategy.ask()
        sums.append(len(decision))
        strategy.tell([Observation(decision, (float(len(decision)),))])
    assert np.mean(sums[60:]) > 6  # chance is 5
