"""Networks by name: a misspelt one is told with the nearest, and with what there is."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from whet import catalogue
from whet.core.errors import LiftError
from whet.support.names import nearest

WORD = re.compile(r"[A-Za-z][\w-]*(\(.*\))?")


def refuse_misspelt(network: str, own: Collection[str], task: str) -> None:
    """Raise LiftError for a word that is neither a network nor a file: the nearest name, and the task's networks."""
    if not WORD.fullmatch(network) or Path(network).exists():
        return
    near = nearest(network.partition("(")[0], [*own, *catalogue.names("network")])
    hint = f"; did you mean '{near}'?" if near else "."
    raise LiftError(
        f"there is no network '{network}'{hint} Task '{task}' has {', '.join(own)}; `whet list --family network` has "
        "others; or give FILE.pt2, .onnx, .tflite, .xml or FILE.py:FUNCTION."
    )
