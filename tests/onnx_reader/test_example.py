"""Inputs of every kind: free sizes, other places of the batch, values that never change; files that break the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_files import SMALL, floats, model_of, saved

from whet.core.errors import LiftError
from whet.onnx_reader import OnnxModule, read

INT = TensorProto.INT64


def differences(path: Path, module: OnnxModule, inputs: tuple[torch.Tensor, ...], **fixed: Any) -> float:
    """Return the largest difference of any output from ONNX Runtime's."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = {port.name: x.numpy() for port, x in zip(module.ports, inputs)}
    wanted = session.run(None, feeds | fixed)
    with torch.no_grad():
        found = module(*inputs)
    found = found if isinstance(found, tuple) else (found,)
    assert [tuple(x.shape) for x in found] == [x.shape for x in wanted]
    return max(float(np.abs(a.numpy().astype(float) - b.astype(float)).max()) for a, b in zip(found, wanted))


def step(rows: Any, length: Any = "samples") -> onnx.ModelProto:
    """A detector's step as silero-vad writes it: a state of (2, batch, 4), an If on the rate, two outputs."""
    empty = helper.make_empty_tensor_value_info
    branches = {}
    for name, weight in (("then_branch", "fast"), ("else_branch", "slow")):
        product = helper.make_node("MatMul", ["mean", weight], [f"{name}.y"])
        branches[name] = helper.make_graph([product], name, [], [empty(f"{name}.y")])
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Equal", ["sr", "16k"], ["is"]),
        helper.make_node("If", ["is"], ["seen"], **branches),
        helper.make_node("Gather", ["state", "zero"], ["last"], axis=0),
        helper.make_node("Add", ["seen", "last"], ["output"]),
        helper.make_node("Unsqueeze", ["output", "front"], ["wide"]),
        helper.make_node("Concat", ["wide", "wide"], ["stateN"], axis=0),
    ]
    weights = {
        "fast": floats(1, 4), "slow": floats(1, 4, seed=1), "16k": np.array(16000, np.int64),
        "zero": np.array(0, np.int64), "front": np.array([0], np.int64),
    }  # fmt: skip
    inputs = {"input": [rows, length], "state": [2, rows, 4], "sr": []}
    return model_of(nodes, inputs, {"output": [rows, 4], "stateN": [2, rows, 4]}, weights, kinds={"sr": INT})


@pytest.mark.parametrize(("rows", "axes"), [("batch", (0, 1)), ("N", (0, 1)), (None, (0, 1)), (1, (0, 1))])
def test_the_batch_is_found_by_name_by_place_by_size(rows: Any, axes: tuple[int, ...], tmp_path: Path) -> None:
    path = saved(step(rows), tmp_path / "step.onnx")
    shapes = {"input": (1, 7), "state": (2, 1, 4)}
    module, inputs = read(path, shapes=shapes, fixed={"sr": 16000})
    assert module.batch_axes == axes and module.output_names == ("output", "stateN")
    assert [x.shape[axis] for x, axis in zip(inputs, axes)] == [1 if rows == 1 else 2] * 2
    assert differences(path, module, inputs, sr=np.array(16000)) < 1e-5
    two = (torch.randn(2, 7), torch.randn(2, 2, 4))
    both = module(*two)
    alone = [module(two[0][i : i + 1], two[1][:, i : i + 1]) for i in range(2)]
    torch.testing.assert_close(both[0], torch.cat([each[0] for each in alone]))
    torch.testing.assert_close(both[1], torch.cat([each[1] for each in alone], 1))


