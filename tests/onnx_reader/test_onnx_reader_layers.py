from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_files import SMALL, floats, info, model_of, saved
from torch import nn

import whet
from whet.onnx_reader import read
from whet.onnx_reader.names import dotted, stem


def layers_of(module: nn.Module) -> dict[str, type]:
    return {name: type(m) for name, m in module.named_modules() if name and type(m) is not nn.Module}


def as_the_reference_says(model: Any, module: nn.Module, *inputs: torch.Tensor) -> None:
    names = [i.name for i in model.graph.input]
    wanted = ReferenceEvaluator(model).run(None, {n: x.numpy() for n, x in zip(names, inputs)})[0]
    with torch.no_grad():
        found = module(*inputs)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_small_files_give_what_the_reference_gives(name: str, tmp_path: Path) -> None:
    model = SMALL[name]()
    module, example = read(saved(model, tmp_path / "small.onnx"))
    as_the_reference_says(model, module, *example)
    net = whet.lift(tmp_path / "small.onnx")
    with torch.no_grad():
        assert torch.allclose(net(*example), module(*example), atol=1e-6)


def test_layers_have_the_names_of_the_file(tmp_path: Path) -> None:
    module, _ = read(saved(SMALL["convolution"](), tmp_path / "a.onnx"))
    assert layers_of(module) == {"conv": nn.Conv2d, "bn": nn.BatchNorm2d, "fc": nn.Linear}
    module, _ = read(saved(SMALL["sequence"](), tmp_path / "b.onnx"))
    assert layers_of(module) == {"table": nn.Embedding, "lstm": nn.LSTM, "norm": nn.LayerNorm, "head": nn.Linear}
    assert {n for n, _ in whet.lift(tmp_path / "b.onnx").module.named_modules()} >= {"table", "norm", "head"}


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 1, 2]])
@pytest.mark.parametrize("options", [{}, {"count_include_pad": 1}])
def test_a_window_over_everything_is_no_larger_than_that(options: Any, pads: list[int], tmp_path: Path) -> None:
    """EfficientNet's last pooling is 640 wide over what is 1 wide; padding it to that took most of the reading."""
    stated = {"kernel_shape": [640, 9], "strides": [640, 9], "pads": pads, "ceil_mode": 1, **options}
    node = helper.make_node("AveragePool", ["x"], ["y"], **stated)
    module, _ = read(saved(model_of([node], {"x": ["batch", 2, 3, 5]}, ["y"], opset=19), tmp_path / "pool.onnx"))
    x = torch.from_numpy(floats(2, 2, 3, 5))
    count = (3 + pads[0] + pads[2]) * (5 + pads[1] + pads[3]) if options else 15
    torch.testing.assert_close(module(x), x.sum((2, 3), keepdim=True) / count)


def test_an_if_on_a_constant_is_its_branch_and_a_known_loop_is_unrolled(tmp_path: Path) -> None:
    net = whet.lift(saved(SMALL["branches"](), tmp_path / "c.onnx"))
    names = [str(node.target) for node in net.graph.nodes]
    assert sum("relu" in n for n in names) == 1 and not any("neg" in n for n in names)
    assert sum("add" in n for n in names) == 4


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/layer1/layer1.0/conv1", "layer1.0.conv1"), ("/encoder/layer.0/attention", "encoder.layer.0.attention"),
        ("a/b c/d", "a.b_c.d"), ("in.lambda", "in_.lambda_"), ("x::y", "x.y"),
    ],
)  # fmt: skip
def test_paths_are_ones_that_python_can_spell(name: str, path: str) -> None:
    assert dotted(name) == path


