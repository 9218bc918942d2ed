from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx_files import SMALL, floats, info, model_of, saved

import whet
from whet.core.errors import LiftError
from whet.onnx_reader import read


def one(op: str, *, name: str = "here", domain: str = "", inputs: tuple[str, ...] = ("x",), **attributes: Any) -> Any:
    return helper.make_node(op, list(inputs), ["y"], name, domain=domain, **attributes)


def written(tmp_path: Path, *nodes: Any, shape: list[Any] | None = None, **options: Any) -> Path:
    shape = ["batch", 3] if shape is None else shape
    return saved(model_of(list(nodes), {"x": shape}, ["y"], **options), tmp_path / "net.onnx")


def loop_on(condition: str) -> Any:
    body = helper.make_graph(
        [helper.make_node("Identity", ["s"], ["t"]), helper.make_node("Identity", ["g"], ["h"])],
        "body",
        [info("i", TensorProto.INT64, []), info("g", TensorProto.BOOL, []), info("s")],
        [info("h", TensorProto.BOOL, []), info("t")],
    )
    return one("Loop", inputs=("", condition, "x"), body=body)


def branch_on(condition: str) -> Any:
    yes = helper.make_graph([helper.make_node("Relu", ["x"], ["t"])], "yes", [], [info("t")])
    no = helper.make_graph([helper.make_node("Neg", ["x"], ["n"])], "no", [], [info("n")])
    return one("If", inputs=(condition,), then_branch=yes, else_branch=no)


def asked(tmp_path: Path) -> list[Any]:
    """Nodes that make a condition of the data."""
    return [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0), helper.make_node("Greater", ["m", "half"], ["is"]),
    ]  # fmt: skip


def test_control_flow_on_data_names_the_node_and_the_reason(tmp_path: Path) -> None:
    half = {"half": np.array(0.5, np.float32)}
    for node in (branch_on("is"), loop_on("is")):
        path = written(tmp_path, *asked(tmp_path), node, weights=half)
        with pytest.raises(LiftError) as caught:
            whet.lift(path)
        text = str(caught.value)
        assert "net.onnx" in text and f"node 'here' ({node.op_type})" in text
        assert "depends on the network's input" in text and "measure the file as it is" in text


def test_operators_that_are_not_read_are_counted_with_their_reason(tmp_path: Path) -> None:
    random = helper.make_node("RandomNormalLike", ["x"], ["r"], "noise")
    with pytest.raises(LiftError, match=r"node 'noise' needs an operator .* RandomNormalLike \(1x: it is random"):
        read(written(tmp_path, random, one("Add", inputs=("x", "r"))))
    with pytest.raises(LiftError, match=r"Rellu \(1x: did it mean 'Relu'\?\)"):
        read(written(tmp_path, one("Rellu")))


def test_other_domains_are_refused_and_no_library_is_loaded(tmp_path: Path) -> None:
    path = written(tmp_path, one("Trick", domain="evil"), domains=("evil",))
    with pytest.raises(LiftError, match=r"node 'here' needs operator 'Trick' of domain 'evil'.*no library"):
        read(path)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (one("Resize", inputs=("x", "", "twice"), mode="area"), "mode 'area' is not read; nearest, linear, cubic are"),
        (one("ScatterElements", inputs=("x", "index", "x"), reduction="avg"), "reduction 'avg' is not read; none, add"),
        (one("Pad", inputs=("x", "pads"), mode="odd"), "mode 'odd' is not read; constant, reflect, edge, wrap are"),
        (one("MaxPool", kernal_shape=[2]), "attribute 'kernal_shape'; did it mean 'kernel_shape'"),
        (one("Relu", inputs=("x", "x")), "2 inputs; 1 are allowed"),
        (one("Reshape", inputs=("x", "index")), r"node 'here' \(Reshape\) fails|is not read|fixed"),
    ],
)
def test_attributes_that_are_not_allowed_say_what_is(node: Any, message: str, tmp_path: Path) -> None:
    weights = {"twice": np.array([1, 2], np.float32), "index": np.array([[0, 1, 0]]), "pads": np.array([0, 1, 0, 1])}
    with pytest.raises(LiftError, match=message) as caught:
        read(written(tmp_path, node, weights=weights))
    assert "node 'here'" in str(caught.value)


def test_a_shape_that_depends_on_data_is_said(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["size"], to=TensorProto.INT64), one("Expand", inputs=("x", "size"))]
    with pytest.raises(LiftError, match=r"node 'here' \(Expand\): needs a value that depends on the network's input"):
        read(written(tmp_path, *nodes, shape=["batch"]))


def test_operator_sets_that_are_not_read_are_said(tmp_path: Path) -> None:
    with pytest.raises(LiftError, match="operator set 99; 7 to 28 are read"):
        read(written(tmp_path, one("Relu"), opset=99))
    with pytest.raises(LiftError, match=r"node 'here' \(Add\) changed after operator set 6; 7 to 28 are read"):
        read(written(tmp_path, one("Add", inputs=("x", "x")), opset=6))


def test_names_that_nothing_defines_are_said_with_the_nearest(tmp_path: Path) -> None:
    node = one("Add", inputs=("x", "fc.weigth"))
    with pytest.raises(LiftError, match=r"read 'fc.weigth', which nothing before defines; did it mean 'fc.weight'\?"):
        read(written(tmp_path, node, weights={"fc.weight": floats(3)}))


def test_examples_are_checked_against_the_file(tmp_path: Path) -> None:
    path = saved(SMALL["convolution"](), tmp_path / "conv.onnx")
    with pytest.raises(LiftError, match=r"has 1 inputs \(x\); the example has 2"):
        read(path, (torch.zeros(2, 2, 6, 6),) * 2)
    with pytest.raises(LiftError, match=r"of torch\.float32; the example is of torch\.int64"):
        read(path, torch.zeros(2, 2, 6, 6, dtype=torch.int64))
    with pytest.raises(LiftError, match=r"the shape \(batch, 2, 6, 6\); the example's is \(2, 2, 6, 7\)"):
        read(path, torch.zeros(2, 2, 6, 7))
    with pytest.raises(LiftError, match="must be a tensor; got list"):
        read(path, [[1.0]])  # type: ignore[list-item]


def test_free_dimensions_but_the_batch_need_an_example(tmp_path: Path) -> None:
    path = written(tmp_path, one("Relu"), shape=["batch", "length"])
    with pytest.raises(LiftError, match=r"dimension 1 \('length'\) of input 'x' is free; give --shape 'x=1xSIZE'"):
        read(path)
    assert whet.lift(path, torch.randn(2, 5))(torch.randn(3, 5)).shape == (3, 5)


def test_inputs_that_are_no_tensors_of_torch_are_said(tmp_path: Path) -> None:
    path = written(tmp_path, one("Cast", to=1), kinds={"x": TensorProto.INT4}, opset=21)
    with pytest.raises(LiftError, match="input 'x' is INT4; inputs must be tensors"):
        read(path)


def test_example_inputs_are_made_from_the_file(tmp_path: Path) -> None:
    _, (x,) = read(saved(SMALL["convolution"](), tmp_path / "a.onnx"))
    assert x.shape == (2, 2, 6, 6) and x.dtype == torch.float32
    _, (tokens,) = read(saved(SMALL["sequence"](), tmp_path / "b.onnx"))
    assert tokens.tolist() == [[1, 0, 1, 0], [1, 0, 1, 0]]
