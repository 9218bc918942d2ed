"""Old and new side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from test_report import data, member

from whet.report.gained import ORIGINAL, best, gained
from whet.report.report import ReportData

OLD = {"size_bytes": 1_234_560, "parameters": 300, "memory_bytes": None}


def given(**more: Any) -> ReportData:
    file = member(2, 1.6, 0.008) | {"parameters": 100, "test_drop": 0.015, "drop_low": 0.004, "drop_high": 0.012}
    return replace(data(), **({"front": [file], "original": OLD, "drop_unit": (100.0, "%"), "limit": "1%"} | more))


def test_each_figure_has_both_and_what_became_of_it() -> None:
    rows = {row.name: row for row in gained(given())}
    assert [*rows] == ["one call", "file", "parameters", "accuracy, validation", "accuracy, test"]
    call, file = rows["one call"], rows["file"]
    assert (call.old, call.new, call.change, call.sure) == ("0.1 ms", "0.0625 ms", "x1.60", "quartiles 1.50 to 1.70")
    assert (file.old, file.new, file.change) == ("1.23 MB", "123 kB", "x10.00 smaller") and file.gains and call.gains
    assert (rows["parameters"].old, rows["parameters"].change) == ("300", "x3.00 fewer")
    val, test = rows["accuracy, validation"], rows["accuracy, test"]
    assert (val.old, val.new, val.change) == ("0.9000", "0.8920", "drop +0.80%") and not val.gains
    assert val.sure == "limit 1%, +0.40% to +1.20% with 95 %"
    assert (test.old, test.new, test.change) == ("0.8900", "0.8900", "drop +1.50%")


def test_what_was_wanted_comes_first_and_what_grew_is_no_gain() -> None:
    rows = gained(given(objectives=("size", "speed"), original={"size_bytes": 61_728}))
    assert [row.name for row in rows[:2]] == ["file", "one call"]
    assert rows[0].change == "x2.00 as much" and not rows[0].gains
    near = next(row for row in gained(given(original={"parameters": 100.4})) if row.name == "parameters")
    assert near.change == "as it was" and not near.gains, "folded norms alone"
    slower = given(front=[member(2, 1.05, 0.0)])
    assert not gained(slower)[0].gains, "its lower quartile is not faster"


def test_older_studies_lack_what_the_uncompressed_network_takes() -> None:
    rows = {row.name: row for row in gained(replace(data(), front=[member(2, 1.6, 0.008)]))}
    assert "parameters" not in rows and (rows["file"].old, rows["file"].change) == ("", "")
    assert rows["accuracy, validation"].change == "drop +0.0080" and rows["accuracy, test"].change == ""


def test_the_uncompressed_network_is_no_gain_and_the_nearest_is_one_beyond_the_limit() -> None:
    original = member(ORIGINAL, 1.0, 0.0)
    assert best(given(front=[original])) is None and gained(given(front=[original])) == []
    nearest = member(7, 3.0, 0.05)
    assert best(given(front=[original], nearest=nearest)) is nearest
    assert gained(given(front=[original], nearest=nearest))[0].change == "x3.00"
