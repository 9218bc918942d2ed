"""Groups in files: digits on disk, integers of eight bits in the runtimes' kernels once a file is open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import whet
from whet.compress.quantize.static import NETWORK, StaticQuantization
from whet.core.space import Decision
from whet.core.target import Artifact
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.grids import Grid
from whet.hardware import targets
from whet.hardware.executed import executed
from whet.testing.runs import AlignedTarget, planning_run


def convolutions() -> tuple[nn.Sequential, torch.Tensor, list[str]]:
    layers = nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 48, 3), nn.ReLU(), nn.Conv2d(48, 8, 1)
    return nn.Sequential(*layers), torch.randn(4, 3, 12, 12), ["0", "2"]


def matrices(*positions: int) -> tuple[nn.Sequential, torch.Tensor, list[str]]:
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64)), torch.randn(4, *positions, 64), []


@pytest.mark.parametrize("kind", ["convolutions", "vectors", "sequences"])
def test_files_hold_digits_and_runtimes_multiply_integers_of_eight_bits(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, x, told = convolutions() if kind == "convolutions" else matrices(*([10] if kind == "sequences" else []))
    net = whet.lift(module.eval(), (x,))
    decision, target = Decision({NETWORK: "all"}), targets.get("cpu")
    run = replace(planning_run(net), target=AlignedTarget(weight_bits=target.weight_bits))
    made = {g: StaticQuantization(weight_bits=4, group=g).apply(net, decision, run).net.eval() for g in (0, 16)}
    files = {group: target.save(small, tmp_path / str(group)) for group, small in made.items()}
    sizes = {n: sum(t.ByteSize() for t in onnx.load(path).graph.initializer) for n, path in files.items()}
    assert sizes[16] < 1.5 * sizes[0]
    stored = made[16].layer("2")
    assert isinstance(stored, IntegerWeight) and stored.grid == Grid(4, 16, within=target.weight_bits)
    for runtime in ("openvino", "onnxruntime"):
        settings = {"runtime": runtime, "precision": "f32", "threads": 1}
        if told:
            assert {e.precision for e in executed(files[16], settings, told).values()} == {"int8"}
        found = target.open(Artifact(files[16], settings), 4)(*(x.numpy() for x in net.example))
        expected = made[16](*net.example).detach()
        assert np.abs(found - expected.numpy()).max() < 0.05 * float(expected.abs().max())
