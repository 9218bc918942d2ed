"""Files of any kind that a runtime loads: several outputs, free sizes, other batch axes, scalars, whole numbers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from whet.core.errors import TargetError, UnknownNameError
from whet.core.target import Artifact
from whet.hardware import targets
from whet.hardware.cpu import SHAPES

sys.path.insert(0, str(Path(__file__).parents[1] / "onnx_reader"))
from onnx_files import floats, model_of, saved

BOTH = pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
INT = TensorProto.INT64


def opened(path: Path, runtime: str, batch: int = 1, shapes: Any = None) -> Any:
    settings = {"runtime": runtime, "precision": "f32", "threads": 1}
    return targets.get("cpu").open(Artifact(path, settings), batch, shapes)


def streaming() -> onnx.ModelProto:
    """A step of a network with a state in another layout, a scalar that scales, and whole numbers."""
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["seen"]),
        helper.make_node("Mul", ["seen", "gain"], ["louder"]),
        helper.make_node("ReduceSum", ["state", "first"], ["summed"], keepdims=0),
        helper.make_node("Add", ["louder", "summed"], ["probability"]),
        helper.make_node("Add", ["state", "louder"], ["next state"]),
    ]
    inputs = {"tokens": ["batch"], "state": [2, "batch", 3], "gain": []}
    weights = {"table": floats(5, 3), "first": np.array([0], np.int64)}
    outputs = {"probability": ["batch", 3], "next state": [2, "batch", 3]}
    return model_of(nodes, inputs, outputs, weights, kinds={"tokens": INT})


@BOTH
def test_all_outputs_come_in_the_file_s_order_and_layout(tmp_path: Path, runtime: str) -> None:
    path = saved(streaming(), tmp_path / "step.onnx")
    session = opened(path, runtime, batch=4)
    tokens, state, gain = np.array([4, 0, 2, 2]), floats(2, 4, 3), np.array(3.0, np.float32)
    found = session(tokens, state, gain)
    seen = 3.0 * floats(5, 3)[tokens]
    assert isinstance(found, tuple) and [x.shape for x in found] == [(4, 3), (2, 4, 3)]
    np.testing.assert_allclose(found[0], seen + state.sum(0), rtol=1e-5)
    np.testing.assert_allclose(found[1], state + seen, rtol=1e-5)
    again = session(tokens, state * 2, gain)
    assert not np.array_equal(again[1], found[1]), "a later call leaves the outputs of an earlier one alone"
    with pytest.raises(TargetError, match="takes 3 inputs; got 1"):
        session(tokens)


@BOTH
def test_free_sizes_are_those_given_else_those_on_record(tmp_path: Path, runtime: str) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["m"], ["z"])]
    model = model_of(nodes, {"x": ["batch", "length"], "m": [None, 1, None]}, ["y", "z"])
    path = saved(model, tmp_path / "free.onnx")
    with pytest.raises(TargetError) as caught:
        opened(path, runtime)
    told = "--shape 'x=1xSIZE' --shape 'm=1x1xSIZE'"
    assert "dimension 1 ('length') of input 'x', dimension 2 of input 'm' are free" in str(caught.value)
    assert told in str(caught.value)
    sizes = {"x": (2, 7), "m": (1, 1, 5)}
    assert [x.shape for x in opened(path, runtime, shapes=sizes)(floats(2, 7), floats(1, 1, 5))] == list(sizes.values())
    model.metadata_props.add(key=SHAPES, value=json.dumps({"x": ["batch", 6], "m": ["batch", 1, 9]}))
    path = saved(model, tmp_path / "noted.onnx")
    assert [x.shape for x in opened(path, runtime, 3)(floats(3, 6), floats(3, 1, 9))] == [(3, 6), (3, 1, 9)]
    assert opened(path, runtime, shapes={"x": (1, 8)})(floats(1, 8), floats(1, 1, 9))[0].shape == (1, 8)


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    path = saved(model_of(nodes, {"a": ["n", 3, "time"], "b": ["n", 3, "time"]}, ["y"]), tmp_path / "two.onnx")
    for shapes, why in (
        ({"a": (1, 4, 2)}, "input 'a' is nx3xtime; got 1x4x2"),
        ({"a": (1, 3)}, "input 'a' is nx3xtime; got 1x3"),
        ({"a": (1, 3, 2), "b": (1, 3, 5)}, "input 'b' is nx3xtime; got 1x3x5"),
    ):
        with pytest.raises(TargetError, match=why):
            opened(path, "onnxruntime", shapes=shapes)
    with pytest.raises(UnknownNameError, match=r"unknown input of '.*' 'c'.*Allowed: a, b"):
        opened(path, "onnxruntime", shapes={"c": (1,)})
    # The name of a size tells it for every input that has it.
    assert opened(path, "openvino", shapes={"a": (1, 3, 2)})(floats(1, 3, 2), floats(1, 3, 2)).shape == (1, 3, 2)


@BOTH
def test_outputs_whose_size_depends_on_the_data(tmp_path: Path, runtime: str) -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["places"]), helper.make_node("Abs", ["x"], ["y"])]
    model = model_of(nodes, {"x": ["batch", 4]}, {"places": [2, "count"], "y": ["batch", 4]}, kinds={"places": INT})
    session = opened(saved(model, tmp_path / "nonzero.onnx"), runtime)
    for wanted in (2, 0, 4, 2):
        x = np.array([[1.0] * wanted + [0.0] * (4 - wanted)], np.float32)
        places, y = session(x)
        assert places.shape == (2, wanted)
        np.testing.assert_array_equal(y, x)


def test_an_input_that_nothing_reads_and_one_that_is_a_weight(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Mul", ["x", "w"], ["y"])], {"x": [None, 3], "spare": [], "w": [3]}, ["y"])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(3, 2, np.float32), "w"))
    path = saved(model, tmp_path / "spare.onnx")
    for runtime in ("openvino", "onnxruntime"):
        np.testing.assert_allclose(opened(path, runtime)(floats(1, 3), np.float32(1)), floats(1, 3) * 2, rtol=1e-6)


def test_what_one_runtime_cannot_read_is_timed_in_the_others(tmp_path: Path) -> None:
    empty = helper.make_empty_tensor_value_info
    yes = helper.make_graph([helper.make_node("Relu", ["x"], ["t"])], "yes", [], [empty("t")])
    no = helper.make_graph([helper.make_node("Neg", ["x"], ["n"])], "no", [], [empty("n")])
    nodes = [
        helper.make_node("Equal", ["rate", "known"], ["is"]),
        helper.make_node("If", ["is"], ["chosen"], then_branch=yes, else_branch=no),
        helper.make_node("Inverse", ["chosen"], ["y"], domain="com.microsoft"),
    ]
    weights = {"known": np.array(16000, np.int64)}
    kinds, domains = {"rate": INT}, ("com.microsoft",)
    model = model_of(nodes, {"x": ["batch", 3, 3], "rate": []}, ["y"], weights, kinds=kinds, domains=domains)
    bar = targets.measure_file(
        saved(model, tmp_path / "if.onnx"), targets.get("cpu"), None, {"rate": 16000}, seconds=0.1, rounds=5
    )
    assert {name.split("/")[0] for name in bar.latencies} == {"onnxruntime"}
    assert {name.split("/")[0] for name in bar.unfit} == {"openvino"}
    assert all("Inverse" in reason for reason in bar.unfit.values()), bar.unfit


def test_maps_strings_and_constants_are_given_and_taken(tmp_path: Path) -> None:
    nodes = [helper.make_node("Equal", ["word", "known"], ["same"]), helper.make_node("Not", ["same"], ["y"])]
    kinds = {"word": TensorProto.STRING, "y": TensorProto.BOOL}
    model = model_of(nodes, {"word": [None]}, ["y"], opset=19, kinds=kinds)
    model.graph.initializer.append(helper.make_tensor("known", TensorProto.STRING, [1], [b""]))
    bar = targets.measure_file(
        saved(model, tmp_path / "words.onnx"), targets.get("onnxruntime-cpu"), seconds=0.1, rounds=5
    )
    assert bar.best.startswith("onnxruntime")


def test_openvino_s_own_format_is_timed_in_openvino(tmp_path: Path) -> None:
    from whet.hardware.openvino import ov  # without its telemetry

    path = tmp_path / "step.xml"
    ov.save_model(ov.Core().read_model(str(saved(streaming(), tmp_path / "step.onnx"))), str(path))
    with pytest.raises(TargetError, match="dimension 1 of input 'state' is free; give --shape 'state=2xSIZEx3'"):
        targets.measure_file(path, targets.get("cpu"), seconds=0.1, rounds=5)
    bar = targets.measure_file(path, targets.get("cpu"), {"state": (2, 1, 3)}, seconds=0.1, rounds=5)
    assert {name.split("/")[0] for name in bar.latencies} == {"openvino"} and not bar.unfit


def test_fixed_values_have_names(tmp_path: Path) -> None:
    path = saved(streaming(), tmp_path / "step.onnx")
    with pytest.raises(UnknownNameError, match=r"unknown input of .* 'gian'; did you mean 'gain'"):
        targets.measure_file(path, targets.get("cpu"), None, {"gian": 1})
