"""The page of methods: one line a row, with what it lacks and how it is reached."""

from __future__ import annotations

from whet import catalogue
from whet.report.methods import markdown


def test_every_row_has_its_line() -> None:
    lines = markdown().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [m.name for m in catalogue.METHODS]
    assert any("trial; missing: " in row for row in rows)
    assert all(row.count(" | ") == 4 for row in rows), "bars within a cell are written as such"
