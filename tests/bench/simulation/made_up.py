"""A made-up table: four blocks that may go and two widths, whose figures are sums of what each choice does."""

from __future__ import annotations

import math
import random
from functools import cache

from whet.bench.simulation.curves import Costs, Curve, Curves
from whet.bench.simulation.landscape import Landscape
from whet.bench.simulation.simulator import Simulator
from whet.core.space import Choice, Decision, Space
from whet.schedule.goal import Goal
from whet.schedule.plan import Plan

SPACE = Space(
    [Choice(f"block{i}:keep", (True, False), True) for i in range(4)]
    + [Choice(f"layer{i}:width", (0.25, 0.5, 1.0), 1.0, lasting=3.0) for i in range(2)]
)
DAMAGE = {"block0:keep": 0.01, "block1:keep": 0.02, "block2:keep": 0.04, "block3:keep": 0.08, "layer0:width": 0.06,
          "layer1:width": 0.12}  # fmt: skip
SAMPLES = (0, 1000, 4000, 16_000)
INT8 = Decision({"network:int8": "all"})


def cuts(decision: Decision) -> list[tuple[str, float]]:
    """Return the choices that a decision cuts, and how far."""
    return [(n, 1.0 if v is False else 1.0 - float(v)) for n, v in decision.items()]


def curve(decision: Decision, share: float) -> Curve:
    """Return the figures of a decision; it leaves a `share` of the operations."""
    damage = sum(DAMAGE[n] * far for n, far in cuts(decision))
    drops = tuple(damage * (1 + n / 1000) ** -0.5 for n in SAMPLES)
    speed = share**-0.8
    return Curve(
        decision, 1e7 * share, damage / 2, SAMPLES, drops, (drops[0] + 0.001, drops[-1] + 0.001), speed, 1.2 * speed
    )


@cache
def curves() -> Curves:
    """Return a table of sixty decisions."""
    generator, found = random.Random(1), dict[Decision, None]()
    found[Decision()] = None
    while len(found) < 60:
        cut = {c.name: generator.choice(c.values) for c in SPACE if generator.random() < 0.5}
        found[SPACE.canonical(Decision(cut))] = None
    left = {c.name: [0.1 if v is False else float(v) for v in c.values] for c in SPACE}
    shares = {
        c.name: [[share if i == place else 1.0 for i in range(len(SPACE))] for share in left[c.name]]
        for place, c in enumerate(SPACE)
    }
    about = {
        "network": "made-up", "task": "t", "direction": "max", "drop": "absolute", "reference": 0.9, "max_drop": 0.01,
        "epoch_samples": 50_000, "original_bytes": 1000, "val_samples": 5000, "batch": 64,
        "extended": [{"decision": {"block0:keep": False}, "samples": [0, 1000], "drops": [0.005, 0.01 * 9**-0.5]}],
    }  # fmt: skip
    kinds = {"cut": 0.1, "repair": 0.3, "error": 0.1, "finish": 0.5, "save": 0.2, "evaluate": 0.3, "quick": 0.2}
    kinds["race"] = 2.5
    table = Curves(
        SPACE, [], [Decision({"layer0:width": 0.5, "layer1:width": 0.5})], [[INT8]],
        {n: [d if v is False else (1 - float(v)) * d for v in SPACE.choices[n].values] for n, d in DAMAGE.items()},
        {c.name: [math.log(max(1 - (1 - float(v)) / 6, 0.1)) for v in c.values] for c in SPACE},
        [1e7 / 6] * 6, shares, Costs(kinds, [(1e7, 1e-3)]), about,
    )  # fmt: skip
    rows = [curve(d, table.operations(d) / 1e7) for d in found]
    return Curves(
        SPACE, rows, table.obvious, table.ways, table.damage, table.log_operations, table.layers, shares, table.costs,
        about,
    )  # fmt: skip


@cache
def landscape() -> Landscape:
    """Return what the table tells of all decisions."""
    return Landscape(curves())


def simulator() -> Simulator:
    """Return a search of five minutes that has not begun."""
    return Simulator(landscape(), Goal(0.01, budget_seconds=300.0), 0, "sensitivity", Plan())
