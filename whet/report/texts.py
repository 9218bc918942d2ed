"""Figures in words, alike in the terminal, the conclusion and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def drop_text(drop: float, unit: Sequence[Any] = (1.0, "")) -> str:
    """Return a drop as people read it: in the unit that the limit was given in, by its factor and mark.

    >>> drop_text(0.0081), drop_text(0.0081, (100.0, "%"))
    ('+0.0081', '+0.81%')
    """
    factor, mark = unit
    return f"{drop * factor:+.2f}{mark}" if mark else f"{drop:+.4f}"
