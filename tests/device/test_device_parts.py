"""Which files a model is, however deep the tensors lie that are kept in others."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from served import model

from whet.core.errors import ArtifactError
from whet.device.parts import MODEL, NAME, beside, hash_of, parts_of


def test_a_model_is_its_file_and_those_that_hold_its_weights(tmp_path: Path) -> None:
    alone, both = model(tmp_path / "a.onnx"), model(tmp_path / "b.onnx", beside="my weights.bin")
    assert parts_of(alone) == {MODEL: alone}
    assert parts_of(both) == {MODEL: both, "my weights.bin": tmp_path / "my weights.bin"}
    assert hash_of(alone) == hashlib.sha256(alone.read_bytes()).hexdigest()
    (tmp_path / "my weights.bin").unlink()
    with pytest.raises(ArtifactError, match=r"my weights\.bin' does not exist"):
        parts_of(both)


def outside(location: str) -> Any:
    """Return a tensor whose numbers lie in a file."""
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def saved(path: Path, nodes: list[Any], stored: list[Any], functions: list[Any] | None = None) -> Path:
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    graph = helper.make_graph(nodes, "graph", [], [gives], stored)
    onnx.save_model(helper.make_model(graph, functions=functions or []), str(path))
    return path


def constant(location: str) -> Any:
    return helper.make_node("Constant", [], ["y"], value=outside(location))


def branch(location: str) -> Any:
    body = helper.make_graph([constant(location)], "body", [], [helper.make_tensor_value_info("y", 1, [2])])
    return helper.make_node("If", ["condition"], ["y"], then_branch=body, else_branch=body)


def test_tensors_in_attributes_branches_and_functions_are_found(tmp_path: Path) -> None:
    inside = helper.make_function("own", "Own", [], ["y"], [constant("d.bin")], [helper.make_opsetid("", 17)])
    nodes = [constant("b.bin"), branch("c.bin")]
    path = saved(tmp_path / "m.onnx", nodes, [outside("a.bin")], [inside])
    assert beside(path) == ["a.bin", "b.bin", "c.bin", "d.bin"]


@pytest.mark.parametrize(
    "location", ["../x", "/etc/passwd", "a/b.bin", ".hidden", "", MODEL, "a\\b", "a\nb", "x" * 201]
)
@pytest.mark.parametrize("place", ["stored", "constant", "branch"])
def test_weights_in_other_folders_are_refused(location: str, place: str, tmp_path: Path) -> None:
    nodes = {"stored": [], "constant": [constant(location)], "branch": [branch(location)]}[place]
    path = saved(tmp_path / "m.onnx", nodes, [outside(location)] if place == "stored" else [])
    with pytest.raises(ArtifactError, match="must lie beside it"):
        beside(path)


def test_names_are_of_files_and_what_is_no_model_is_refused(tmp_path: Path) -> None:
    assert all(NAME.fullmatch(name) for name in ("model.data", "weights 1.bin", "ä.bin", "-x"))
    (tmp_path / "m.onnx").write_bytes(b"no model at all")
    (tmp_path / "m.xml").write_text("<net/>")
    with pytest.raises(ArtifactError, match="no ONNX model"):
        parts_of(tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="takes ONNX files alone"):
        parts_of(tmp_path / "m.xml")