@pytest.mark.parametrize(
    ("tensor", "layer"),
    [
        ("layer1.0.conv1.weight", "layer1.0.conv1"), ("fc.weight_quantized", "fc"), ("onnx::Conv_5", ""), ("123", ""),
        ("model/dense/MatMul/ReadVariableOp:0", "model.dense"), ("val_7", ""), ("block.b.weight", "block.b"),
        ("conv1_weight", "conv1"), ("fc.weight_DequantizeLinear_Output", "fc"),
    ],
)  # fmt: skip
def test_a_tensor_tells_its_layer(tensor: str, layer: str) -> None:
    assert stem(tensor) == layer


def test_names_that_a_module_uses_itself_are_avoided(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "training.weight"], ["a"]),
        helper.make_node("Mul", ["a", "forward"], ["y"]),
    ]
    weights = {"training.weight": floats(3, 4), "forward": floats(4)}
    module, (x,) = read(saved(model_of(nodes, {"x": ["batch", 3]}, ["y"], weights), tmp_path / "odd.onnx"))
    assert {n for n, _ in module.named_parameters()} == {"training_.weight", "forward_"}
    assert module(x).shape == (2, 4)


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["wte.weight", "tokens"], ["a"]),
        helper.make_node("Transpose", ["wte.weight"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["a", "turned"], ["y"], "/head/MatMul"),
    ]
    model = model_of(
        nodes, {"tokens": ["batch", 4]}, ["y"], {"wte.weight": floats(9, 5)}, kinds={"tokens": TensorProto.INT64}
    )
    module, _ = read(saved(model, tmp_path / "tied.onnx"))
    assert sum(p.numel() for p in module.parameters()) == 45
    assert layers_of(module) == {"wte": nn.Embedding, "head": nn.Linear}
    net = whet.lift(tmp_path / "tied.onnx")
    assert net.parameter_count == 45


def test_what_the_file_trains_is_a_parameter_and_a_mask_is_not(tmp_path: Path) -> None:
    mask = np.triu(np.full((4, 4), -np.inf, np.float32), 1)
    nodes = [
        helper.make_node("Mul", ["x", "block.gamma"], ["a"]), helper.make_node("Add", ["a", "block.mask"], ["b"]),
        helper.make_node("Mul", ["b", "onnx::Mul_9"], ["c"]), helper.make_node("Softmax", ["c"], ["y"]),
    ]  # fmt: skip
    weights = {"block.gamma": floats(4), "block.mask": mask, "onnx::Mul_9": floats(4)}
    module, _ = read(saved(model_of(nodes, {"x": ["batch", 4, 4]}, ["y"], weights), tmp_path / "mask.onnx"))
    assert [n for n, _ in module.named_parameters()] == ["block.gamma"]
    assert "block.mask" in dict(module.named_buffers())


def test_groups_normalised_as_instances_are_a_group_norm(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "grouped"], ["a"]),
        helper.make_node("InstanceNormalization", ["a", "ones", "zeros"], ["b"], epsilon=1e-4),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Reshape", ["b", "shape"], ["c"]),
        helper.make_node("Mul", ["c", "gn.weight"], ["d"]),
        helper.make_node("Add", ["d", "gn.bias"], ["y"]),
    ]
    weights = {
        "grouped": np.array([0, 2, -1]), "ones": np.ones(2, np.float32), "zeros": np.zeros(2, np.float32),
        "gn.weight": floats(6, 1, 1), "gn.bias": floats(6, 1, 1, seed=1),
    }  # fmt: skip
    model = model_of(nodes, {"x": ["batch", 6, 3, 3]}, ["y"], weights)
    module, (x,) = read(saved(model, tmp_path / "gn.onnx"))
    assert layers_of(module) == {"gn": nn.GroupNorm}
    as_the_reference_says(model, module, x)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_layers_are_torchs_own_and_agree_with_the_steps(kind: str, direction: str, tmp_path: Path) -> None:
    """The same weights as constants (a layer) and as inputs (step by step)."""
    gates, d = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 2 if direction == "bidirectional" else 1
    shapes = {"w": [d, gates * 4, 3], "r": [d, gates * 4, 4], "b": [d, 8 * gates]}
    weights = {n: floats(*shape, seed=i) for i, (n, shape) in enumerate(shapes.items())}
    extra: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    extra |= {"hidden_size": 4, "direction": direction, "layout": 1}
    node = helper.make_node(kind, ["x", "w", "r", "b"], ["y"], "/rnn/x", **extra)
    model = model_of([node], {"x": ["batch", 5, 3]}, ["y"], weights)
    layered, _ = read(saved(model, tmp_path / "layer.onnx"))
    assert [type(m).__name__ for n, m in layered.named_modules() if n] == [kind]
    stepped, _ = read(
        saved(model_of([node], {"x": ["batch", 5, 3], **shapes}, ["y"]), tmp_path / "steps.onnx"),
        (torch.zeros(2, 5, 3), *(torch.from_numpy(v) for v in weights.values())),
    )
    x = torch.from_numpy(floats(2, 5, 3, seed=9))
    with torch.no_grad():
        wanted = stepped(x, *(torch.from_numpy(v) for v in weights.values()))
        assert torch.allclose(layered(x), wanted, atol=1e-6)


