"""How methods are written on a command line: a list of names, each with options in parentheses."""

from __future__ import annotations

import ast
from typing import Any

from whet.core.errors import MethodError


def options(text: str, words: str = "") -> dict[str, Any]:
    """Return the options that stand in parentheses, of the words that an error is to show.

    >>> options("(tie='network', samples=64)")
    {'tie': 'network', 'samples': 64}
    """
    try:
        call = ast.parse(f"f{text}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            raise ValueError
        return {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        raise MethodError(
            f"'{words or text}' cannot be read: options are written option=value, with text in quotes, e.g. "
            "width(tie='network')."
        ) from None


def listed(text: str) -> list[str]:
    """Return the parts of a list of methods, separated by commas that stand in no parentheses.

    >>> listed("depth, width(tie='network', fractions=(0.5, 1.0)),quantize")
    ['depth', "width(tie='network', fractions=(0.5, 1.0))", 'quantize']
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]
