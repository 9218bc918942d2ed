"""Parts that are searched alone: who belongs to one, and that joining takes the least impairing member of each."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from engines import beat_random_search

from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.decisions.pareto import non_dominated
from whet.search import strategies
from whet.search.strategies import divided
from whet.search.strategies.divided import Divided
from whet.testing.strategies import SPACES, check

SPACE = Space([Choice(f"{part}{i}:bits", (2, 4, 8), 8) for part in "abc" for i in range(2)])
HARM = {"a0": 1.0, "a1": -2.0, "b0": -1.0, "b1": 3.0, "c0": -4.0, "c1": 1.0}
"""What a choice at 4 does to the first objective; at 2 twice as much. To the second it does the opposite, unequally."""
FACTOR = {"a0": 1.0, "a1": 0.5, "b0": 2.0, "b1": 1.0, "c0": 0.1, "c1": 3.0}


def figures(decision: Decision) -> tuple[float, float]:
    steps = {name[:2]: {8: 0, 4: 1, 2: 2}[int(value)] for name, value in decision.items()}
    first = sum(HARM[site] * step for site, step in steps.items())
    return first, -sum(HARM[site] * FACTOR[site] * step for site, step in steps.items())


def measured(strategy: Divided, objectives: int) -> None:
    """Tell the figures of every decision that changes one part alone."""
    for part in "abc":
        for values in itertools.product((2, 4, 8), repeat=2):
            decision = SPACE.canonical(Decision({f"{part}{i}:bits": v for i, v in enumerate(values)}))
            strategy.tell([Observation(decision, figures(decision)[:objectives])])


def joined(strategy: Divided) -> list[Decision]:
    seen = strategy.ledger.measured()
    rows, values = strategy.rows(seen), strategy.penalised(seen)
    return list(strategy._joined(rows, values, np.random.default_rng(0)))


def test_for_one_objective_each_part_gives_its_best() -> None:
    strategy = Divided(SPACE, 0, ("minimize",))
    measured(strategy, 1)
    assert set(joined(strategy)) == {Decision({"a1:bits": 2, "b0:bits": 2, "c0:bits": 2})}


def test_what_is_joined_is_the_best_of_all_for_some_weighting() -> None:
    """Objectives add up over parts, so the argmin of each part is the argmin of the whole: a point of the front."""
    strategy = Divided(SPACE, 0, ("minimize", "minimize"))
    measured(strategy, 2)
    every = [
        SPACE.canonical(Decision(dict(zip(SPACE.choices, values, strict=True))))
        for values in itertools.product((2, 4, 8), repeat=6)
    ]
    front = {every[i] for i in non_dominated([figures(d) for d in every])}
    found = set(joined(strategy))
    assert found <= front and len(found) > 2


def test_members_of_a_part_change_nothing_outside_it() -> None:
    strategy = Divided(SPACE, 0)
    decisions = [{}, {"a0:bits": 2}, {"a1:bits": 4}, {"a0:bits": 2, "b0:bits": 2}, {"c1:bits": 4}]
    rows = strategy.genes.rows([Decision(d) for d in decisions])
    assert [strategy.members(rows, part).tolist() for part in range(3)] == [[0, 1, 2], [0], [0, 4]]


def test_parts_are_searched_alone_in_turn_and_every_other_proposal_joins_them() -> None:
    strategy = Divided(SPACE, 0, ("minimize", "minimize"))
    touched = []
    for _ in range(31):
        (decision,) = strategy.ask()
        strategy.tell([Observation(decision, figures(decision))])
        touched.append({name[0] for name in decision})
    assert touched[0] == set()  # the second is a draw
    assert all(len(parts) == 1 for parts in touched[2:7])
    alone, together = touched[8::2], touched[7::2]
    assert all(len(parts) <= 1 for parts in alone) and set.union(*alone) == set("abc")
    assert sum(len(parts) > 1 for parts in together) >= 3


def test_a_parts_population_is_born_of_its_best(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divided, "PARENTS", 2)
    strategy = Divided(SPACE, 0, ("minimize",))
    measured(strategy, 1)
    seen = sorted(
        (o for o in strategy.ledger.measured() if all(n[0] == "a" for n in o.decision)), key=lambda o: o.values
    )
    rows, values = strategy.rows(seen), strategy.penalised(seen)
    born = list(strategy._alone(rows, values, 0, np.random.default_rng(0)))[:40]
    assert all(name[0] == "a" for d in born for name in d)
    assert np.mean([figures(d)[0] for d in born]) < -2.0  # the two best have -4 and -3, the two worst 2 and 1


def test_conforms() -> None:
    assert check(lambda space, seed: strategies.get("divided", space, seed)) == list(SPACES)


def test_beats_random_search() -> None:
    assert beat_random_search("divided")
