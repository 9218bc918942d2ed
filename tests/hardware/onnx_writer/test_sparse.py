"""Weights with many zeros are a mask and values: the file is as small as that, and computes the same to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

import whet
from whet.compress.quantize.weight_only import WeightOnly
from whet.core.net import Net
from whet.core.space import Decision
from whet.core.target import Artifact
from whet.graph.zeros import hold, largest
from whet.hardware import targets
from whet.hardware.onnx_export import export_onnx
from whet.hardware.onnx_writer import digits, file, sparse
from whet.testing.runs import planning_run

BITS = {"float": 32, "int8": 8, "int4": 4}


def pruned(share: float) -> Net:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 61, 3, stride=4), nn.ReLU(), nn.Flatten(),
        nn.Linear(61 * 16, 40),
    )  # fmt: skip
    net = whet.lift(module.eval(), (torch.randn(2, 3, 16, 16),))
    for name in ("2", "5"):
        weight = net.layer(name).get_parameter("weight")
        weight.data.mul_(largest({name: weight}, share)[name])
        hold(net.layer(name))
    return net


def stored(net: Net, kind: str) -> Net:
    if kind == "float":
        return net
    return WeightOnly().apply(net, Decision({"network:weights": kind}), planning_run(net)).net


def dense_file(net: Net, path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        patch.setattr(file, "pack_zeros", lambda w: None)
        return export_onnx(net, path)


@pytest.mark.parametrize("kind", list(BITS))
def test_the_file_is_smaller_by_mask_and_values_and_equal_to_the_bit(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = stored(pruned(0.8), kind)
    paths = [dense_file(net, tmp_path / "dense.onnx", monkeypatch), export_onnx(net, tmp_path / "mask.onnx")]
    kept = [numpy_helper.to_array(t) for t in onnx.load(paths[0]).graph.initializer if np.prod(t.dims) > 4000]
    count, ones = sum(a.size for a in kept), sum(int(np.count_nonzero(a)) for a in kept)
    saved = paths[0].stat().st_size - paths[1].stat().st_size
    assert count == 61 * 288 + 40 * 976
    assert saved == pytest.approx(count * BITS[kind] / 8 - count / 8 - ones * BITS[kind] / 8, abs=5000)
    assert saved < count * BITS[kind] / 8 - count / 8 - ones * BITS[kind] / 8, "the decoding takes bytes, too"
    target, x = targets.get("cpu"), net.example[0][:1].numpy()
    for settings in target.all_settings():
        if settings["threads"] == 1:
            one, two = (np.array(target.open(Artifact(path, settings), 1)(x)) for path in paths)
            assert np.array_equal(one, two), settings


def test_runtimes_decode_when_they_open_the_file(tmp_path: Path) -> None:
    import onnxruntime as ort
    import openvino as ov

    path = export_onnx(stored(pruned(0.8), "int8"), tmp_path / "mask.onnx")
    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).get_runtime_model()
    kinds = {op.get_rt_info()["layerType"].astype(str) for op in compiled.get_ops()}
    assert not kinds & {"Gather", "MatMul", "Split", "Reduce", "Eltwise"}, kinds
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    left = {n.op_type for n in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert not left & {"Gather", "Split", "ReduceMax", "Less", "Sign"}, left


def test_a_stream_that_does_not_pay_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Floats are tried first, and taken back; the integers' stream then needs the same constants."""
    weigh = sparse.saved_bytes
    monkeypatch.setattr(sparse, "saved_bytes", lambda t: 1.0 if t.data_type == 1 and len(t.dims) == 1 else weigh(t))
    path = export_onnx(stored(pruned(0.8), "int8"), tmp_path / "mask.onnx")
    made = onnx.load(path).graph
    names = {t.name for t in made.initializer} | {o for n in made.node for o in n.output} | {made.input[0].name}
    assert not {i for n in made.node for i in n.input} - names - {""}
    assert "mask" in " ".join(names) and not any("f32" in name for name in names)


def test_few_zeros_leave_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = stored(pruned(0.1), "int8")
    paths = [dense_file(net, tmp_path / "dense.onnx", monkeypatch), export_onnx(net, tmp_path / "mask.onnx")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_file_is_read_back_with_its_layers_and_zeros(tmp_path: Path) -> None:
    net = pruned(0.8)
    again = whet.lift(str(export_onnx(net, tmp_path / "mask.onnx")))
    assert torch.equal(again(*net.example), net(*net.example)) or torch.allclose(
        again(*net.example), net(*net.example), atol=1e-5
    )
    for name in ("2", "5"):
        assert torch.equal(again.layer(name).get_parameter("weight"), net.layer(name).get_parameter("weight"))


@pytest.mark.parametrize("count", [1, 7, 8, 65, 1000, 4096, 20_001])
def test_any_length_is_decoded_in_pieces_too(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference evaluator computes what is written, without any runtime's rewriting."""
    monkeypatch.setattr(digits, "PIECE", 9000)
    rng = np.random.default_rng(count)
    flat = (rng.normal(size=count) * (rng.random(count) < 0.3)).astype(np.float32)
    assert np.array_equal(_decode(flat), flat)


def _decode(flat: Any) -> Any:
    from whet.hardware.onnx_writer.writer import Writer

    net = whet.lift(nn.Linear(2, 2).eval(), (torch.zeros(2, 2),))
    w = Writer(net.module, None)  # type: ignore[arg-type]
    w.trace = type("Nothing", (), {"constants": set()})()
    w.store("weight", flat)
    w.emit("Identity", ["weight"], "out")
    kind = digits.kind_of(w.initializers["weight"])
    digits._pack(w, ["weight"], lambda part: sparse._decoded(w, kind, part))
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, flat.shape)
    graph = onnx.helper.make_graph(w.nodes, "g", [], [out], list(w.initializers.values()))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    return ReferenceEvaluator(model).run(None, {})[0]
