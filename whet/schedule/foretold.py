"""What passes can tell of every value of every choice without trying it: how the damage compares, what work is left."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol, runtime_checkable

from whet.core.net import Net
from whet.core.passes import Pass
from whet.core.run import Run
from whet.core.space import Choice, Decision, Value
from whet.decisions.distance import distance
from whet.graph.operations import operations_by_layer

LEAST_SHARE = 0.1
"""The least that a probed value's damage is taken to be of the most that its choice does, in shares of its distance:
next to nothing says next to nothing of more."""
IDLE = 0.02
"""The share of the operations that is left at least, however much a choice takes."""

CORRECTIONS = (0.1, 5.0)
"""The least and the most that what was measured together corrects a forecast by."""

Rows = dict[str, list[float]]
"""By choice, a number for each of its values in their order."""


@runtime_checkable
class Foretells(Protocol):
    """A pass that knows how its choices' values compare before any is applied."""

    def damages(self, net: Net, run: Run) -> Rows:
        """Return what each value's damage is about proportional to; choices of which nothing is known are left out."""
        ...

    def shares(self, net: Net, run: Run) -> dict[str, list[dict[str, float]]]:
        """Return by choice, for each value, the share of their operations that it leaves layers, by name."""
        ...


@dataclass(frozen=True)
class Foretold:
    """For each choice that passes tell of: a number that its damage goes with, and the log of the operations left."""

    damage: Rows = field(default_factory=dict)
    log_operations: Rows = field(default_factory=dict)

    @classmethod
    def of(cls, passes: Iterable[Pass], net: Net, run: Run, names: Iterable[str]) -> Foretold:
        """Ask the passes that can tell about those of the choices that they know."""
        asked = set(names)
        damage, several = Rows(), list(passes)
        shares = shares_of(several, net, run)
        for each in several:
            if isinstance(each, Foretells):
                damage |= each.damages(net, run)
        own = operations_by_layer(net) if shares else {}
        total = max(sum(own.values()), 1)

        def left(layers: Mapping[str, float]) -> float:
            gone = sum(own.get(layer, 0) * (1.0 - share) for layer, share in layers.items())
            return math.log(max(1.0 - gone / total, IDLE))

        logs = {name: [left(layers) for layers in values] for name, values in shares.items() if name in asked}
        return cls({name: row for name, row in damage.items() if name in asked and max(row) > 0}, logs)

    def shapes(self) -> tuple[Rows, Rows]:
        """Return how latency's and damage's rows compare within each choice: in [0, 1], 1 for the furthest value."""
        return normal(self.log_operations, min)[0], normal(self.damage, max)[0]


def shares_of(passes: Iterable[Pass], net: Net, run: Run) -> dict[str, list[dict[str, float]]]:
    """Return what the passes that can tell say of the operations that their choices' values leave layers."""
    found = dict[str, list[dict[str, float]]]()
    for each in passes:
        if isinstance(each, Foretells):
            found |= each.shares(net, run)
    return found


def scaled(
    found: Mapping[str, float], rows: Rows, choices: Sequence[Choice], largest: Callable[[list[float]], float]
) -> dict[str, float]:
    """Return the effect of each choice's furthest value: as found where it was probed, else foretold.

    What is foretold is in a unit of its own; the median ratio to what was found for choices of the same kind is its
    scale. Where nothing is foretold, or of no other, it is the mean of the kind.
    """
    kinds = {c.name: c.kind for c in choices}
    ratios: dict[str, list[float]] = {}
    means: dict[str, list[float]] = {}
    for name, effect in found.items():
        means.setdefault(kinds[name], []).append(effect)
        if name in rows and largest(rows[name]):
            ratios.setdefault(kinds[name], []).append(effect / largest(rows[name]))
    filled = dict(found)
    for choice in choices:
        if choice.name in filled or choice.kind not in means:
            continue
        if choice.name in rows and choice.kind in ratios:
            filled[choice.name] = median(ratios[choice.kind]) * largest(rows[choice.name])
        else:
            filled[choice.name] = sum(means[choice.kind]) / len(means[choice.kind])
    return filled


def realised(logs: Iterable[tuple[float, float]], bounds: tuple[float, float]) -> float:
    """Return the share of log gains foretold that was measured, from pairs of both: the median, within bounds.

    >>> realised([(-0.1, -0.4), (-0.2, -0.4), (-4.0, -0.4)], (0.0, 1.0))
    0.5
    """
    return min(max(median(found / told for found, told in logs), bounds[0]), bounds[1])


def together(rows: Rows, choices: Mapping[str, Choice], seen: Iterable[tuple[Decision, float]]) -> Rows:
    """Return rows of log latency corrected by what was measured where all choices of a kind had one value.

    A kernel's speed goes in steps with its sizes, which operations do not show: what all of a kind at one value gained,
    over what the rows say, corrects this value of each of them. A value that was not measured so has the correction of
    the nearest one that was.
    """
    ratios: dict[str, dict[Value, float]] = {}
    for decision, log_latency in seen:
        kinds, values = {choices[n].kind for n in decision}, set(decision.values())
        if len(decision) < 2 or len(kinds) > 1 or len(values) > 1 or not set(decision) <= set(rows):
            continue
        expected = sum(rows[n][choices[n].values.index(v)] for n, v in decision.items())
        if expected < 0:
            ratio = realised([(log_latency, expected)], CORRECTIONS)
            ratios.setdefault(kinds.pop(), {}).setdefault(values.pop(), ratio)
    found = Rows()
    for name, row in rows.items():
        choice, known = choices[name], ratios.get(choices[name].kind)
        found[name] = [e * _nearest(choice, v, known) if known else e for e, v in zip(row, choice.values, strict=True)]
    return found


def _nearest(choice: Choice, value: Value, known: Mapping[Value, float]) -> float:
    there = [v for v in known if v in choice.values] or list(known)
    return known[min(there, key=lambda v: abs(distance(choice, v) - distance(choice, value)))]


def normal(rows: Rows, furthest: Callable[[list[float]], float]) -> tuple[Rows, dict[str, float]]:
    """Return rows as distances in [0, 1] and the effect of the furthest value of each; rows of no effect are left out.

    >>> normal({"a:width": [-0.8, -0.2, 0.0]}, min)
    ({'a:width': [1.0, 0.25, 0.0]}, {'a:width': -0.8})
    """
    found = {name: furthest(row) for name, row in rows.items() if furthest(row)}
    return {name: [max(0.0, e / found[name]) for e in rows[name]] for name in found}, found
