"""On networks drawn at random, cutting half of any group equals silencing it, and where zeros stay zeros, zeroing it.

Two thousand seeds take about half an hour: `python tests/graph/test_random_graphs.py 0 2000`, from the root of the
project. The suite runs the first of them and those that once failed.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from random_graphs import Drawn
from silence import Silenced, in_double
from torch.utils._pytree import tree_flatten

import whet
from whet.core.net import Net
from whet.graph.axes import Axes, analyze
from whet.graph.cut import cut, removal

TOLERANCE = 1e-6
SEEDS = range(12)
FAILED_ONCE = (283, 932, 1056)


def error(a: Any, b: Any) -> float:
    """Return the relative difference of two networks' outputs."""
    left, right = tree_flatten(a)[0], tree_flatten(b)[0]
    if [x.shape for x in left] != [y.shape for y in right]:
        return float("inf")
    a, b = (torch.cat([x.flatten() for x in side]) for side in (left, right))
    return float((a - b).norm() / b.norm().clamp_min(1e-12))


def zeroed(net: Net, axes: Axes, keep: dict[str, list[int]]) -> Net:
    """Return the uncut network with what would go of its parameters set to zero; no label is read."""
    result = net.copy()
    parameters = dict(result.module.named_parameters())
    for site, kept in keep.items():
        for member in axes.groups[site].members:
            gone = (member.atom >= 0) & ~np.isin(member.atom, kept)
            parameters[member.parameter].data.index_fill_(member.dim, torch.from_numpy(np.flatnonzero(gone)), 0.0)
    return result


@torch.no_grad()
def faults(seed: int) -> tuple[list[str], Axes]:
    """Return what is wrong with the cuts of one network, each group by itself and then all together."""
    module = Drawn(seed)
    net = in_double(whet.lift(module, module.example))
    axes, rng, found = analyze(net), random.Random(seed), []
    half = {s: sorted(rng.sample(range(g.size), max(1, g.size // 2))) for s, g in axes.groups.items()}
    whole = net(*net.example)
    for keep in [*({site: kept} for site, kept in half.items()), half]:
        try:
            out = cut(net, keep, axes)(*net.example)
        except Exception as problem:
            found.append(f"{keep}: {type(problem).__name__}: {problem}")
            continue
        errors = {"silenced": error(out, Silenced(net, axes, removal(axes, keep)).run(*net.example))}
        if module.zeros_stay:
            errors["zeroed"] = error(out, zeroed(net, axes, keep)(*net.example))
        wrong = {name: value for name, value in errors.items() if not value <= TOLERANCE}
        if error(whole, out) == float("inf"):
            wrong["shape"] = float("inf")
        if wrong:
            found.append(f"{keep}: {wrong}")
    return found, axes


def test_cutting_half_of_any_group_equals_silencing_it() -> None:
    results = {seed: faults(seed) for seed in (*SEEDS, *FAILED_ONCE)}
    assert not {seed: found for seed, (found, _) in results.items() if found}
    assert sum(len(axes.groups) for _, axes in results.values()) > len(results)


def main(seeds: Iterable[int]) -> None:
    """Print the seeds that fail, and at the end how many groups and networks there were."""
    groups = networks = empty = failed = 0
    start = time.time()
    for seed in seeds:
        try:
            found, axes = faults(seed)
        except Exception as problem:
            found, axes = [f"{type(problem).__name__}: {str(problem)[:300]}"], None
        networks, failed = networks + 1, failed + bool(found)
        groups, empty = groups + len(axes.groups if axes else ()), empty + (not (axes and axes.groups))
        if found:
            print(seed, *found, sep="\n  ", flush=True)
        if axes and axes.skipped:
            print(seed, "skipped", axes.skipped, flush=True)
        if networks % 100 == 0:
            print(f"{networks} networks, {groups} groups, {empty} without any, {failed} failed", flush=True)
    print(f"{networks} networks, {groups} groups, {empty} without, {failed} failed, {time.time() - start:.0f} s")


if __name__ == "__main__":
    main(range(int(sys.argv[1]), int(sys.argv[2])))
