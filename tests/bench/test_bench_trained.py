"""The table of trainings: rows train from the same network, what no runtime computes is marked, rows are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import whet
from whet import catalogue
from whet.bench import scored, trained
from whet.compress.quantize.few_bit_inputs import FewBitInputs
from whet.core.net import Net
from whet.graph.fake_quantize import IntegerWeight
from whet.hardware import targets
from whet.tasks.bundle import Bundle
from whet.testing.runs import classification
from whet.train.recipe import Recipe


def small_net() -> Net:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 7))
    return whet.lift(layers.eval(), (torch.randn(2, 64),))


def test_rows_are_trained_and_what_does_not_run_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = small_net()
    bundle = Bundle(classification(net), {}, net.example, Recipe(precision="f32"))
    monkeypatch.setattr(scored, "commit", lambda: "abc")
    keys = ("float, trained on", "w4a4, learned steps", "int2, binary")
    rows = [r for r in trained.TRAININGS if r.key in keys]
    given: tuple[Any, ...] = (net, bundle, "onnxruntime-cpu", tmp_path / "runs", tmp_path, lambda event: None, 64, 20)
    table = trained.run(*given, rows=rows)
    plain, few, two = table["rows"]
    assert [r["simulated"] for r in table["rows"]] == [False, True, False]
    assert plain["size_bytes"] > few["size_bytes"] > two["size_bytes"]
    assert all(r["samples"] == 64 and 0 <= r["after"] <= 1 and not r["skipped"] for r in table["rows"])
    text = trained.markdown(table)
    assert "| w4a4 | learned steps |" in text and text.count("| *simulated* |") == 1 and "| yes |" in text
    monkeypatch.setattr(trained, "fit", None)
    assert trained.run(*given, rows=rows)["rows"] == table["rows"]
    assert json.loads((tmp_path / f"trained-made up-{net.name}.json").read_text()) == table


def test_the_weights_of_a_simulated_network_are_what_its_bytes_are_of() -> None:
    net = small_net()
    work = whet.Run(classification(net), targets.get("cpu"), net)
    few = FewBitInputs().apply(net, trained.TRAININGS[1].decision, work).net
    stored = trained.without_simulated(few)
    bits = {n: m.grid.bits for n, m in stored.layers().items() if isinstance(m, IntegerWeight)}
    assert bits == {"0": 8, "2": 4, "4": 8}
    assert "2_input" in few.layers() and "2_input" not in stored.layers() and "0_input" in stored.layers()
    assert trained.without_simulated(net) is net


def test_every_row_names_what_there_is_and_no_two_are_alike() -> None:
    assert len({row.key for row in trained.TRAININGS}) == len(trained.TRAININGS)
    for row in trained.TRAININGS:
        item = catalogue.make(row.words, "pass")
        for words in row.techniques:
            catalogue.make(words, "training")
        assert row.format == "float" or row.decision
        if isinstance(item, FewBitInputs):
            assert row.format.startswith(item.name)
