"""The flow and its schedulers go by what passes and strategies can, and by none of their names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from whet import catalogue

WHET = Path(__file__).parents[2] / "whet"
FILES = [path for name in ("flow", "schedule") for path in sorted((WHET / name).glob("*.py"))]
SOLVED = {"compress.repair"}
"""Rows that the flow applies itself: what was cut is repaired between the structure and its training."""
TOGETHER = {"elastic.supernet", "elastic.chain", "search.recovery"}
"""Rows that are parts of the flow, or what it trains candidates together with."""
CLASSES = {
    m.where.partition(":")[2] for m in catalogue.METHODS
    if m.family in ("pass", "strategy", "surrogate", "elastic") and m.name not in SOLVED | TOGETHER
}  # fmt: skip
WORDS = re.compile(r"\b(int8|int4|width|keep|kernel|resolution)\b")


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}.{p.stem}")
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


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name == "schedule"], ids=lambda p: p.stem)
def test_what_to_do_next_is_said_without_what_does_it(path: Path) -> None:
    imported = [
        node.module or "" for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
    ]  # fmt: skip
    assert not [name for name in imported if name.startswith(("whet.flow", "whet.hardware", "whet.train", "torch"))]


SMALL = {"methods": 15, "function": 40, "file": 400}


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}.{p.stem}")
def test_classes_functions_and_files_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(text)))
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    methods = {c.name: sum(isinstance(each, ast.FunctionDef) for each in c.body) for c in classes}
    lines = {f.name: (f.end_lineno or 0) - f.lineno + 1 for f in nodes if isinstance(f, ast.FunctionDef)}
    assert len(text.splitlines()) <= SMALL["file"]
    assert not {name for name, count in methods.items() if count > SMALL["methods"]}
    assert not {name for name, count in lines.items() if count > SMALL["function"]}
