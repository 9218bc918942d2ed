"""An extension of griffe: examples in docstrings become blocks of code, where Markdown would take `>>>` for quotes."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^([ ]*)>>> .*\n?(?:\1\S.*\n?)*", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts fences around every example of every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that has one."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(fenced, obj.docstring.value)


def fenced(match: re.Match[str]) -> str:
    """Return an example between fences."""
    return f"\n```pycon\n{match[0].rstrip()}\n```\n"
