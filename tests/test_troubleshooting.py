"""Every message on the page of troubleshooting is one of the code's."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^### `(.+)`$", PAGE, flags=re.MULTILINE)
REST = "…"
LEAST = 20


@cache
def texts() -> tuple[str, ...]:
    """Return the texts of whet's code but for docstrings, with `…` for what is put into them."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "whet").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return tuple({told for node in nodes if id(node) not in docstrings and (told := told_by(node)) is not None})


def told_by(node: ast.AST) -> str | None:
    """Return the text that an expression gives, or None where it is none.

    >>> told_by(ast.parse("f'{a} is ' + 'in the way'").body[0].value)
    '… is in the way'
    """
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(REST if isinstance(part, ast.FormattedValue) else str(told_by(part)) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [told_by(node.left), told_by(node.right)]
        return None if parts == [None, None] else "".join(REST if part is None else part for part in parts)
    return None


def stands(quote: str, text: str) -> bool:
    """Say whether the parts of a quote are in a text, in their order.

    >>> stands("'…' is in … way", "… is in the way"), stands("way is", "… is in the way")
    (False, False)
    >>> stands("… in … way", "… is in the way")
    True
    """
    place = 0
    for part in quote.split(REST):
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return True


@pytest.mark.parametrize("quote", QUOTED)
def test_the_message_is_in_the_code(quote: str) -> None:
    assert max(map(len, quote.split(REST))) >= 8, "too little to be found by"
    assert any(stands(quote, text) for text in texts()), quote


def test_there_are_many_and_each_has_its_remedy() -> None:
    assert len(QUOTED) >= LEAST and len(set(QUOTED)) == len(QUOTED)
    parts = re.split(r"^#{2,3} .+$", PAGE, flags=re.MULTILINE)
    titles = re.findall(r"^#{2,3} .+$", PAGE, flags=re.MULTILINE)
    bodies = {title: body for title, body in zip(titles, parts[1:], strict=True) if title.startswith("### ")}
    assert not [title for title, body in bodies.items() if len(body) < 40]
