"""Numbers of decisions and decisions stand for each other one to one, and draws are uniform over them."""

from __future__ import annotations

import itertools
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from whet.core.space import Choice, Decision, Space
from whet.decisions.enumerate import draw, neighbour, point, size


@st.composite
def spaces(data: st.DrawFn) -> Space:
    choices: list[Choice] = []
    for i in range(data(st.integers(0, 5))):
        values = tuple(range(data(st.integers(1, 3))))
        when = None
        if choices and data(st.booleans()):
            parent = data(st.sampled_from(choices))
            when = (parent.name, tuple(data(st.sets(st.sampled_from(parent.values)))))
        choices.append(Choice(f"layer{i}:kind", values, data(st.sampled_from(values)), when))
    return Space(choices)


@given(spaces())
def test_points_are_exactly_the_canonical_decisions(space: Space) -> None:
    everything = {
        space.canonical(Decision(dict(zip(space.choices, values, strict=True))))
        for values in itertools.product(*(c.values for c in space))
    }
    points = [point(space, rank) for rank in range(size(space))]
    assert len(set(points)) == len(points) == len(everything)
    assert set(points) == everything


@given(spaces(), st.integers(0, 5))
def test_draw_and_neighbour_exhaust_the_space_without_repeats(space: Space, seed: int) -> None:
    rng, seen = random.Random(seed), {Decision(): None}
    while len(seen) < size(space):
        found = neighbour(space, Decision(), rng, seen) if len(seen) % 2 else draw(space, rng, seen)
        assert found not in seen
        space.check(found)
        seen[found] = None


def test_draw_is_uniform_over_decisions_not_over_branches() -> None:
    # Three of the four decisions lie behind a:bits = 8; drawing choice by choice gives them half the mass.
    space = Space([Choice("a:bits", (8, 32), 32), Choice("a:clip", (1, 2, 3), 1, when=("a:bits", (8,)))])
    rng = random.Random(0)
    counts = Counter(draw(space, rng, {}) for _ in range(4000))
    assert len(counts) == 4
    assert all(abs(n - 1000) < 120 for n in counts.values())  # 4 standard deviations are 110


def test_neighbour_changes_one_choice_while_such_a_decision_is_left() -> None:
    space = Space([Choice(f"layer{i}:bits", (4, 8, 32), 32) for i in range(8)])
    start = Decision({"layer0:bits": 4})
    for seed in range(20):
        found = neighbour(space, start, random.Random(seed), {start: None, Decision(): None})
        assert sum(found.of(c) != start.of(c) for c in space) == 1


def test_size_of_a_large_space_needs_no_enumeration() -> None:
    space = Space([Choice(f"layer{i}:bits", (2, 4, 8, 32), 32) for i in range(200)])
    assert size(space) == 4**200
    space.check(point(space, 4**200 - 1))
