"""The table of codes: files come back, zeros and grids make them smaller, prices trade error for bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import whet
from whet.bench import code, scored
from whet.bench.code import Way
from whet.testing.runs import classification


def test_rows_are_scored_from_what_they_unpack_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("constriction")
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(nn.Linear(64, 80), nn.ReLU(), nn.Linear(80, 7)).eval(), (torch.randn(2, 64),))
    some = [Way("float"), Way("int4"), Way("int4", 0.8), Way("int4", 0.0, 0.3)]
    monkeypatch.setattr(code, "ways", lambda: some)
    monkeypatch.setattr(scored, "commit", lambda: "abc")
    given = net, classification(net), "onnxruntime-cpu", tmp_path / "runs", tmp_path, print, 20
    table = code.run(*given)  # type: ignore[arg-type]
    whole, four, sparse, cheap = table["rows"]
    assert whole["bytes"] > four["bytes"] and four["packed"] > max(cheap["packed"], sparse["packed"])
    assert all(0 <= r["quality"] <= 1 and 0.9 * r["entropy"] < r["packed"] < r["bytes"] for r in table["rows"])
    text = code.markdown(table)
    assert f"| int4 | 80% |  | {sparse['quality']:.4f} | {sparse['bytes']:,} |" in text
    assert f"| {whole['bytes'] / cheap['packed']:.1f} | {cheap['mb_per_second']} |" in text
    monkeypatch.setattr(code, "row", None)
    assert code.run(*given)["rows"] == table["rows"]  # type: ignore[arg-type]


def test_grids_stand_dense_and_with_zeros_and_prices_beside() -> None:
    found = code.ways()
    assert {(w.grid, w.zeros) for w in found} == {(g, z) for g in code.GRIDS for z in code.ZEROS}
    assert len({w.key for w in found}) == len(found) and {w.price for w in found} == set(code.PRICES)
