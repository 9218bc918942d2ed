"""The candidates that anyone would try before any search: all widths at once, every second block, both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Protocol, runtime_checkable

from whet.core.net import Net
from whet.core.passes import Pass
from whet.core.space import Decision, Space
from whet.core.target import Target
from whet.decisions.distance import distance


@runtime_checkable
class Obvious(Protocol):
    """A pass that says what anyone would try of it first: few decisions, the mildest first."""

    def obvious(self, net: Net, target: Target) -> list[Decision]: ...


def obvious(passes: Sequence[Pass], net: Net, target: Target) -> list[Decision]:
    """Return what anyone would try of each pass, and of each two in a pair, the mildest first."""
    singles = [p.obvious(net, target) for p in passes if isinstance(p, Obvious)]
    found = [(rank, 1, d) for decisions in singles for rank, d in enumerate(decisions)]
    for i, first in enumerate(singles):
        for second in singles[i + 1 :]:
            pairs = product(enumerate(first), enumerate(second))
            found += [(max(a, b), 2, x.merge(y)) for (a, x), (b, y) in pairs]
    found.sort(key=lambda each: each[:2])
    return list(dict.fromkeys(decision for *_, decision in found))


def extends(space: Space, harder: Decision, milder: Decision) -> bool:
    """Say whether a decision cuts all that another one cuts, and as far.

    >>> from whet.core.space import Choice
    >>> space = Space([Choice("a:width", (0.5, 0.75, 1.0), 1.0), Choice("b:keep", (True, False), True)])
    >>> extends(space, Decision({"a:width": 0.5, "b:keep": False}), Decision({"a:width": 0.75}))
    True
    """
    return all(distance(c, harder.of(c)) >= distance(c, milder.of(c)) for c in space)


def untried(
    space: Space, decisions: Iterable[Decision], tried: Iterable[Decision], broken: Iterable[Decision]
) -> list[Decision]:
    """Return the decisions that were not tried and do not extend one that is broken."""
    known, worse = set(tried), list(broken)
    return [d for d in decisions if d not in known and not any(extends(space, d, b) for b in worse)]


def in_words(decision: Decision) -> str:
    """Return a decision as a user reads it: what it cuts how far, the sites of one cut together."""
    cuts: dict[str, int] = {}
    for name, value in decision.items():
        cut = f"{name.rpartition(':')[2]} {value}"
        cuts[cut] = cuts.get(cut, 0) + 1
    return ", ".join(f"{cut} at {count} sites" if count > 1 else cut for cut, count in cuts.items())
