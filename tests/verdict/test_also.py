"""Another format beside a delivered file: it gives the same outputs, serve.py serves it, and the manifest knows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from files import SETTINGS, network, saved

from whet.core.errors import ArtifactError, UnknownNameError
from whet.core.target import Artifact
from whet.hardware.targets import get
from whet.verdict.also import formats_of, write_also
from whet.verdict.serve_check import serve_check
from whet.verdict.serve_files import write_sample, write_serving
from whet.verify.manifest import write_manifest

TARGET = get("cpu")


def delivered(folder: Path, runtime: str, off: float = 0.0) -> Artifact:
    """Write what a delivery writes; `off` is added to the outputs that the sample holds."""
    artifact = Artifact(saved(folder, network()), SETTINGS | {"runtime": runtime})
    x = torch.randn(2, 8).numpy()
    write_serving(folder, artifact, {"input": x}, 2)
    write_sample(folder, [({"input": x}, [TARGET.open(artifact, 2)(x) + off])])
    return artifact


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_it_lies_beside_and_is_served_where_its_runtime_serves(tmp_path: Path, runtime: str) -> None:
    artifact = delivered(tmp_path, runtime)
    size_bytes = artifact.size_bytes
    also = write_also(tmp_path, artifact, ("openvino-ir",), TARGET)
    assert artifact.size_bytes == size_bytes, "it does not count as part of the ONNX file"
    assert also["openvino-ir"]["file"] == "openvino.xml" and also["openvino-ir"]["relative_error"] < 1e-5
    own = also["openvino-ir"]["served"]
    assert own is (runtime == "openvino")
    named = json.loads((tmp_path / "settings.json").read_text())["file"]
    assert named == ("openvino.xml" if own else "model.onnx")
    manifest = write_manifest(tmp_path, figures={}, also=also)
    assert {"openvino.xml", "openvino.bin"} <= json.loads(manifest.read_text())["files"].keys()
    assert serve_check(tmp_path, TARGET).passed
    if own:
        text = (tmp_path / "openvino.xml").read_text()
        (tmp_path / "openvino.xml").write_text(text.replace('type="ReLU"', 'type="Sigmoid"'))
        write_manifest(tmp_path, figures={})
        assert not serve_check(tmp_path, TARGET).passed, "this is what serve.py opens"
    weights = [
        op.get_data().dtype for op in ov.Core().read_model(tmp_path / "openvino.xml").get_ops()
        if op.get_type_name() == "Constant" and op.get_data().size > 8
    ]  # fmt: skip
    assert weights and all(kind == np.float32 for kind in weights), "weights are as they were"


def test_other_outputs_and_formats_that_are_not_there_are_refused(tmp_path: Path) -> None:
    artifact = delivered(tmp_path, "openvino", off=0.5)
    with pytest.raises(ArtifactError, match=r"openvino-ir gives other outputs: 1\.1 apart, 0\.001 is allowed"):
        write_also(tmp_path, artifact, ("openvino-ir",), TARGET)
    assert not list(tmp_path.glob("openvino.*"))
    assert formats_of(["openvino-ir", " openvino-ir"]) == ("openvino-ir",)
    with pytest.raises(UnknownNameError, match="did you mean 'openvino-ir'"):
        formats_of("openvino_ir")
