"""The table of tickets: what begins where, which rows there are, the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import whet
from whet.bench import tickets
from whet.core.errors import UnknownNameError
from whet.core.net import Net
from whet.tasks.bundle import Bundle
from whet.testing.runs import classification
from whet.train.recipe import Recipe


def made() -> nn.Sequential:
    return nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 5))


@pytest.fixture
def bundle() -> Bundle:
    net: Net = whet.lift(made().eval(), (torch.randn(2, 16),))
    return Bundle(classification(net), {"small": made}, net.example, Recipe(precision="f32"))


def test_each_round_has_its_ticket_and_two_controls_as_large(bundle: Bundle, tmp_path: Path) -> None:
    drawing = tickets.Drawing(rounds=2, gone=0.5, epochs=1.0)
    table = tickets.run(bundle, "small", drawing, "onnxruntime-cpu", tmp_path / "runs", tmp_path, print, 20)
    rows = [(r["round"], r["how"]) for r in table["rows"]]
    assert rows == [(0, tickets.TICKET)] + [
        (n, how) for n in (1, 2) for how in (tickets.TICKET, tickets.OTHERWISE, tickets.ELSEWHERE)
    ]
    left = [r["left"] for r in table["rows"]]
    assert left == [1.0] + [pytest.approx((384 / 2 + 120 * 0.75) / 504)] * 3 + [left[4]] * 3 and left[4] < left[1]
    assert all(0 <= r["quality"] <= 1 and r["size_bytes"] > 0 for r in table["rows"])
    assert all(0 < r["dead"] < 1 for r in table["rows"])
    assert table["rounds"] == 2 and table["validation_samples"] == 20
    text = tickets.markdown(table)
    assert f"| 2 | {left[4]:.1%} | begun otherwise |" in text and "**" in text
    assert table == json.loads((tmp_path / "tickets-made up-small.json").read_text())


def test_it_begins_untrained_and_the_control_otherwise(bundle: Bundle) -> None:
    first, again, other = (tickets.untrained(bundle, "small", seed) for seed in (0, 0, 1))
    weights = [n.layer("0").get_parameter("weight") for n in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    with pytest.raises(UnknownNameError, match="smal"):
        tickets.untrained(bundle, "smal", 0)
