"""Where the tables of the tests stand in the documentation."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"


def marks(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->\n", f"<!-- end of {name} -->"


def written(name: str) -> str:
    """Return the table of that name as the page has it."""
    begin, end = marks(name)
    return PAGE.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]


def write(name: str, table: str) -> None:
    """Put a table in place of the one of that name."""
    begin, end = marks(name)
    before, mark, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    assert mark, f"{PAGE} has no place for a table called '{name}'"
    new = PAGE.with_suffix(".new")
    new.write_text(before + begin + table + end + rest.partition(end)[2], encoding="utf-8")
    new.replace(PAGE)
