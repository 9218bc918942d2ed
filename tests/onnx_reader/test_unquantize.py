from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import helper
from onnx_files import floats, model_of, saved
from onnxruntime.quantization import QuantType
from other_cases import ACTIVATIONS, FORMS, activations, quantized, steps_off, weighted
from torch import nn

import whet
from whet.graph.axes import analyze
from whet.onnx_reader import read


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("activation", "per_channel"), ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_a_quantised_resnet_is_its_float_network_and_a_decision(
    form: Any, activation: Any, per_channel: bool, tmp_path: Path
) -> None:
    path, source = quantized(tmp_path, form, activation, per_channel)
    module, _ = read(path)
    net = whet.lift(path)
    assert len(weighted(net)) == len(weighted(source))
    assert all(steps <= 0.51 for steps in steps_off(net, source, module.quantization).values())
    assert {module.quantization[f"{name}.weight"].dtype for name in weighted(net)} == {"int8"}
    relus = [sum("relu" in str(node.target) for node in each.graph.nodes) for each in (source, net)]
    assert relus[0] == relus[1]
    assert activations(module.quantization) >= 20
    assert not any("quantize" in str(node.target) for node in net.graph.nodes)
    assert analyze(net).cuttable_share == analyze(source).cuttable_share


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_it_computes_what_the_runtime_computes_but_for_rounding(form: Any, tmp_path: Path) -> None:
    path, source = quantized(tmp_path, form, QuantType.QUInt8, True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    rounded = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
    with torch.no_grad():
        found, wanted = whet.lift(path)(x), source(x)
    scale = wanted.abs().max()
    assert (found - rounded).abs().max() <= 0.2 * scale
    assert (found - wanted).abs().max() <= 0.1 * scale
    assert (found - wanted).abs().mean() < (rounded - wanted).abs().mean()


def test_a_relu_that_the_integers_stand_for_is_put_back(tmp_path: Path) -> None:
    """y = q(x W): with zero as the lowest integer the file cuts off what is negative, as a ReLU does."""
    weights = {
        "scale": np.array(0.05, np.float32), "zero": np.array(0, np.uint8), "fc.weight": floats(4, 3),
        "sx": np.array(0.1, np.float32), "zx": np.array(128, np.uint8),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["a"]),
        helper.make_node("DequantizeLinear", ["a", "sx", "zx"], ["b"]),
        helper.make_node("MatMul", ["b", "fc.weight"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "scale", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["d", "scale", "zero"], ["y"]),
    ]
    module, _ = read(saved(model_of(nodes, {"x": ["batch", 4]}, ["y"], weights), tmp_path / "q.onnx"))
    x = torch.from_numpy(floats(5, 4, seed=3))
    wanted = torch.relu(x @ torch.from_numpy(weights["fc.weight"]))
    assert torch.allclose(module(x), wanted, atol=1e-6)
    assert {k: v.dtype for k, v in module.quantization.items()} == {"a": "uint8", "d": "uint8"}


@pytest.mark.parametrize("points", [True, False])
def test_packed_blocks_become_a_linear_layer(points: bool, tmp_path: Path) -> None:
    """W = (q - z) s in blocks of 16 along the inputs, two numbers of four bits a byte, the first in the low bits."""
    rows, columns, block = 6, 40, 16
    blocks = -(-columns // block)
    generator = np.random.default_rng(0)
    whole = generator.integers(0, 16, (rows, blocks * block)).astype(np.uint8)
    drawn = generator.integers(0, 16, (rows, blocks)).astype(np.uint8)
    zeros = drawn if points else np.full_like(drawn, 8)
    scales = (0.1 + generator.random((rows, blocks))).astype(np.float32)
    padded = np.pad(zeros, ((0, 0), (0, blocks % 2)))
    weights = {
        "fc.weight_Q4": (whole[:, 0::2] | whole[:, 1::2] << 4).reshape(rows, blocks, block // 2),
        "fc.weight_scales": scales.reshape(-1),
    }  # fmt: skip
    if points:
        weights["fc.weight_zp"] = (padded[:, 0::2] | padded[:, 1::2] << 4).reshape(-1)
    node = helper.make_node(
        "MatMulNBits", ["x", *weights], ["y"], domain="com.microsoft", K=columns, N=rows, bits=4, block_size=block
    )
    model = model_of([node], {"x": ["batch", columns]}, ["y"], weights, domains=("com.microsoft",))
    module, (x,) = read(saved(model, tmp_path / "packed.onnx"))
    numbers = (whole.reshape(rows, blocks, block) - zeros[..., None].astype(np.float32)) * scales[..., None]
    matrix = torch.from_numpy(numbers.reshape(rows, -1)[:, :columns].astype(np.float32))
    assert isinstance(module.get_submodule("fc"), nn.Linear)
    assert torch.allclose(module(x), x @ matrix.T, atol=1e-4)
    how = module.quantization["fc.weight"]
    assert (how.dtype, how.block) == ("uint4", block)
    assert np.array_equal(how.zero_point, zeros)


def test_integers_that_go_out_are_computed(tmp_path: Path) -> None:
    """What the network itself returns as integers stays quantised."""
    weights = {"s": np.array(0.1, np.float32), "z": np.array(3, np.uint8)}
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("QuantizeLinear", ["a", "s", "z"], ["y"])]
    model = model_of(nodes, {"x": ["batch", 3]}, ["y"], weights, kinds={"y": 2})
    module, _ = read(saved(model, tmp_path / "out.onnx"))
    found = module(torch.tensor([[-1.0, 0.26, 50.0]]))
    assert found.dtype == torch.uint8 and found.tolist() == [[3, 6, 255]]
