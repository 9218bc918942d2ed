"""A killed benchmark loses the line that it was writing."""

from __future__ import annotations

from pathlib import Path

from whet.bench.lines import Lines


def test_a_torn_line_counts_as_none_and_the_next_one_begins_anew(tmp_path: Path) -> None:
    lines = Lines(tmp_path / "found" / "a.jsonl")
    assert lines.read() == {}
    lines.append("a", 1)
    with lines.path.open("a") as file:
        file.write('["b", 2')
    assert lines.read() == {"a": 1}
    lines.append("c", [3])
    lines.append("a", 4)
    assert lines.read() == {"a": 4, "c": [3]}
