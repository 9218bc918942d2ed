"""Latencies of layers: measured on the target, once for layers that are alike, slower where the target is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from shares import GRIDS, problem_of
from torch import nn

from whet.compress.quantize.layer_latency import layer_latencies
from whet.core.net import Net
from whet.core.target import Artifact
from whet.graph.fake_quantize import IntegerWeight
from whet.testing.runs import AlignedTarget


class Sleepy(AlignedTarget):
    """A target on which a call takes a fifth of a millisecond for each bit of the one layer's grid."""

    def all_settings(self) -> list[dict[str, Any]]:
        """Return one setting."""
        return [{"runtime": "sleep"}]

    def save(self, net: Net, folder: Path) -> Path:
        """Write the bits."""
        (layer,) = net.layers().values()
        assert isinstance(layer, IntegerWeight)
        folder.mkdir()
        (folder / "bits").write_text(str(layer.grid.bits))
        return folder / "bits"

    def open(self, artifact: Artifact, batch: int) -> Callable[..., None]:
        """Return what sleeps."""
        seconds = int(artifact.path.read_text()) * 2e-4
        return lambda given: time.sleep(seconds)


def test_each_grid_is_measured_and_layers_that_are_alike_once() -> None:
    torch.manual_seed(0)
    layers = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8)
    problem = problem_of(nn.Sequential(*layers), torch.randn(40, 6), 0.0)
    before = {n: p.clone() for n, p in problem.net.module.state_dict().items()}
    found = layer_latencies(problem, Sleepy())  # type: ignore[arg-type]
    assert found.keys() == {(s, g) for s in ("0", "1", "2") for g in GRIDS}
    for site in problem.weights:
        assert found[site, GRIDS[0]] >= 1.6 and 0.8 <= found[site, GRIDS[1]] < found[site, GRIDS[0]]
    assert all(found["1", g] == found["2", g] != found["0", g] for g in GRIDS)
    assert all(torch.equal(p, before[n]) for n, p in problem.net.module.state_dict().items())
