"""For size, a network is delivered in a form that loses too much until it is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from quick import made
from test_layerwise import trials

from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.flow.optimize import optimize
from whet.schedule import settling


@pytest.fixture(autouse=True)
def none_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "MOST", 0)


@pytest.mark.alone
def test_few_bits_are_trained_and_delivered(tmp_path: Path) -> None:
    net, task = made(width=160, rows=512)
    front = optimize(
        net, task, out=tmp_path / "r", target="onnxruntime-cpu", max_drop="2%", budget="60s", objectives="size",
        passes=(WeightOnly(),),
    )  # fmt: skip
    pressed = [t for t in trials(tmp_path / "r") if t.stage == "full" and t.samples]
    best = front.smallest()
    assert best is not None and pressed and best.size_bytes <= min(t.size_bytes for t in pressed if t.drop <= 0.02)
    assert best.decision[NETWORK] in ("int3", "5 levels", "int2")
    assert min(t.size_bytes for t in trials(tmp_path / "r") if t.stage == "full" and not t.samples) > best.size_bytes