def test_constants_are_folded_and_a_local_function_is_inlined(tmp_path: Path) -> None:
    twice = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    nodes = [
        helper.make_node("Twice", ["fc.weight"], ["w"], domain="local"),
        helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["a"]),
        helper.make_node("Twice", ["a"], ["y"], domain="local"),
    ]
    model = model_of(nodes, {"x": ["batch", 3]}, ["y"], {"fc.weight": floats(4, 3)}, domains=("local",))
    model.functions.append(twice)
    module, (x,) = read(saved(model, tmp_path / "function.onnx"))
    assert [step.op for step in module.program.body.steps] == ["MatMul", "Add"]
    as_the_reference_says(model, module, x)


def test_an_if_on_a_size_takes_a_branch_while_tracing(tmp_path: Path) -> None:
    yes = helper.make_graph([helper.make_node("Relu", ["x"], ["t"])], "yes", [], [info("t")])
    no = helper.make_graph([helper.make_node("Neg", ["x"], ["n"])], "no", [], [info("n")])
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]), helper.make_node("Gather", ["shape", "one"], ["size"]),
        helper.make_node("Equal", ["size", "three"], ["is"]),
        helper.make_node("If", ["is"], ["y"], then_branch=yes, else_branch=no),
    ]  # fmt: skip
    model = model_of(nodes, {"x": ["batch", 3]}, ["y"], {"one": np.array(1), "three": np.array(3)})
    net = whet.lift(saved(model, tmp_path / "if.onnx"))
    assert net(torch.tensor([[-1.0, 2.0, -3.0]])).tolist() == [[0.0, 2.0, 0.0]]


def test_rows_that_depend_on_each_other_keep_a_fixed_batch(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[0]), helper.make_node("Sub", ["x", "m"], ["y"])]
    path = saved(model_of(nodes, {"x": [4, 3]}, ["y"]), tmp_path / "mixed.onnx")
    with pytest.raises(whet.WhetError, match="batch is fixed to 4 in a way that cannot be undone"):
        read(path)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_weights_of_sixteen_bits_stay_what_they_are(kind: int, tmp_path: Path) -> None:
    weight = helper.make_tensor("fc.weight", kind, [4, 3], floats(4, 3).flatten().tolist())
    model = model_of([helper.make_node("MatMul", ["x", "fc.weight"], ["y"])], {"x": ["batch", 4]}, ["y"],
                     kinds={"x": kind, "y": kind})  # fmt: skip
    model.graph.initializer.append(weight)
    module, (x,) = read(saved(model, tmp_path / "half.onnx"))
    wanted = torch.float16 if kind == TensorProto.FLOAT16 else torch.bfloat16
    assert x.dtype == module.get_submodule("fc").weight.dtype == module(x).dtype == wanted
