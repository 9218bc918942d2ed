"""Write the table of cuttable shares into docs/axes.md: `python tests/graph/axes_table.py`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from zoo import SOURCES, prepared

PAGE = Path(__file__).parents[2] / "docs" / "axes.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"


def table() -> str:
    """Return the table: what can be cut of every network that the tests know."""
    lines = ["| network | parameters | cuttable | groups of atoms |", "|---|---|---|---|"]
    for name in SOURCES:
        net, axes = prepared(name)
        kinds = Counter(group.kind for group in axes.groups.values())
        groups = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        lines.append(f"| {name} | {net.parameter_count:,} | {axes.cuttable_share:.1%} | {groups} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    written = PAGE.with_suffix(".new")
    written.write_text(before + BEGIN + table() + END + rest.partition(END)[2])
    written.replace(PAGE)


if __name__ == "__main__":
    main()
