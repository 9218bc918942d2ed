from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from whet.core.errors import DecisionError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.decisions.distance import distance
from whet.search.predictors.linear import LinearForecast
from whet.search.programme import by_integer_programme
from whet.search.strategies.sensitivity import Sensitivity
from whet.testing import strategies

SPACE = Space(
    [Choice(f"b{i}:keep", (True, False), True) for i in range(5)]
    + [Choice("c:width", (0.25, 0.5, 1.0), 1.0), Choice("d:width", (0.5, 1.0), 1.0)]
)
LATENCY = np.array([-0.1, -0.3, -0.05, -0.2, 0.1, -0.4, -0.15])
DAMAGE = np.array([0.01, 0.05, 0.002, 0.03, 0.001, 0.02, 0.04])


def truth(effects: np.ndarray, decision: Decision) -> float:
    return sum(e * distance(c, decision.of(c)) for e, c in zip(effects, SPACE, strict=True))


@pytest.mark.parametrize("budget", [0.0, 0.01, 0.03, 0.06, 1.0])
def test_programme_is_optimal(budget: float) -> None:
    every = [
        Decision(dict(zip(SPACE.choices, values, strict=True)))
        for values in itertools.product(*(c.values for c in SPACE))
    ]
    best = min(truth(LATENCY, d) for d in every if truth(DAMAGE, d) <= budget + 1e-9)
    found = Sensitivity(SPACE).solve(LATENCY, DAMAGE, budget)
    assert truth(DAMAGE, found) <= budget + 1e-9
    assert truth(LATENCY, found) == pytest.approx(best, abs=1e-9)


def test_a_choice_of_negative_damage_is_harmless_and_pays_for_no_other() -> None:
    space = Space([Choice(f"b{i}:keep", (True, False), True) for i in range(2)])
    strategy = Sensitivity(space)
    strategy.believe({c.name: -0.1 for c in space}, {c.name: 0.001 for c in space})
    found = strategy.solve(np.array([-0.1, -0.3]), np.array([-0.05, 0.04]), 0.01)
    assert found == Decision({"b0:keep": False})


def test_proposals_are_solutions_for_draws_of_the_effects() -> None:
    """Thompson's: where blocks are believed to be alike, seeds draw others; what is sure is proposed by all."""

    def first(seed: int, sure: bool) -> Decision:
        strategy = Sensitivity(SPACE, seed, budgets=(0.011, 0.0111))
        strategy.believe({c.name: -0.1 for c in SPACE}, {c.name: 0.01 for c in SPACE})
        if sure:
            for forecast, effects in ((strategy.latency, LATENCY), (strategy.damage, DAMAGE)):
                forecast.draw = lambda generator, effects=effects: effects  # type: ignore[method-assign, misc]
        return strategy.ask(1)[0]

    assert len({first(seed, sure=False) for seed in range(12)}) >= 4
    assert len({first(seed, sure=True) for seed in range(4)}) == 1


def test_damage_budgets_are_drawn_log_uniformly() -> None:
    asked: list[float] = []
    for seed in range(60):
        strategy = Sensitivity(SPACE, seed, budgets=(0.001, 0.1))
        strategy.solve = lambda latency, damage, budget: asked.append(budget) or Decision()  # type: ignore
        strategy.propose()
    assert min(asked) >= 0.001 and max(asked) <= 0.1
    decades = [sum(low <= b < 10 * low for b in asked) for low in (0.001, 0.01)]
    assert min(decades) > 18  # 30 each are expected, 3.9 is the standard deviation


def test_measurements_teach_the_effects() -> None:
    strategy = Sensitivity(SPACE, seed=1)
    for _ in range(40):
        (decision,) = strategy.ask(1)
        values = (math.exp(-truth(LATENCY, decision)), truth(DAMAGE, decision))
        strategy.tell([Observation(decision, values)])
    assert strategy.damage.power == 1.0
    assert np.abs(strategy.latency.mean - LATENCY).max() < 0.12
    assert np.abs(strategy.latency.mean - LATENCY).mean() < np.abs(LATENCY).mean() / 4


def test_never_twice_and_stops_when_exhausted() -> None:
    small = Space([Choice("a:keep", (True, False), True), Choice("b:width", (0.5, 1.0), 1.0)])
    asked = Sensitivity(small).ask(10)
    assert len(asked) == 4 and len(set(asked)) == 4


def test_restored_state_goes_on_exactly() -> None:
    one = Sensitivity(SPACE, seed=3)
    one.believe({"b0:keep": -0.1, "c:width": -0.4}, {"b0:keep": 0.01})
    for decision in one.ask(3):
        one.tell([Observation(decision, (1.1, 0.02))])
    two = Sensitivity(SPACE, seed=3)
    two.restore(one.state())
    assert one.ask(5) == two.ask(5)


def test_scaled_prior_carries_over_fidelities() -> None:
    """Where trained drops are a tenth of the untrained ones, one measurement corrects all effects."""
    forecast = LinearForecast(SPACE, noise=0.001, floor=0.001, scale_prior=True)
    forecast.believe({c.name: 10 * d for c, d in zip(SPACE, DAMAGE, strict=True)})
    decision = Decision({"b0:keep": False, "b1:keep": False})
    forecast.fit([decision], [truth(DAMAGE, decision)])
    assert forecast(Decision({"b3:keep": False})) == pytest.approx(0.03, rel=0.1)


