"""The page of all methods, `docs/methods.md`: a table of the catalogue."""

from __future__ import annotations

from whet.catalogue import METHODS, Method
from whet.method_rows import DEFAULT


def _status(method: Method) -> str:
    return f"{method.status}; missing: {method.missing}" if method.missing else method.status


def markdown() -> str:
    """Return the table of all methods for the documentation: `whet list --markdown > docs/methods.md`."""
    lines = [
        "# Methods",
        "",
        "Made by `whet list --markdown`; `whet explain NAME` prints what a method does and its paper's BibTeX.",
        "",
        "| name | family | reached by | status | paper |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_line, METHODS), ""])


def _line(m: Method) -> str:
    reach = f"`{m.reach}`".replace("|", "\\|") if m.reach != DEFAULT else DEFAULT
    return f"| `{m.name}` | {m.family} | {reach} | {_status(m)} | {m.citation} |"
