"""The flow goes by what passes and strategies can, and by none of their names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from whet import catalogue

FLOW = Path(__file__).parents[2] / "whet" / "flow"
SOLVED = {"compress.repair"}
"""Rows that the flow applies itself: what was cut is repaired between the structure and its training."""
TOGETHER = {"elastic.supernet", "elastic.chain", "search.recovery"}
"""Rows that are parts of the flow, or what it trains candidates together with."""
CLASSES = {
    m.where.partition(":")[2] for m in catalogue.METHODS
    if m.family in ("pass", "strategy", "surrogate", "elastic") and m.name not in SOLVED | TOGETHER
}  # fmt: skip
WORDS = re.compile(r"\b(int8|int4|width|keep|kernel|resolution)\b")


@pytest.mark.parametrize("path", sorted(FLOW.glob("*.py")), ids=lambda p: p.stem)
def test_no_class_of_a_method_and_no_word_for_one(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & CLASSES
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    texts = [
        node.value for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    ]  # fmt: skip
    assert not [text for text in texts if WORDS.search(text)]
