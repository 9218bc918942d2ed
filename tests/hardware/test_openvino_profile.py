"""OpenVINO's counters are read as layers' times, of files in floats and in integers alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import whet
from whet.compress.quantize.static import NETWORK, StaticQuantization
from whet.core.run import Run
from whet.core.space import Decision
from whet.hardware import targets
from whet.hardware.onnx_export import export_onnx
from whet.hardware.openvino_profile import Profiled
from whet.hardware.profile import charged, layer_times, nodes_of_layers

SETTINGS = {"runtime": "openvino", "precision": "f32", "threads": 1}


def files(folder: Path) -> tuple[whet.Net, dict[str, Path]]:
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 64, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    x = torch.randn(4, 3, 24, 24)
    net = whet.lift(module.eval(), x[:2])
    task = whet.Task("t", None, [(x, torch.zeros(4))], calibration=[(x, torch.zeros(4))])
    whole = StaticQuantization().apply(net, Decision({NETWORK: "all"}), Run(task, targets.get("openvino-cpu"))).net
    return net, {"plain": export_onnx(net, folder / "p.onnx"), "whole": export_onnx(whole, folder / "q.onnx")}


def test_each_layer_has_its_time_in_floats_and_in_integers(tmp_path: Path) -> None:
    net, both = files(tmp_path)
    inputs = targets.inputs_of(net)
    found = layer_times(both, SETTINGS, list(net.layers()), inputs, rounds=3)
    assert found is not None and found.keys() == both.keys()
    for times in found.values():
        assert all(times[site] > 0 for site in ("0", "2", "6"))


def test_all_time_is_some_layers(tmp_path: Path) -> None:
    net, both = files(tmp_path)
    for path in both.values():
        read = Profiled(path, SETTINGS, targets.inputs_of(net), 1)
        times, nodes = read.infer(), nodes_of_layers(path, net.layers())
        assert set(nodes.values()) == {"0", "2", "6"}
        assert not any(times[name] for name in times.keys() - {operation.name for operation in read.operations})
        assert sum(charged(read.operations, times, nodes, net.layers()).values()) == pytest.approx(sum(times.values()))
        own = [o for o in read.operations if any(source.partition("/")[0] in nodes for source in o.sources)]
        assert len(own) >= 3 and sum(times[o.name] for o in own) > 0
