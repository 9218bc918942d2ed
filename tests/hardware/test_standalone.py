"""A file is served with its runtime and NumPy alone: by the settings, at static sizes, on what the order says."""

from __future__ import annotations

import ast
import io
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

import whet
from whet.hardware import standalone
from whet.hardware.targets import get


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[whet.Net, Path]:
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(nn.Linear(8, 4), nn.ReLU()).eval(), (torch.zeros(2, 8),))
    return net, get("onnxruntime-cpu").save(net, tmp_path_factory.mktemp("model"))


def settings(runtime: str, threads: int = 1) -> dict[str, Any]:
    return {"runtime": runtime, "precision": "f32", "threads": threads}


def test_options_follow_the_settings() -> None:
    found = standalone.openvino_options(None, {"precision": "bf16", "threads": 2})
    assert found["INFERENCE_PRECISION_HINT"] == "bf16" and found["INFERENCE_NUM_THREADS"] == 2
    assert found["NUM_STREAMS"] == 1, "one request is served at a time"
    options = standalone.onnxruntime_options(ort, {"threads": 3})
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_call_gives_what_the_network_gives(model: tuple[whet.Net, Path], runtime: str) -> None:
    net, path = model
    x = torch.randn(3, 8)
    call = standalone.opened(path, settings(runtime), {net.inputs[0].name: (3, 8)})
    (found,) = call({net.inputs[0].name: x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, net(x).numpy(), rtol=1e-5, atol=1e-6)


def test_an_order_is_served_as_often_as_it_says(model: tuple[whet.Net, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    net, path = model
    seen: list[Any] = []
    opened = standalone.opened

    def counting(*given: Any) -> Any:
        call = opened(*given)
        return lambda feeds: seen.append(feeds) or call(feeds)

    monkeypatch.setattr(standalone, "opened", counting)
    name = net.inputs[0].name
    order = {
        "path": str(path), "settings": settings("onnxruntime"), "inputs": {name: [[2, 8], "float32"]}, "calls": 3,
    }  # fmt: skip
    assert standalone.serve(order)["peak_bytes"] > 2**20
    assert len(seen) == 3 and all(f[name].shape == (2, 8) and f[name].dtype == np.float32 for f in seen)


def test_the_script_reads_an_order_and_prints_one_line(
    model: tuple[whet.Net, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net, path = model
    order = {
        "path": str(path), "settings": settings("onnxruntime"), "calls": 1,
        "inputs": {net.inputs[0].name: [[1, 8], "float32"]},
    }  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(order)))
    runpy.run_path(str(Path(standalone.__file__)), run_name="__main__")
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["peak_bytes"] > 0


def test_it_imports_neither_torch_nor_whet() -> None:
    tree = ast.parse(Path(standalone.__file__).read_text())
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not {name for name in names if name.partition(".")[0] in ("torch", "whet")}
