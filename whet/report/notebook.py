"""A front as notebooks show it: a table of HTML, a data frame, a figure."""

from __future__ import annotations

from html import escape
from typing import Any

from whet.core.errors import WhetError
from whet.report.texts import drop_text, size_text

COLUMNS = (
    "number", "speedup", "speedup_low", "speedup_high", "latency_ms", "p50_ms", "p95_ms", "p99_ms", "cold_start_ms",
    "val", "test", "drop", "drop_low", "drop_high", "test_drop", "size_bytes",
    "memory_bytes", "setting", "samples", "path", "delivered",
)  # fmt: skip
"""What a data frame has of each file."""


class NotInstalledError(WhetError):
    """A package that whet does not need for anything else is missing."""


def rows_of(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a plain row a file; `data` is `DeliveredFront.to_dict()`."""
    flat = [{**(m.get("serving") or {}), **m} for m in data["front"]]
    return [{name: m.get(name) for name in COLUMNS} for m in flat]


def frame(data: dict[str, Any]) -> Any:
    """Return a `pandas.DataFrame` with a row a file.

    Raises: NotInstalledError where pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise NotInstalledError("to_dataframe() needs pandas: pip install pandas, or take to_dict().") from None
    return pandas.DataFrame(rows_of(data), columns=list(COLUMNS))


def html(data: dict[str, Any]) -> str:
    """Return the conclusion and a table, for a notebook."""
    head = ("file", "speed-up", data["metric"], "test", "drop", "bytes", "p99 ms", "setting")
    rows = [head, *(_cells(i, m, data.get("drop_unit", (1.0, ""))) for i, m in enumerate(data["front"]))]
    lines = [
        f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in row)}</tr>"
        for row, tag in zip(rows, ["th", *["td"] * len(data["front"])], strict=True)
    ]
    bar = f"Speed-ups are over the uncompressed network in {escape(data['bar'])}."
    return f"<p><b>{escape(data['conclusion'])}</b></p><table>{''.join(lines)}</table><p>{bar}</p>"


def _cells(index: int, member: dict[str, Any], unit: Any) -> tuple[str, ...]:
    test, served = member["test"], member.get("serving") or {}
    return (
        f"front/{index}", f"x{member['speedup']:.2f}", f"{member['val']:.4f}", "" if test is None else f"{test:.4f}",
        drop_text(member["drop"], unit), size_text(member["size_bytes"]),
        f"{served['p99_ms']:.4f}" if "p99_ms" in served else "", member["setting"],
    )  # fmt: skip


def figure(report: dict[str, Any]) -> Any:
    """Return the `plotly` figure of drops against speed-ups; `report` is what a study keeps of its report."""
    from plotly.graph_objects import Figure

    from whet.report.figures import pareto
    from whet.report.report import ReportData

    return Figure(pareto(ReportData(**report)))
