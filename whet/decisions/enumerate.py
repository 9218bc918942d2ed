"""All decisions of a space in one order: how many there are, the one at a place, draws and neighbours."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from whet.core.space import Choice, Decision, Space, Value


def _children(space: Space) -> dict[str | None, list[Choice]]:
    children: dict[str | None, list[Choice]] = {None: [], **{c.name: [] for c in space}}
    for choice in space:
        children[choice.when[0] if choice.when else None].append(choice)
    return children


def _counts(space: Space) -> dict[str, dict[Value, int]]:
    """Return, for each value of each choice, the number of ways to settle it and all that depends on it."""
    children = _children(space)
    counts: dict[str, dict[Value, int]] = {}
    for choice in reversed(list(space)):
        counts[choice.name] = {
            value: math.prod(
                sum(counts[c.name].values()) for c in children[choice.name] if c.when and value in c.when[1]
            )
            for value in choice.values
        }
    return counts


def size(space: Space) -> int:
    """Return the number of canonical decisions of `space`.

    >>> size(Space([Choice("a:bits", (8, 32), 32), Choice("a:clip", (1, 2, 3), 1, when=("a:bits", (8,)))]))
    4
    """
    counts = _counts(space)
    return math.prod(sum(counts[c.name].values()) for c in space if c.when is None)


def point(space: Space, rank: int) -> Decision:
    """Return canonical decision number `rank` of `space`, counted from 0 in mixed radix.

    >>> space = Space([Choice("a:bits", (8, 32), 32), Choice("b:bits", (8, 32), 32)])
    >>> [dict(point(space, r)) for r in range(size(space))]
    [{'a:bits': 8, 'b:bits': 8}, {'b:bits': 8}, {'a:bits': 8}, {}]
    """
    counts, children = _counts(space), _children(space)
    values: dict[str, Value] = {}

    def settle(choices: Sequence[Choice], rank: int) -> None:
        for choice in choices:
            rank, digit = divmod(rank, sum(counts[choice.name].values()))
            for value in choice.values:
                if digit < counts[choice.name][value]:
                    break
                digit -= counts[choice.name][value]
            values[choice.name] = value
            settle([c for c in children[choice.name] if c.when and value in c.when[1]], digit)

    settle(children[None], rank)
    return space.canonical(Decision(values))


def draw(space: Space, rng: random.Random, seen: Mapping[Decision, object]) -> Decision:
    """Return a canonical decision not in `seen`, uniformly; the caller makes sure that there is one."""
    total = size(space)
    while True:
        decision = point(space, rng.randrange(total))
        if decision not in seen:
            return decision


def neighbour(space: Space, decision: Decision, rng: random.Random, seen: Mapping[Decision, object]) -> Decision:
    """Return an unseen decision that differs from `decision` in few choices: one, then two, and so on."""
    for changes in range(1, len(space) + 1):
        for _ in range(4 * len(space)):
            picked = rng.sample(list(space), changes)
            changed = decision.merge({c.name: rng.choice(c.values) for c in picked})
            candidate = space.canonical(changed)
            if candidate not in seen:
                return candidate
    return draw(space, rng, seen)
