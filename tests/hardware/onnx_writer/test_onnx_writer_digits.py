"""Weights of few levels are digits of whole numbers: as small as that, and the same integers in every runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

import whet
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.net import Net
from whet.core.space import Decision
from whet.core.target import Artifact
from whet.graph.zeros import hold, largest
from whet.hardware import targets
from whet.hardware.onnx_export import export_onnx
from whet.hardware.onnx_writer import digits, file
from whet.hardware.onnx_writer.writer import Writer
from whet.testing.runs import planning_run

LEVELS = {"int2": 3, "5 levels": 5, "int3": 7}


def network(kind: str, zeros: float = 0.0) -> Net:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 61, 3, stride=4), nn.ReLU(),
        nn.Flatten(), nn.Linear(61 * 16, 40),
    )  # fmt: skip
    net = whet.lift(module.eval(), (torch.randn(2, 3, 16, 16),))
    for name in ("3", "6") if zeros else ():
        weight = net.layer(name).get_parameter("weight")
        weight.data.mul_(largest({name: weight}, zeros)[name])
        hold(net.layer(name))
    return WeightOnly(rounding="nearest").apply(net, Decision({NETWORK: kind}), planning_run(net)).net


@pytest.mark.parametrize(("levels", "bits"), [(2, 1.0), (3, 8 / 5), (4, 2.0), (5, 32 / 13), (6, 8 / 3), (7, 32 / 11)])
def test_a_whole_number_holds_as_many_digits_as_fit(levels: int, bits: float) -> None:
    assert digits.bits_of(levels) == bits


@pytest.mark.parametrize("kind", list(LEVELS))
def test_the_file_is_as_small_as_that_and_equal_to_the_bit(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network(kind)
    with monkeypatch.context() as patch:
        for name in ("pack_zeros", "pack_digits"):
            patch.setattr(file, name, lambda w: None)
        plain = export_onnx(net, tmp_path / "plain.onnx")
    path = export_onnx(net, tmp_path / "digits.onnx")
    count = 32 * 27 + 61 * 288 + 40 * 976
    saved = plain.stat().st_size - path.stat().st_size
    assert saved > count * (1 - digits.bits_of(LEVELS[kind]) / 8) - 2000
    target, x = targets.get("cpu"), net.example[0][:1].numpy()
    for settings in target.all_settings():
        if settings["threads"] == 1:
            one, two = (np.array(target.open(Artifact(p, settings), 1)(x)) for p in (plain, path))
            assert np.array_equal(one, two), settings


def test_of_mask_and_digits_the_smaller_is_written(tmp_path: Path) -> None:
    sizes, names = {}, {}
    for zeros in (0.0, 0.3, 0.5, 0.9):
        path = export_onnx(network("int3", zeros), tmp_path / f"{zeros}.onnx")
        sizes[zeros] = path.stat().st_size
        names[zeros] = {t.name for t in onnx.load(path).graph.initializer}
    assert "mask" in names[0.9] and "digits.6" in names[0.9]
    assert "mask" not in names[0.0] and {"digits.7"} <= names[0.0]
    assert "mask" not in names[0.3], "it saves less than what decodes it takes"
    assert abs(sizes[0.3] - sizes[0.0]) < 100
    count = 61 * 288 + 40 * 976
    assert sizes[0.9] < sizes[0.5] < sizes[0.0]
    assert sizes[0.0] - sizes[0.9] > count / 8 * (digits.bits_of(7) - 1 - 0.12 * digits.bits_of(6)) - 3000


def test_the_file_is_read_back_as_the_network_that_it_was(tmp_path: Path) -> None:
    net = network("5 levels")
    again = whet.lift(str(export_onnx(net, tmp_path / "digits.onnx")))
    assert torch.allclose(again(*net.example), net(*net.example), atol=1e-5)


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("count", [3000, 4097])
def test_any_length_is_decoded(most: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "PIECE", 1500)
    flat = np.random.default_rng(count).integers(-most, most + 1, count).astype(np.int8)
    w = Writer(nn.Module(), type("Nothing", (), {"constants": set()})())  # type: ignore[arg-type]
    w.store("weight", flat)
    w.emit("Identity", ["weight"], "out")
    digits.pack_digits(w)
    assert w.is_packed and "weight" not in w.initializers
    assert np.array_equal(_computed(w, flat.shape), flat)


def _computed(w: Writer, shape: Any) -> Any:
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.INT8, shape)
    graph = onnx.helper.make_graph(w.nodes, "g", [], [out], list(w.initializers.values()))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    return ReferenceEvaluator(model).run(None, {})[0]


def test_names_are_short_and_those_of_inputs_outputs_and_layers_stay(tmp_path: Path) -> None:
    graph = onnx.load(export_onnx(network("int2"), tmp_path / "a.onnx")).graph
    computed = {name for node in graph.node for name in node.output}
    assert sum(len(name) > 2 for name in computed) == 4  # three weights and the output
    assert {"3.weight.int2", graph.output[0].name} <= computed and {"3.bias"} <= {t.name for t in graph.initializer}
