"""A smaller network is handed in for two runtimes as it is, and as int8 by nncf with the preset for its kind."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from whet.bench.peers import serving
from whet.bench.peers.work import Work


@pytest.mark.parametrize("transformer", [False, True])
def test_three_files_are_handed_in(transformer: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    nncf = SimpleNamespace(
        Dataset=list, ModelType=SimpleNamespace(TRANSFORMER="transformer"),
        QuantizationPreset=SimpleNamespace(MIXED="mixed"), quantize=lambda *given, **options: asked.append(options),
    )  # fmt: skip
    openvino = SimpleNamespace(Core=lambda: SimpleNamespace(read_model=str), save_model=lambda *given, **options: None)
    monkeypatch.setitem(sys.modules, "nncf", nncf)
    monkeypatch.setitem(sys.modules, "openvino", openvino)
    monkeypatch.setattr(serving, "lift", lambda *given, **options: "net")
    monkeypatch.setattr(serving, "export_onnx", lambda net, path: path)
    monkeypatch.setattr(Work, "is_transformer", transformer)
    work = Work("digits", "digits_cnn", "", str(tmp_path), seconds=20.0, max_drop=0.01, threads=1)
    serving.serve(work, "half", nn.Identity())
    assert [(d.name, d.runtime, d.precision) for d in work.delivered()] == [
        ("half", "openvino", None), ("half, in ONNX Runtime", "onnxruntime", "f32"), ("half, int8", "openvino", None)
    ]  # fmt: skip
    assert asked == [{"preset": "mixed", "model_type": "transformer" if transformer else None}]
