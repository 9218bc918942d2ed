"""The comparison of techniques, end to end with two of its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import whet
from whet.bench import techniques
from whet.bench.results import made_by

TWO = tuple(row for row in techniques.ROWS if row.title in ("int8 alone", "original, trained on"))


@pytest.mark.alone
def test_two_rows_share_work_bar_and_race(
    digits: tuple[whet.Net, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, bundle = digits
    monkeypatch.setattr(techniques, "ROWS", TWO)
    monkeypatch.setattr(techniques, "SECONDS_EACH", 0.5)
    rows: list[str] = []
    table = techniques.run(
        net, bundle, "12s", "5%", "cpu", tmp_path / "runs", tmp_path / "results", lambda e: rows.append(e["row"])
    )
    assert list(dict.fromkeys(rows)) == [row.title for row in TWO]
    int8, original = table["rows"]
    assert original["decision"] == {}
    # Where int8 is no faster than float, as on processors without VNNI, the row delivers the original.
    if int8["decision"]:
        assert int8["decision"] == {"network:int8": "all"} and int8["size_bytes"] < 0.5 * original["size_bytes"]
    else:
        assert int8["size_bytes"] == original["size_bytes"] and int8["speedup"] < 1.25
    assert 0.8 < original["speedup"] < 1.25
    stem = tmp_path / "results" / "techniques-digits-digits_cnn"
    assert json.loads(stem.with_suffix(".json").read_text())["rows"] == table["rows"]
    text = stem.with_suffix(".md").read_text()
    assert text == techniques.markdown(table)
    missing = {"row": "narrower alone", "met": False, "speedup": None}
    assert "| narrower alone | nothing finished" in techniques.markdown({**table, "rows": [missing]})
    for row in table["rows"]:
        gain = max(row["speedup"] - 1.0, 0.0) if row["met"] else 0.0  # a row that met nothing covers nothing
        fastest = gain * (techniques.AREA_LIMITS * 0.05 - max(row["drop"], 0.0))
        assert row["hypervolume"] >= fastest - 1e-9 and (row["met"] or row["hypervolume"] == 0)
        assert f"| {row['row']} | x{row['speedup']:.2f} " in text


def test_the_elastic_suite_differs_in_how_candidates_train(
    digits: tuple[whet.Net, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, bundle = digits
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(techniques, "optimize", lambda *given, **options: asked.append(options))
    row = {"row": "all at once", "met": False, "speedup": None, "hypervolume": 0.0}
    about = {"task": "digits", "network": "cnn", "metric": "accuracy", "bar": "openvino/bf16/1", "reference_val": 0.9,
             "reference_test": 0.9, "max_drop": "1%", "device": {}, "protocol": "", "rows": [row]}  # fmt: skip
    monkeypatch.setattr(techniques, "compare", lambda *given: dict(about))
    techniques.run(net, bundle, "9s", "1%", "cpu", tmp_path, tmp_path, lambda event: None, "elastic")
    assert [(a["elastic"], a["passes"], a["out"].name) for a in asked] == [
        (False, techniques.ALL, "each-candidate-alone"), (True, techniques.ALL, "all-at-once")
    ]  # fmt: skip
    assert (tmp_path / "elastic-digits-digits_cnn.md").exists()


RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
COMMITTED = [path for suite in ("techniques", "elastic") for path in sorted(RESULTS.glob(f"{suite}-*.json"))]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_the_page_of_a_committed_result_is_made_of_its_figures(path: Path) -> None:
    """Also of those that were made before there were hypervolumes, and before tables named their commit."""
    table = json.loads(path.read_text(encoding="utf-8"))
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    assert text == techniques.markdown(table)
    assert text.rstrip().endswith(made_by(table))
    header, rule = (text.splitlines()[i].count("|") for i in (4, 5))
    assert header == rule == text.splitlines()[6].count("|")
