"""The engine that wins on the tables: sensitivities until enough is measured, then expected improvement."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest
from engines import NETWORK, areas, cost

from whet.bench.tabular import Table
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.decisions.enumerate import point, size
from whet.search import strategies
from whet.search.strategies.improvement import EXPLORED, FASTEST_EVERY, POOL, WARM_UP, WHOLE, Improvement
from whet.search.strategies.sensitivity import Sensitivity
from whet.testing.strategies import SPACES, check

SMALL = Space(
    [Choice(f"b{i}:keep", (True, False), True) for i in range(5)]
    + [Choice("network:int8", ("off", "all"), "off"), Choice("runtime:precision", ("f32", "bf16"), "f32")]
)


def figures(decision: Decision) -> tuple[float, float]:
    """Blocks add up; either of int8 and bf16 makes the network four times faster, both together no more than one."""
    dropped = [int(name[1]) for name in decision if name.endswith(":keep")]
    low = decision.get("network:int8") == "all" or decision.get("runtime:precision") == "bf16"
    return (4.0 if low else 1.0) / (1 - 0.1 * len(dropped)), 0.01 * sum(1 + i for i in dropped) + 0.001 * low


def test_conforms() -> None:
    assert check(lambda space, seed: Improvement(space, seed)) == list(SPACES)


def test_choices_that_do_not_add_up_are_learnt() -> None:
    """Sums put int8 with bf16 at x16; the processes see that either alone is as fast and takes half as much."""
    table = Table(SMALL, {d: figures(d) for d in (point(SMALL, rank) for rank in range(size(SMALL)))}, {})

    def share(name: str) -> float:
        return median(table.curve(strategies.get(name, SMALL, seed), 20, worst=0.1)[-1] for seed in range(3))

    assert share("improvement") > 0.99 > 0.9 > share("random")


def test_it_beats_chance_and_is_near_the_sums_where_effects_do_add_up() -> None:
    def area(name: str) -> float:
        return median(areas(strategies.get(name, NETWORK, seed), 32)[-1] for seed in range(3))

    found = area("improvement")
    assert found > 1.5 * area("random") and found > 0.9 * area("sensitivity")


def test_where_nothing_was_probed_every_third_early_proposal_is_for_speed_alone() -> None:
    strategy, generator = Improvement(SMALL, 0), np.random.default_rng(0)
    mean = np.array([[-1.0, 0.5], [-0.2, 0.0]])  # twice as fast as the second, and far beyond any use

    def gains(measured: int, probed: bool = False) -> list[float]:
        if probed:
            strategy.believe({c.name: -0.1 for c in SMALL}, {c.name: 0.01 for c in SMALL})
        return strategy._gains(mean, np.zeros((2, 2)), np.full((measured, 2), (-0.1, 0.05)), generator).tolist()

    assert WARM_UP % FASTEST_EVERY == 0 and gains(WARM_UP) == pytest.approx([0.9, 0.1])
    for useless, useful in (gains(WARM_UP + 1), gains(EXPLORED), gains(WARM_UP, probed=True)):
        assert useless == 0 < useful


def test_the_improvement_is_expected_over_what_the_processes_do_not_know() -> None:
    """A mean that is dominated gains where it may turn out to be better, and more where less is known of it."""
    strategy = Improvement(SMALL, 0)
    measured, mean = np.array([[-0.5, 0.01]] * EXPLORED), np.array([[-0.4, 0.02]] * 3)
    deviation = np.array([[0.0, 0.0], [0.1, 0.005], [0.3, 0.02]])
    known, unsure, surer = strategy._gains(mean, deviation, measured, np.random.default_rng(0))[[0, 2, 1]]
    assert known == 0 < surer < unsure


def test_the_processes_learn_what_the_sums_do_not_explain(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured is forecast as it was measured, however wrong the probes were."""
    strategy = Improvement(SMALL, 0)
    strategy.believe({c.name: -0.5 for c in SMALL}, {c.name: 0.03 for c in SMALL})
    drawn = [point(SMALL, rank) for rank in range(0, size(SMALL), 6)]
    strategy.tell([Observation(d, figures(d)) for d in drawn])
    forecast: list[np.ndarray] = []
    monkeypatch.setattr(Improvement, "_gains", lambda self, mean, *given: forecast.append(mean) or np.zeros(len(mean)))
    next(strategy.candidates())
    (mean,), pool = forecast, strategy._pool(strategy.genes.rows(drawn), np.random.default_rng(0))
    places = [int(np.flatnonzero((pool == row).all(1))[0]) for row in strategy.genes.rows(drawn)]
    error = np.abs(mean[places] - strategy.points()).mean(0)
    assert error[0] < 0.1 and error[1] < 0.005
    assert np.abs(strategy._sums(strategy.genes.rows(drawn)) - strategy.points()).mean(0)[0] > 2 * error[0]


def test_known_operations_are_a_feature() -> None:
    strategy = Improvement(SMALL, 0)
    plain = strategy.genes.features(strategy.genes.random(4, np.random.default_rng(0)))
    informed = Improvement(SMALL, 0)
    informed.operations = lambda decision: 100.0 * 0.5 ** len(decision)
    rows = informed.genes.random(4, np.random.default_rng(0))
    features = informed.genes.features(rows)
    assert np.array_equal(features[:, :-1], plain)
    expected = [0.5 * np.log(0.5) * len(informed.genes.decision(row)) for row in rows]
    assert features[:, -1] == pytest.approx(expected)


def test_probes_decide_the_first_proposals() -> None:
    believed = {c.name: -0.1 for c in SMALL}, {c.name: 0.01 for c in SMALL}
    plain, own = Sensitivity(SMALL, 1), Improvement(SMALL, 1)
    for strategy in (plain, own):
        strategy.believe(*believed)
    for _ in range(WARM_UP):
        (expected,), (decision,) = plain.ask(1), own.ask(1)
        assert decision == expected
        for strategy in (plain, own):
            strategy.tell([Observation(decision, figures(decision))])


def test_once_aimed_it_proposes_what_sensitivities_do() -> None:
    strategy = Improvement(SMALL, 0)
    strategy.tell([Observation(d, figures(d)) for d in strategy.ask(WARM_UP + 2)])
    base = Decision({"b1:keep": False})
    strategy.aim((0.01, 0.05), base)
    assert all(base.items() <= decision.items() for decision in strategy.ask(3))


@pytest.mark.parametrize("space", [SMALL, NETWORK])
def test_forecasts_of_rows_are_those_of_their_decisions(space: Space) -> None:
    strategy = Improvement(space, 0)
    strategy.believe({c.name: -0.1 for c in space}, {c.name: 0.01 for c in space})
    drawn = [point(space, rank) for rank in np.random.default_rng(0).integers(0, size(space), 20)]
    strategy.tell([Observation(d, cost(d) if space is NETWORK else figures(d)) for d in drawn])
    expected = [(strategy.latency(d), strategy.damage(d)) for d in drawn]
    assert strategy._sums(strategy.genes.rows(drawn)) == pytest.approx(np.array(expected))


def test_all_of_a_small_space_is_looked_at_and_part_of_a_large_one() -> None:
    generator = np.random.default_rng(0)
    for space in (SMALL, NETWORK):
        strategy = Improvement(space, 0)
        pool = strategy._pool(strategy.genes.random(5, generator), generator)
        assert len(np.unique(pool, axis=0)) == len(pool)
        assert len(pool) == size(space) if size(space) <= WHOLE else POOL / 2 < len(pool) <= 1.1 * POOL
