"""A packed file is served as the file that was packed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from packable import written

import whet
from whet.core.errors import ArtifactError
from whet.core.target import Artifact
from whet.graph.grids import Grid
from whet.hardware import targets
from whet.pack.files import pack
from whet.pack.serving import is_settled, temporary
from whet.verdict.located import located
from whet.verdict.session import FileSession


def test_its_session_gives_what_the_file_gives(tmp_path: Path) -> None:
    written(Grid(3, top=2), tmp_path)
    place, found = pack(tmp_path / "model.onnx")
    settings = {"runtime": "onnxruntime", "precision": "f32", "threads": 1}
    inputs = np.random.default_rng(0).normal(size=(2, 8, 8, 8)).astype(np.float32)
    wanted = FileSession(Artifact(tmp_path / "model.onnx", settings), targets.get("cpu"))(inputs)
    model = whet.load(str(place))
    assert model.size_bytes == len(found.data)
    assert np.allclose(model.session()(inputs), wanted, atol=1e-6)
    (tmp_path / "settings.json").write_text(json.dumps({**settings, "runtime": "openvino", "batch": 2}))
    opened = model.session()
    assert is_settled(place) and opened.artifact.settings["runtime"] == "openvino"
    assert np.allclose(opened(inputs), wanted, atol=1e-4)


def test_what_is_measured_is_the_file_and_what_is_weighed_the_packed_one(tmp_path: Path) -> None:
    data = written(Grid(8), tmp_path)
    place, found = pack(tmp_path / "model.onnx", tmp_path / "other.whet")
    file = located(place, targets.get("cpu"))
    assert file.path.read_bytes() == data and file.size_bytes == len(found.data) < len(data)
    assert len(file.settings) > 1 and located(tmp_path / "model.onnx", targets.get("cpu")).size_bytes == len(data)


def test_what_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        whet.load(tmp_path / "model.whet")
    (tmp_path / "model.whet").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="no packed file"):
        temporary(tmp_path / "model.whet")
