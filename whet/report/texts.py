"""Figures in words, alike in the terminal, the conclusion and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whet.core.objectives import Served


def size_text(size_bytes: float) -> str:
    """Return a size as people read it.

    >>> size_text(512), size_text(83_400), size_text(5_210_000)
    ('512 B', '83.4 kB', '5.21 MB')
    """
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.3g} {unit}"
    return f"{size_bytes:.0f} B"


def gain_text(served: Served, wanted: Sequence[str]) -> str:
    """Return what a file gains in the words of what was wanted.

    >>> from whet.core.objectives import Figures
    >>> gain_text(Figures(1.5, 83_400), ("speed",)), gain_text(Figures(1.5, 83_400), ("size", "speed"))
    ('x1.50', '83.4 kB, x1.50')
    """
    memory = f"{size_text(served.memory_bytes)} of memory"
    each = {"speed": f"x{served.speedup:.2f}", "size": size_text(served.size_bytes), "memory": memory}
    return ", ".join(each[name] for name in wanted)


def drop_text(drop: float, unit: Sequence[Any] = (1.0, "")) -> str:
    """Return a drop as people read it: in the unit that the limit was given in, by its factor and mark.

    >>> drop_text(0.0081), drop_text(0.0081, (100.0, "%"))
    ('+0.0081', '+0.81%')
    """
    factor, mark = unit
    return f"{drop * factor:+.2f}{mark}" if mark else f"{drop:+.4f}"


def many(count: int, what: str) -> str:
    """Return a count with its noun.

    >>> many(1, "candidate"), many(3, "layer")
    ('1 candidate', '3 layers')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"
