"""The table of roundings: files shrink and are scored in their runtime, rows are kept, figures are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import whet
from whet.bench import quantize
from whet.compress.quantize.rounders import NEAREST, ROUNDERS
from whet.core.net import Net
from whet.hardware import targets
from whet.testing.runs import classification

TARGET = "onnxruntime-cpu"


def small_net() -> Net:
    torch.manual_seed(0)
    return whet.lift(nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 7)).eval(), (torch.randn(2, 64),))


def test_every_way_of_rounding_is_tried_on_every_grid_of_few_bits() -> None:
    found = quantize.works(targets.get(TARGET), small_net())
    assert found[:2] == [("float", NEAREST), ("int8", NEAREST)] and [g for g, _ in found].count("int8") == 2
    assert [r for g, r in found if g == "int3"] == [NEAREST, *ROUNDERS, quantize.CORRECTED]
    assert {g for g, _ in found} == {"float", "int8", "int4", "int4 in groups of 32", "int3", "5 levels", "int2"}


def test_rows_are_scored_from_files_and_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = small_net()
    plan = [("float", NEAREST), ("int8", NEAREST), ("int4", NEAREST), ("int4", "path-following")]
    monkeypatch.setattr(quantize, "works", lambda target, net: plan)
    monkeypatch.setattr(quantize, "commit", lambda: "abc")
    given: tuple[Any, ...] = (net, classification(net), TARGET, tmp_path / "runs", tmp_path, print, 20)
    table = quantize.run(*given)
    plain, eight, four, followed = table["rows"]
    assert plain["size_bytes"] > eight["size_bytes"] > four["size_bytes"] == followed["size_bytes"]
    assert [r["calibration_samples"] for r in table["rows"]] == [0, 0, 0, 64] and table["validation_samples"] == 20
    assert all(r["quality"] * 20 == pytest.approx(round(r["quality"] * 20)) for r in table["rows"])
    assert followed["layers"] == 2 and not followed["to_nearest"] and not followed["skipped"]
    monkeypatch.setattr(quantize, "row", None)
    written = json.loads((tmp_path / f"quantize-made up-{net.name}.json").read_text())
    assert quantize.run(*given) == table == written


def test_figures_stand_in_the_page_and_the_best_of_a_grid_is_marked() -> None:
    one = {"grid": "int4", "size_bytes": 1234, "seconds": 0.5, "calibration_samples": 0, "layers": 3, "to_nearest": 1}
    rows = [one | {"rounding": "nearest", "quality": 0.75}, one | {"rounding": "compensated", "quality": 0.875}]
    table = {
        "network": "cnn", "task": "digits", "metric": "accuracy", "setting": "openvino/f32/1", "rows": rows,
        "validation_samples": 2000, "device": {"cpu": "EPYC"}, "commit": "abc", "direction": "max",
    }  # fmt: skip
    text = quantize.markdown(table)
    assert "| int4 | compensated | **0.8750** | 1,234 | 0.5 | none | 3, 1 |" in text and "| 0.7500 |" in text
    assert "**0.7500**" in quantize.markdown(table | {"direction": "min"})
    assert "on 2,000 validation samples" in text and "No latency" in text and "EPYC" in text
