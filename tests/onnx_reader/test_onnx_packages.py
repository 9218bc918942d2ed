"""The ONNX files that packages ship: measured as they are, and lifted with the numbers of ONNX Runtime.

They are read from a cache folder, $WHET_ONNX_FILES or ~/.cache/whet/onnx-files; `make onnx-files` puts them there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_page as page
import onnxruntime as ort
import pytest
import torch

import whet
from whet.core.errors import LiftError
from whet.core.target import Artifact
from whet.hardware import targets
from whet.onnx_reader import read

FOLDER = Path(os.environ.get("WHET_ONNX_FILES") or Path.home() / ".cache/whet/onnx-files")
SAMPLES = 576


@dataclass(frozen=True)
class Shipped:
    """A file of a package, what a user gives to it, and why it cannot be lifted, if it cannot."""

    place: str
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    fixed: dict[str, float] = field(default_factory=dict)
    refused: str = ""
    slow: bool = False

    @property
    def name(self) -> str:
        return f"{self.place.split('/')[0]}: {Path(self.place).name}"


STATE = (2, 1, 128)
SILERO, OCR = "silero-vad/silero_vad/data", "rapidocr-onnxruntime/rapidocr_onnxruntime/models"
FILES = [
    Shipped(f"{SILERO}/silero_vad.onnx", {"input": (1, SAMPLES), "state": STATE}, {"sr": 16000}),
    Shipped(f"{SILERO}/silero_vad_half.onnx", {"input": (1, SAMPLES)}),
    Shipped(f"{SILERO}/silero_vad_16k_op15.onnx", {"input": (1, SAMPLES)}, {"sr": 16000}),
    Shipped(f"{SILERO}/silero_vad_op18_ifless.onnx", {"input": (1, SAMPLES)}, {"sr": 16000}),
    Shipped(f"{SILERO}/silero_vad_openvino_16k.onnx"),
    Shipped(f"{SILERO}/silero_vad_16k_sequence.onnx", {"input": (10, SAMPLES)}, refused="no input has a batch"),
    Shipped(f"{OCR}/ch_ppocr_mobile_v2.0_cls_infer.onnx", {"x": (1, 3, 48, 192)}),
    Shipped(f"{OCR}/ch_PP-OCRv4_rec_infer.onnx", {"x": (1, 3, 48, 64)}, slow=True),
    Shipped(f"{OCR}/ch_PP-OCRv4_det_infer.onnx", {"x": (1, 3, 64, 64)}, slow=True),
    Shipped("basic-pitch/basic_pitch/saved_models/icassp_2022/nmp.onnx", slow=True),
    Shipped("magika/magika/models/standard_v3_3/model.onnx"),
    Shipped(
        "swift-f0/swift_f0/model.onnx", {"audio": (1, 8000)}, {"fmin": 50, "fmax": 2000},
        refused="its batch is fixed to 1 in a way that cannot be undone",
    ),
]  # fmt: skip


def path_of(shipped: Shipped) -> Path:
    path = FOLDER / shipped.place
    if not path.exists():
        pytest.skip(f"'{path}' is not there: make onnx-files")
    return path


def test_the_docs_have_a_row_for_every_file() -> None:
    files = [row.split("|")[1].strip() for row in page.written("packages").splitlines()[2:]]
    assert files == [shipped.name for shipped in FILES]


@pytest.mark.parametrize("shipped", FILES, ids=lambda shipped: shipped.name)
def test_it_is_timed_as_it_is(shipped: Shipped) -> None:
    path, cpu = path_of(shipped), targets.get("cpu")
    bar = targets.measure_file(path, cpu, shipped.shapes, shipped.fixed, seconds=0.1, rounds=5)
    assert {name.split("/")[0] for name in bar.latencies} >= {"onnxruntime"}
    assert set(bar.latencies) | set(bar.unfit) == {targets.setting_name(each) for each in cpu.all_settings()}


@pytest.mark.parametrize("shipped", [f for f in FILES if not f.refused], ids=lambda shipped: shipped.name)
def test_its_net_and_the_net_s_file_compute_what_it_does(shipped: Shipped, tmp_path: Path) -> None:
    if shipped.slow and not os.environ.get("WHET_ONNX_FILES"):
        pytest.skip("half a minute: set WHET_ONNX_FILES to the cache folder")
    path = path_of(shipped)
    module, example = read(path, shapes=shipped.shapes, fixed=shipped.fixed)
    net = whet.lift(module, example)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = {port.name: port.outside(x[:1]).contiguous().numpy() for port, x in zip(net.inputs, net.example)}
    kinds = {each.name: each.type for each in session.get_inputs()}
    fixed = {n: np.array(v, np.int64 if "int64" in kinds[n] else np.float32) for n, v in shipped.fixed.items()}
    wanted = session.run(None, feeds | fixed)
    assert [port.name for port in net.outputs] == [each.name for each in session.get_outputs()]
    artifact = Artifact(
        targets.get("cpu").save(net, tmp_path), {"runtime": "onnxruntime", "precision": "f32", "threads": 1}
    )
    found = targets.get("cpu").open(artifact, 1)(*feeds.values())
    found = found if isinstance(found, tuple) else (found,)
    with torch.no_grad():
        inside = net.results(net(*net.example))
    for port, a, b, c in zip(net.outputs, found, inside, wanted, strict=True):
        scale = max(float(np.abs(c).max()), 1e-2)  # of probabilities near zero only rounding is left
        assert np.abs(a - c).max() <= 1e-4 * scale, port.name
        assert np.abs(port.outside(b[:1]).numpy() - c).max() <= 1e-4 * scale, port.name


@pytest.mark.parametrize("shipped", [f for f in FILES if f.refused], ids=lambda shipped: shipped.name)
def test_what_cannot_be_lifted_says_why(shipped: Shipped) -> None:
    path = path_of(shipped)
    with pytest.raises(LiftError, match=shipped.refused):
        whet.lift(*read(path, shapes=shipped.shapes, fixed=shipped.fixed))
