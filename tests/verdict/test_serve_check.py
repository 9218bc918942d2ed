"""A delivered folder gives in a fresh process what its manifest holds; a changed one is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from files import SETTINGS, network, saved, task

from whet.core.errors import ArtifactError
from whet.core.target import Artifact
from whet.hardware.targets import get
from whet.verdict.serve_check import Served, relative_error, serve_check
from whet.verdict.serve_files import write_sample, write_serving
from whet.verify.manifest import number, write_manifest

TARGET = get("cpu")


def delivered(folder: Path, runtime: str = "onnxruntime", off: float = 0.0, accuracy: float = 0.8) -> Path:
    """Write a folder as deliveries do; `off` is added to the outputs that it holds."""
    artifact = Artifact(saved(folder, network()), SETTINGS | {"runtime": runtime})
    x = torch.randn(2, 8).numpy()
    write_serving(folder, artifact, {"input": x[:1]}, 1)
    session = TARGET.open(artifact, 1)
    write_sample(folder, [({"input": x[i : i + 1]}, [session(x[i : i + 1]) + off]) for i in range(2)])
    write_manifest(folder, figures={"accuracy_val": number(accuracy, "accuracy", "", "")})
    return folder


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_outputs_and_quality_are_those_of_the_manifest(tmp_path: Path, runtime: str) -> None:
    verdict = serve_check(delivered(tmp_path, runtime), TARGET, task(network(), 0.8))
    assert verdict.passed and [row.name for row in verdict.rows] == [
        "imports", "relative error", "accuracy_val, relative difference",
    ]  # fmt: skip
    imports, error, quality = verdict.rows
    assert imports.measured == 0, "neither torch nor whet is in the process"
    assert error.measured < 1e-6 and "2 calls of serve.py" in error.how
    assert "0.8000 by serve.py on 100 samples, 0.8000 in the manifest" in quality.how


@pytest.mark.parametrize(
    ("made", "broken"), [({"off": 0.1}, "relative error"), ({"accuracy": 0.9}, "accuracy_val, relative difference")]
)
def test_other_outputs_and_another_quality_break_it(tmp_path: Path, made: dict[str, Any], broken: str) -> None:
    verdict = serve_check(delivered(tmp_path, **made), TARGET, task(network(), 0.8))
    assert [row.name for row in verdict.broken] == [broken]
    if broken == "relative error":
        assert serve_check(tmp_path, TARGET, tolerance=10.0).passed


def test_a_file_that_was_changed_or_does_not_run_is_an_error(tmp_path: Path) -> None:
    folder = delivered(tmp_path)
    with pytest.raises(ArtifactError, match="holds no accuracy_test"):
        serve_check(folder, TARGET, task(network(), 0.8, test=task(network()).val), ("test",))
    text = (folder / "serve.py").read_text()
    (folder / "serve.py").write_text(text.replace("session.run", "session.walk"))
    with pytest.raises(ArtifactError, match=r"serve\.py"):
        serve_check(folder, TARGET)
    manifest = json.loads((folder / "manifest.json").read_text())
    write_manifest(folder, **{key: value for key, value in manifest.items() if key != "files"})
    with pytest.raises(ArtifactError, match=r"ended with: AttributeError: .*walk"):
        serve_check(folder, TARGET)


def test_what_a_runtime_prints_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "serve.py").write_text(
        "import numpy as np\nprint('hello')\nserve = lambda x: print('hi') or [x, x + 1]\n"
    )
    with Served(tmp_path) as served:
        found = served(np.ones(2))
        assert served.foreign == "" and len(found) == 2 and found[1].tolist() == [2, 2]


def test_errors_are_relative_and_what_does_not_compare_is_infinite() -> None:
    assert relative_error(np.array([3.0, 4.0]), np.array([3.0, 5.0])) == pytest.approx(1 / 34**0.5)
    assert relative_error(np.array([np.nan]), np.array([1.0])) == np.inf
    assert relative_error(np.array([np.nan]), np.array([np.nan])) == 0
