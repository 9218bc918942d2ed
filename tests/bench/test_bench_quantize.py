"""The table of roundings: files shrink and are scored in their runtime, rows are kept, figures are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import whet
from whet.bench import quantize, scored
from whet.compress.quantize.allocation import ENGINES
from whet.compress.quantize.rounders import NEAREST, ROUNDERS
from whet.core.net import Net
from whet.hardware import targets
from whet.testing.runs import classification

TARGET = "onnxruntime-cpu"


def small_net() -> Net:
    torch.manual_seed(0)
    return whet.lift(nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 7)).eval(), (torch.randn(2, 64),))


def test_every_way_of_rounding_is_tried_on_every_grid_of_few_bits_and_products_of_integers_beside() -> None:
    found = [(way.format, way.how) for way in quantize.ways(targets.get(TARGET), small_net())]
    assert found[:2] == [("float", ""), ("int8", NEAREST)] and [f for f, _ in found].count("int8") == 3
    assert [how for form, how in found if form == "int3"] == [NEAREST, *ROUNDERS, quantize.CORRECTED, quantize.EVENED]
    grouped = ["w4a8 in groups of 16", "w3a8 in groups of 16"]
    grouped += ["a8 of 15 points", "a8 of 7 points"]
    products = ["w8a8", "w4a8", "w3a8", *grouped, "w8a8 dynamic", "w8a8 by rows"]
    weights = ["int8", "int4 in groups of 32", "int4", "int3", "5 levels", "int2"]
    shared = [f"{form}, shared out" for form in ("int4", "int3", "5 levels")]
    sums = [f"{form}, a sum" for form in ("int4 x 2", "int3 x 2", "int2 x 3", "int2 x 2")]
    guarded = [f"{moved}, moved at most" for moved in (0.05, 0.1, 0.2)]
    assert list(dict.fromkeys(form for form, _ in found)) == ["float", *weights, *products, *shared, *sums, *guarded]
    assert [how for form, how in found if form == shared[0]] == [f"bits by {name}" for name in ENGINES]
    of_openvino = {way.format for way in quantize.ways(targets.get("cpu"), small_net())}
    assert "w8a8 dynamic" not in of_openvino and {"w4a8", "w8a8 by rows"} <= of_openvino


def test_distilled_data_are_used_where_norms_tell_of_them() -> None:
    module = nn.Sequential(nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 7)).eval()
    normed = [w.how for w in quantize.ways(targets.get(TARGET), whet.lift(module, (torch.randn(2, 64),)))]
    plain = [w.how for w in quantize.ways(targets.get(TARGET), small_net())]
    assert normed.count(quantize.MADE) == 5 and "symmetric, distilled data" in normed
    assert not any("distilled" in how for how in plain) and len(normed) == len(plain) + 6


def test_rows_are_scored_from_files_and_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, every = small_net(), quantize.ways
    plan = ["float, ", "int8, nearest", "int4, nearest", "int4, path-following", "w8a8, symmetric", "w4a8, symmetric"]
    plan += ["int3, shared out, bits by perturbation", "int4 x 2, a sum, all channels"]
    monkeypatch.setattr(quantize, "ways", lambda target, net: [w for w in every(target, net) if w.key in plan])
    monkeypatch.setattr(scored, "commit", lambda: "abc")
    given: tuple[Any, ...] = (net, classification(net), TARGET, tmp_path / "runs", tmp_path, print, 20)
    table = quantize.run(*given, seconds_each=0.01)
    plain, eight, four, followed, products, small, shared, sums = table["rows"]
    assert shared["size_bytes"] < sums["size_bytes"] < plain["size_bytes"] and four["size_bytes"] < sums["size_bytes"]
    assert plain["size_bytes"] > eight["size_bytes"] > four["size_bytes"] == followed["size_bytes"]
    assert products["size_bytes"] > small["size_bytes"] and products["layers"] == small["layers"] == 2
    assert [r["calibration_samples"] for r in table["rows"]] == [0, 0, 0, 64, 64, 64, 64, 0]
    assert table["validation_samples"] == 20
    assert all(r["quality"] * 20 == pytest.approx(round(r["quality"] * 20)) for r in table["rows"])
    assert followed["layers"] == 2 and not followed["to_nearest"] and not followed["skipped"]
    assert plain["speedup"] == 1.0 and four["speedup"] == followed["speedup"] > 0
    assert all(r["fastest_in"].startswith("onnxruntime/f32/") for r in table["rows"])
    monkeypatch.setattr(quantize, "row", None)
    again = quantize.run(*given, seconds_each=0.0)
    assert [r["quality"] for r in again["rows"]] == [r["quality"] for r in table["rows"]]
    assert again == json.loads((tmp_path / f"quantize-made up-{net.name}.json").read_text())
    assert "speedup" not in again["rows"][0]
    few = quantize.run(*given, seconds_each=0.0, only=("w4a8", "int8"))
    assert [r["format"] for r in few["rows"]] == ["float", "int8", "w4a8"]


def test_figures_stand_in_the_page_and_the_best_of_a_format_is_marked() -> None:
    one = {"format": "int4", "size_bytes": 1234, "seconds": 0.5, "calibration_samples": 0, "layers": 3, "to_nearest": 1}
    timed = {"speedup": 1.25, "speedup_low": 1.2, "speedup_high": 1.3, "fastest_in": "openvino/f32/2"}
    rows = [one | {"how": "nearest", "quality": 0.75}, one | timed | {"how": "compensated", "quality": 0.875}]
    table = {
        "network": "cnn", "task": "digits", "metric": "accuracy", "setting": "openvino/f32/1", "rows": rows,
        "validation_samples": 2000, "device": {"cpu": "EPYC"}, "commit": "abc", "direction": "max",
    }  # fmt: skip
    text = quantize.markdown(table)
    wanted = "| int4 | compensated | **0.8750** | 1,234 | x1.25 (1.20-1.30), openvino/f32/2 | 0.5 | none | 3, 1 |"
    assert wanted in text and "| 0.7500 |" in text
    assert "**0.7500**" in quantize.markdown(table | {"direction": "min"})
    assert "on 2,000 validation samples" in text and "EPYC" in text
