"""Memory as an objective and a limit: files are served once in a process of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from quick import made

from whet.flow.optimize import optimize
from whet.flow.quantities import LimitError


def test_files_are_judged_by_what_serving_them_takes(tmp_path: Path) -> None:
    net, task = made(width=1500, rows=512)
    options = {"target": "onnxruntime-cpu", "max_drop": "2%", "training": False, "passes": ("weight-only",)}
    front = optimize(net, task, out=tmp_path, budget="14s", objectives="memory", max_memory="1GB", **options)  # type: ignore[arg-type]
    assert front.objectives == ("memory",) and front.members
    for member in front.members:
        manifest = json.loads((Path(member.delivered) / "manifest.json").read_text())
        assert manifest["figures"]["memory_bytes"]["value"] == member.memory_bytes > 2e7


def test_a_limit_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    net, task = made()
    with pytest.raises(LimitError, match="max_memory must be a size"):
        optimize(net, task, out=tmp_path, max_memory="much")