def test_a_value_that_never_changes_decides_what_it_steers(tmp_path: Path) -> None:
    path = saved(step("batch"), tmp_path / "step.onnx")
    shapes = {"input": (1, 7)}
    fast, inputs = read(path, shapes=shapes, fixed={"sr": 16000})
    slow, _ = read(path, shapes=shapes, fixed={"sr": 8000})
    assert differences(path, slow, inputs, sr=np.array(8000)) < 1e-5
    assert [port.name for port in fast.ports] == ["input", "state"]
    assert "If" not in {step.op for step in fast.program.body.steps}
    assert not torch.equal(fast(*inputs)[0], slow(*inputs)[0])
    with pytest.raises(LiftError, match=r"its condition depends on the network's input.*--fix NAME=VALUE"):
        read(path, shapes=shapes)
    with pytest.raises(LiftError, match="unknown input 'rate'"):
        read(path, shapes=shapes, fixed={"rate": 1})
    with pytest.raises(LiftError, match="input 'input' cannot be fixed: its shape is free"):
        read(path, shapes=shapes, fixed={"input": 1})


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = saved(step("batch"), tmp_path / "step.onnx")
    with pytest.raises(LiftError, match="input 'state' is 2xbatchx4; got 2x1x5"):
        read(path, shapes={"input": (1, 7), "state": (2, 1, 5)}, fixed={"sr": 16000})
    with pytest.raises(LiftError, match=r"\('samples'\) of input 'input' is free; give --shape 'input=1xSIZE'"):
        read(path, fixed={"sr": 16000})


# -- files that the standard forbids, and runtimes run ----------------------------------------------------------------


def turned_around(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def infos_twice(model: onnx.ModelProto) -> None:
    for _ in range(2):
        model.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, ["batch", 3, 6, 6]))
    model.graph.value_info.append(helper.make_tensor_value_info("", TensorProto.FLOAT, []))


def weights_as_inputs(model: onnx.ModelProto) -> None:
    """Files of old list their weights among the inputs; one that nothing reads is among them."""
    model.graph.initializer.append(numpy_helper.from_array(floats(3), "spare"))
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))


def without_names(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.name = ""
    del model.graph.value_info[:]
    model.graph.name = "g"


BREAKS = [turned_around, infos_twice, weights_as_inputs, without_names]


@pytest.mark.parametrize("break_rules", BREAKS)
@pytest.mark.parametrize("name", ["convolution", "branches"])
def test_files_that_break_the_standard_are_read_as_they_are_run(break_rules: Any, name: str, tmp_path: Path) -> None:
    made = SMALL[name]()
    break_rules(made)
    path = saved(made, tmp_path / "broken.onnx")
    module, inputs = read(path)
    assert differences(path, module, inputs) < 1e-4


def test_what_onnx_runtime_s_converter_to_f16_writes_is_read(tmp_path: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(SMALL["convolution"](), keep_io_types=True, op_block_list=["Gemm"])
    turned_around(half)
    path = saved(half, tmp_path / "half.onnx")
    module, inputs = read(path)
    assert differences(path, module, inputs) < 2e-2


def test_a_circle_is_told_from_an_odd_order(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"], "first"), helper.make_node("Relu", ["a"], ["b"], "second")]
    path = saved(model_of(nodes, {"x": ["batch", 3]}, ["b"]), tmp_path / "circle.onnx")
    with pytest.raises(LiftError, match=r"node 'first' \(Add\) needs its own result"):
        read(path)


def test_whole_numbers_are_outputs_like_any_other(tmp_path: Path) -> None:
    nodes = [helper.make_node("Softmax", ["x"], ["p"]), helper.make_node("ArgMax", ["p"], ["label"], axis=1)]
    model = model_of(nodes, {"x": ["batch", 3]}, {"label": ["batch", 1], "p": ["batch", 3]}, kinds={"label": INT})
    path = saved(model, tmp_path / "label.onnx")
    module, inputs = read(path)
    assert module.output_names == ("label", "p") and not module.notes
    assert differences(path, module, inputs) < 1e-6


def test_an_output_that_cannot_be_read_is_left_out_and_said(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Softmax", ["x"], ["p"]),
        helper.make_node("ArrayFeatureExtractor", ["classes", "x"], ["label"], domain="ai.onnx.ml"),
    ]
    weights = {"classes": np.arange(3)}
    kinds = {"label": INT}
    model = model_of(nodes, {"x": ["batch", 3]}, ["label", "p"], weights, kinds=kinds, domains=("ai.onnx.ml",))
    module, _ = read(saved(model, tmp_path / "label.onnx"))
    assert module.output_names == ("p",) and "output 'label' is left out" in module.notes[0]
