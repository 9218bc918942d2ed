"""What lies beside a file serves it: as measured, with its runtime and NumPy alone."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from files import SETTINGS, network, saved

from whet.core.errors import ArtifactError
from whet.core.target import Artifact
from whet.verdict.serve_files import read_sample, write_sample, write_serving
from whet.verdict.serve_loop import serve_function


@pytest.fixture(params=["openvino", "onnxruntime"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    settings = SETTINGS | {"runtime": request.param}
    artifact = Artifact(saved(tmp_path, network()), settings)
    write_serving(tmp_path, artifact, {"input": np.zeros((5, 8), np.float32)}, 5)
    return tmp_path


def test_it_gives_what_the_network_gives_in_the_shapes_that_were_measured(folder: Path) -> None:
    serve, x = serve_function(folder), torch.randn(5, 8)
    (found,) = serve(x.double().numpy())
    with torch.no_grad():
        np.testing.assert_allclose(found, network()(x).numpy(), rtol=1e-4, atol=1e-5)
    first = found.copy()
    serve(np.ones((5, 8), np.float32))
    np.testing.assert_array_equal(found, first, "a later call leaves an answer alone")
    with pytest.raises(ValueError, match="zip"):
        serve(x, x)


def test_its_settings_are_those_of_the_file_and_it_imports_nothing_else(folder: Path) -> None:
    settings = json.loads((folder / "settings.json").read_text())
    assert {k: settings[k] for k in ("precision", "threads", "batch", "file")} == {
        "precision": "f32", "threads": 1, "batch": 5, "file": "model.onnx",
    }  # fmt: skip
    assert settings["inputs"] == [{"name": "input", "shape": [5, 8], "dtype": "float32"}]
    tree = ast.parse((folder / "serve.py").read_text())
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {str(n.module) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert names - set(sys.stdlib_module_names) == {"numpy", settings["runtime"]}
    if settings["runtime"] == "openvino":
        assert settings["options"]["INFERENCE_PRECISION_HINT"] == "f32"
        assert settings["options"]["INFERENCE_NUM_THREADS"] == 1
    else:
        assert list(settings["options"]["free_dimensions"].values()) == [5]


def test_another_runtime_has_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no serve\.py for runtime 'inductor'"):
        write_serving(tmp_path, Artifact(tmp_path / "model.pt2", SETTINGS | {"runtime": "inductor"}), {}, 1)


def test_a_sample_comes_back_in_order(tmp_path: Path) -> None:
    arrays = [np.full((2, 3), float(i), np.float32) for i in range(12)]
    calls: Any = [({"b.x": a, "a": a + 1}, [a + 2, a + 3]) for a in arrays]
    write_sample(tmp_path, calls)
    for (inputs, outputs), (wanted, results) in zip(read_sample(tmp_path), calls, strict=True):
        assert list(inputs) == ["b.x", "a"]
        np.testing.assert_equal([*inputs.values(), *outputs], [*wanted.values(), *results])


def test_a_sample_that_is_not_there_or_not_whole_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no outputs to compare with"):
        read_sample(tmp_path)
    (tmp_path / "sample.npz").write_bytes(b"PK no archive")
    with pytest.raises(ArtifactError, match="is damaged"):
        read_sample(tmp_path)
    np.savez(tmp_path / "sample.npz")
    with pytest.raises(ArtifactError, match="holds no call"):
        read_sample(tmp_path)
