"""The comparison of techniques, end to end with two of its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import whet
from whet.flow import techniques

TWO = tuple(row for row in techniques.ROWS if row.title in ("int8 alone", "original, trained on"))


@pytest.mark.alone
def test_two_rows_share_work_bar_and_race(
    digits: tuple[whet.Net, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, bundle = digits
    monkeypatch.setattr(techniques, "ROWS", TWO)
    rows: list[str] = []
    table = techniques.run(
        net, bundle, "45s", "5%", "cpu", tmp_path / "runs", tmp_path / "results", lambda e: rows.append(e["row"])
    )
    assert list(dict.fromkeys(rows)) == [row.title for row in TWO]
    int8, original = table["rows"]
    assert int8["decision"] == {"network:int8": "all"} and original["decision"] == {}
    assert int8["size_bytes"] < 0.5 * original["size_bytes"]
    assert original["samples"] > 0 and original["met"] and 0.8 < original["speedup"] < 1.25
    stem = tmp_path / "results" / "techniques-digits-digits_cnn"
    assert json.loads(stem.with_suffix(".json").read_text())["rows"] == table["rows"]
    text = stem.with_suffix(".md").read_text()
    assert text == techniques.markdown(table)
    missing = {"row": "narrower alone", "met": False, "speedup": None}
    assert "| narrower alone | nothing finished" in techniques.markdown({**table, "rows": [missing]})
    for row in table["rows"]:
        assert f"| {row['row']} | x{row['speedup']:.2f} " in text
