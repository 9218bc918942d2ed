"""Tables of smaller networks: what rows there are, that all train alike, what is cut, kept rows, the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import whet
from whet import catalogue
from whet.bench import scored, smaller
from whet.bench.smaller import Way
from whet.compress.importances import IMPORTANCES
from whet.compress.prune.magnitude import PRUNERS
from whet.core.net import Net
from whet.tasks.bundle import Bundle
from whet.testing.runs import classification
from whet.train.recipe import Recipe

TARGET = "onnxruntime-cpu"


def given() -> tuple[Net, Bundle]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 7)).eval()
    net = whet.lift(module, (torch.randn(2, 64),))
    return net, Bundle(classification(net), {}, net.example, Recipe(precision="f32"))


def test_every_method_of_the_families_has_a_row_at_each_level() -> None:
    rows = {(w.kind, w.how, w.level) for w in smaller.pruning()}
    for kind, names, levels in (
        (
            smaller.CHANNELS,
            [*IMPORTANCES, "merging", "half-space", "trained-gates", "polarized-gates"],
            smaller.CHANNEL_LEVELS,
        ),
        (smaller.WEIGHTS, ["magnitude", *PRUNERS, "gradual-pruning", "global-sparse-momentum"], smaller.WEIGHT_LEVELS),
    ):
        assert len(levels) >= 2 and {(kind, n, z) for n in names for z in levels} <= rows
    ranks = [m.name for m in catalogue.METHODS if m.name.startswith("factorize.")]
    ways = {w.how: w for w in smaller.factorizing() if w.level}
    for how in smaller.RANK_TECHNIQUES:
        assert ways[how].item.startswith("svd(") and ways[how].technique == f"{how}()"
    assert {f"factorize.{how}" for how in ways if how not in smaller.RANK_TECHNIQUES} == set(ranks)
    for way in [*smaller.pruning(), *smaller.factorizing()]:
        for words, family in ((way.item, "pass"), (way.technique, "training")):
            assert not words or catalogue.make(words, family)


def test_rows_train_alike_from_their_files_and_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, bundle = given()
    wanted = ["original", "original, trained on", "channels, weight_norm, 0.5", "channels, half-space, 0.5",
              "weights, magnitude, 0.8", "weights, gradual-pruning, 0.8"]  # fmt: skip
    ways = [w for w in smaller.pruning() if w.key in wanted]
    monkeypatch.setitem(smaller.SUITES, "prune", lambda: ways)
    monkeypatch.setattr(scored, "commit", lambda: "abc")
    run: tuple[Any, ...] = (net, bundle, "prune", TARGET, tmp_path / "runs", tmp_path, print)
    table = smaller.run(*run, epochs=4, validation=20, seconds_each=0.01)
    original, on, width, space, zeros, gradual = table["rows"]
    assert table["samples"] == 4 * 32 and table["validation_samples"] == 20
    assert original["quality"] is None and original["training_seconds"] == 0 and original["speedup"] == 1.0
    assert on["quality"] is not None and on["size_bytes"] == original["size_bytes"]
    assert 0.3 < width["operations"] < 0.55 and width["size_bytes"] < 0.6 * on["size_bytes"] and width["speedup"] > 0
    assert space["quality_at_once"] is None and space["operations"] < 1 == zeros["operations"]
    assert zeros["size_bytes"] < 0.6 * on["size_bytes"] and gradual["size_bytes"] < 0.6 * on["size_bytes"]
    monkeypatch.setattr(smaller, "row", None)
    again = smaller.run(*run, epochs=4, validation=20, seconds_each=0.0)
    assert [r["quality"] for r in again["rows"]] == [r["quality"] for r in table["rows"]]
    assert again == json.loads((tmp_path / f"prune-made up-{net.name}.json").read_text())
    assert "speedup" not in again["rows"][0]


def test_without_epochs_nothing_trains_and_techniques_have_no_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(nn.Linear(64, 80), nn.ReLU(), nn.Linear(80, 7)).eval(), (torch.randn(2, 64),))
    bundle = Bundle(classification(net), {}, net.example)
    monkeypatch.setattr(smaller, "RANK_LEVELS", (0.5,))
    table = smaller.run(net, bundle, "factorize", TARGET, tmp_path / "runs", tmp_path, print, 0, 20, 0.0)
    original, low = table["rows"][:2]
    assert (original["how"], low["how"], low["layers"]) == ("original", "svd", 1)
    assert low["quality"] is None and low["quality_at_once"] is not None and low["operations"] < 1
    assert len(table["rows"]) == sum(not w.technique for w in smaller.factorizing()) - 1


def test_the_best_of_a_kind_and_level_is_marked() -> None:
    one = {"kind": "channels", "level": 0.5, "size_bytes": 1234, "operations": 0.5, "seconds": 1.0, "skipped": {},
           "training_seconds": 9.0, "layers": 3}  # fmt: skip
    rows = [
        one | {"how": "a", "quality_at_once": 0.5, "quality": 0.75},
        one | {"how": "b", "quality_at_once": None, "quality": 0.875},
        one | {"how": "c", "level": 0.75, "quality_at_once": 0.25, "quality": None},
    ]
    table = {
        "network": "cnn", "task": "digits", "metric": "accuracy", "setting": "openvino/f32/1", "rows": rows,
        "validation_samples": 2000, "device": {"cpu": "EPYC"}, "commit": "abc", "direction": "max", "suite": "prune",
        "samples": 1000, "epochs": 0.5,
    }  # fmt: skip
    text = smaller.markdown(table)
    assert "Speeds were not measured" in text
    timed = {"speedup": 1.5, "speedup_low": 1.4, "speedup_high": 1.6, "fastest_in": "openvino/f32/1"}
    assert "in one race" in smaller.markdown(table | {"rows": [*rows, rows[0] | timed]})
    assert "| channels | 50% | a | **0.5000** | 0.7500 | 1,234 | 50% |  | 1.0, 9 |" in text
    assert "| channels | 50% | b |  | **0.8750** |" in text and "| channels | 75% | c | **0.2500** |  |" in text
    assert "1,000 samples (0.5 epochs)" in text and "**0.7500**" in smaller.markdown(table | {"direction": "min"})
    assert Way("ranks", "svd", 0.5, "svd", 0.5).timed_as != Way("ranks", "tucker", 0.5, "tucker", 0.5).timed_as
