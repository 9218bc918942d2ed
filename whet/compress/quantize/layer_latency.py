"""What each layer takes with its weights on each grid: measured on the target, one layer at a time."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from whet.compress.quantize.allocation import Allocation
from whet.core.net import Net
from whet.core.target import Artifact, Session, Target
from whet.graph.fake_quantize import quantize_weight
from whet.graph.grids import Grid
from whet.graph.lift import lift
from whet.graph.readers import find_readers

ROUNDS, CALLS = 20, 5
"""How often each layer comes in turn, and how many calls are timed together then."""


def layer_latencies(problem: Allocation, target: Target) -> dict[tuple[str, Grid], float]:
    """Return the milliseconds of a call of each layer on each grid, for one sample; least of `ROUNDS` means.

    Each layer is a file of its own, in the target's first setting; layers that are alike are measured once. What one
    costs within a network, where its kernel is joined with others, may be less.
    """
    shapes, sources = problem.net.forward_shapes(), {r.site: r.source for r in find_readers(problem.net)[0].values()}
    alike = {s: (str(problem.net.layer(s)), shapes[sources[s]][1:]) for s in problem.weights}
    settings = target.all_settings()[0]
    sessions: dict[tuple[object, Grid], tuple[Session, np.ndarray]] = {}
    with tempfile.TemporaryDirectory(prefix="whet-") as folder:
        for site, key in alike.items():
            for grid in problem.grids:
                if (key, grid) not in sessions:
                    net = _alone(problem.net, site, grid, key[1])
                    path = target.save(net, Path(folder) / str(len(sessions)))
                    sessions[key, grid] = target.open(Artifact(path, settings), 1), net.example[0][:1].numpy()
        times = {key: float("inf") for key in sessions}
        for _ in range(ROUNDS):
            for each, (session, given) in sessions.items():
                times[each] = min(times[each], _timed(session, given))
    return {(s, g): times[alike[s], g] for s in problem.weights for g in problem.grids}


def _alone(net: Net, site: str, grid: Grid, shape: tuple[int, ...]) -> Net:
    """Return a network of one layer with its weight on a grid, rounded to nearest."""
    example = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    one = lift(nn.Sequential(net.copy().layer(site)).eval(), (example,))
    one.module.set_submodule("0", quantize_weight(one.layer("0"), grid))
    return one.settle().eval()


def _timed(session: Session, given: np.ndarray) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        session(given)
    return (time.perf_counter() - start) / CALLS * 1e3