def test_other_objectives_are_refused() -> None:
    with pytest.raises(DecisionError, match="minimize drop"):
        Sensitivity(SPACE, directions=("minimize",))


def test_conforms() -> None:
    accepted = strategies.check(lambda space, seed: Sensitivity(space, seed))
    assert set(accepted) == set(strategies.SPACES)


def test_proposals_contain_the_base_and_bound_the_damage_beyond_it() -> None:
    space = Space([Choice(f"b{i}:keep", (True, False), True) for i in range(6)])
    strategy = Sensitivity(space, budgets=(0.021, 0.021))
    strategy.believe({f"b{i}:keep": -0.1 for i in range(6)}, {f"b{i}:keep": 0.01 for i in range(6)})
    base = Decision({"b1:keep": False, "b4:keep": False})
    strategy.base = base
    solved = strategy.solve(strategy.latency.mean, strategy.damage.mean, 0.021)
    assert base.items() <= solved.items() and len(solved) == 4
    assert all(base.items() <= d.items() for d in strategy.ask(5))


def test_what_is_left_of_the_damage_budget_is_not_filled_with_cuts_that_gain_nothing() -> None:
    """Draws of a gain of nothing are often gains; the mean is a fiftieth of theirs."""
    space = Space([Choice(f"b{i}:keep", (True, False), True) for i in range(4)])
    strategy = Sensitivity(space, budgets=(0.015, 0.06))
    gains = {f"b{i}:keep": -0.1 if i else -0.002 for i in range(4)}
    strategy.believe(gains, dict.fromkeys(gains, 0.01))
    latency = np.array(list(gains.values()))
    picked = by_integer_programme([[0.0, g] for g in latency], [[0.0, 0.01]] * 4, 0.04)
    assert picked == [1, 1, 1, 1]
    assert strategy.solve(latency, strategy.damage.mean, 1.0) == Decision({f"b{i}:keep": False for i in (1, 2, 3)})
    strategy.base = Decision({"b0:keep": False})
    assert len(strategy.solve(latency, strategy.damage.mean, 1.0)) == 4


def test_a_base_that_nothing_worthwhile_extends_gets_no_proposal() -> None:
    """A random decision in its place would not contain the base; a search once spent four minutes on such."""
    space = Space([Choice(f"b{i}:keep", (True, False), True) for i in range(4)])
    strategy = Sensitivity(space, budgets=(0.021, 0.021))
    strategy.believe({f"b{i}:keep": -0.1 for i in range(4)}, {f"b{i}:keep": 0.01 for i in range(4)})
    strategy.base = Decision({"b0:keep": False, "b1:keep": False})
    asked = strategy.ask(8)
    assert asked and all(strategy.base.items() <= d.items() for d in asked)
    assert strategy.ask(1) == [] and not strategy.ledger.exhausted
    strategy.base = Decision()
    assert len(strategy.ask(1)) == 1


def test_a_chain_cuts_what_costs_least_first_and_each_link_contains_the_one_before() -> None:
    space = Space([Choice(f"b{i}:keep", (True, False), True) for i in range(5)])
    strategy = Sensitivity(space)
    strategy.believe({f"b{i}:keep": -0.1 for i in range(5)}, {f"b{i}:keep": 0.01 * (i + 1) for i in range(5)})
    chain = strategy.chain([0.012, 0.035, 0.07, 0.16])
    assert chain[0] == Decision({"b0:keep": False}) and len(chain[-1]) == 5
    assert all(before.items() <= after.items() for before, after in itertools.pairwise(chain))
    assert strategy.base == Decision()


def test_a_chain_may_forgo_a_little_of_its_gain_for_less_damage() -> None:
    """Blocks of one speed are timed 10% apart by noise: on ResNet-20 the one that is dearer to drop came first."""
    space = Space([Choice(f"b{i}:keep", (False, True), True) for i in range(3)])
    strategy = Sensitivity(space)
    strategy.believe(
        {"b0:keep": -0.11, "b1:keep": -0.1, "b2:keep": -0.05}, {"b0:keep": 0.03, "b1:keep": 0.02, "b2:keep": 0.02}
    )
    assert strategy.solve(strategy.latency.mean, strategy.damage.mean, 0.03) == Decision({"b0:keep": False})
    (link,) = strategy.chain([0.03], forgone=0.15)
    assert link == Decision({"b1:keep": False})


def test_extensions_of_a_base_take_each_a_choice_of_their_own() -> None:
    space = Space([Choice(f"b{i}:keep", (True, False), True) for i in range(5)])
    strategy = Sensitivity(space)
    strategy.believe({f"b{i}:keep": -0.1 for i in range(5)}, {f"b{i}:keep": 0.01 * (i + 1) for i in range(5)})
    base = Decision({"b0:keep": False})
    assert strategy.extensions(base, 0.025, 1) == [base.merge({"b1:keep": False})]
    found = strategy.extensions(base, 0.045, 4, barred=["b1:keep"])  # b4 alone is beyond the budget
    assert found == [base.merge({f"b{i}:keep": False}) for i in (2, 3)]
    assert strategy.base == Decision()
