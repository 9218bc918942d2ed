"""What was gained: the uncompressed network and the best file side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whet.report.texts import drop_text, size_text

if TYPE_CHECKING:
    from whet.report.report import ReportData

ORIGINAL = -1
"""The number of the uncompressed network among the members of a front."""


@dataclass(frozen=True)
class Row:
    """One figure of both, empty where it is not known, what became of it, how sure that is, whether it gains."""

    name: str
    old: str
    new: str
    change: str
    sure: str = ""
    gains: bool = False


def best(data: ReportData) -> dict[str, Any] | None:
    """Return the file that gains most of what was wanted, or the nearest candidate where none is within the limits.

    None where the uncompressed network is delivered as it is.
    """
    if data.nearest:
        return data.nearest
    return data.front[0] if data.front and data.front[0]["number"] != ORIGINAL else None


def gained(data: ReportData) -> list[Row]:
    """Return the figures of the uncompressed network and the best file, what was wanted first."""
    new = best(data)
    if new is None:
        return []
    rows = {
        "speed": _latency(data, new),
        "size": _less("file", data.original.get("size_bytes"), new["size_bytes"], size_text, "x{:.2f} smaller"),
        "memory": data.original.get("memory_bytes")
        and _less("memory of a process", data.original["memory_bytes"], new["memory_bytes"], size_text, "x{:.2f} less"),
        "parameters": _less(
            "parameters", data.original.get("parameters"), new.get("parameters"), "{:,}".format, "x{:.2f} fewer"
        ),
    }
    first = [name for name in data.objectives if name in rows]
    found = [rows[name] for name in dict.fromkeys([*first, *rows])]
    return [row for row in found if row] + _qualities(data, new)


def _latency(data: ReportData, new: dict[str, Any]) -> Row:
    old = data.settings.get(data.bar)
    sure = f"quartiles {new['speedup_low']:.2f} to {new['speedup_high']:.2f}"
    shown = f"{old:.3g} ms" if old else ""
    faster = new["speedup_low"] > 1
    return Row("one call", shown, f"{new['latency_ms']:.3g} ms", f"x{new['speedup']:.2f}", sure, faster)


def _less(name: str, old: Any, new: Any, text: Callable[[Any], str], smaller: str) -> Row | None:
    """Return the row of a figure that is better when it is less; None where it is not known of the new file."""
    if not new:
        return None
    change, gains = "", False
    if old:
        gains = round(old / new, 2) > 1
        larger = "as it was" if round(new / old, 2) == 1 else f"x{new / old:.2f} as much"
        change = smaller.format(old / new) if gains else larger
    return Row(name, text(old) if old else "", text(new), change, gains=gains)


def _qualities(data: ReportData, new: dict[str, Any]) -> list[Row]:
    """Return the scores on both kinds of data, with the drop in the unit of the limit and where it surely lies."""
    unit, sure = data.drop_unit, ""
    if isinstance(new.get("drop_low"), float) and isinstance(new.get("drop_high"), float):
        sure = f"{drop_text(new['drop_low'], unit)} to {drop_text(new['drop_high'], unit)} with 95 %"
    limit = f"limit {data.limit or drop_text(data.max_drop, unit).lstrip('+')}" if data.max_drop is not None else ""
    change = f"drop {drop_text(new['drop'], unit)}"
    said = ", ".join(filter(None, [limit, sure]))
    rows = [Row(f"{data.metric}, validation", f"{data.reference_val:.4f}", f"{new['val']:.4f}", change, said)]
    if new["test"] is not None:
        old = "" if data.reference_test is None else f"{data.reference_test:.4f}"
        drop = new.get("test_drop")
        change = "" if drop is None else f"drop {drop_text(drop, unit)}"
        rows.append(Row(f"{data.metric}, test", old, f"{new['test']:.4f}", change))
    return rows
