"""Public names say what they are: how many do, so that it only gets better.

A public name is a function or class at the top of a file, or a method of such a class, whose name begins with no
underscore. Of what takes or gives tensors or arrays, the text (or that of its class) tells shapes: `(N, C, H, W)`,
the word shape, or a scalar.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "whet"
TENSORS = re.compile(r"\b(Tensor|NDArray|Array)\b")
SHAPES = re.compile(r"\([^()]*,[^()]*\)|\bshapes?\b|\bscalars?\b", re.IGNORECASE)


@dataclass(frozen=True)
class Name:
    """A public name, where it stands, its text with that of its class, and whether it has tensors."""

    where: str
    kind: str
    own: str
    text: str
    tensors: bool


def annotations(node: ast.FunctionDef) -> str:
    """Return the types that a function takes and gives, as text."""
    given = [a.annotation for a in (*node.args.args, *node.args.kwonlyargs, node.args.vararg) if a is not None]
    return " ".join(ast.unparse(each) for each in (*given, node.returns) if each is not None)


@cache
def names() -> tuple[Name, ...]:
    """Return every public name of the package."""
    return tuple(name for path in sorted(ROOT.rglob("*.py")) for name in names_in(path))


def names_in(path: Path) -> Iterator[Name]:
    where = path.relative_to(ROOT).as_posix()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        own = ast.get_docstring(node) or ""
        tensors = isinstance(node, ast.FunctionDef) and bool(TENSORS.search(annotations(node)))
        yield Name(f"{where}: {node.name}", "top", own, own, tensors)
        for member in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                text = ast.get_docstring(member) or ""
                tensors = bool(TENSORS.search(annotations(member)))
                yield Name(f"{where}: {node.name}.{member.name}", "method", text, f"{text} {own}", tensors)


@cache
def promised() -> frozenset[str]:
    """Return the names of the methods that an interface of the package describes: who implements one need not again."""
    found = set[str]()
    for path in ROOT.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases):
                found |= {member.name for member in node.body if isinstance(member, ast.FunctionDef)}
    return frozenset(found)


def without(kind: str) -> list[str]:
    """Return the names of a kind that lack what they should say; `tensors` are those without shapes."""
    if kind == "tensors":
        return [name.where for name in names() if name.tensors and not SHAPES.search(name.text)]
    told = promised() if kind == "method" else ()
    return [n.where for n in names() if n.kind == kind and not n.own and n.where.rpartition(".")[2] not in told]


MOST = {"top": 0, "method": 11, "tensors": 0}
"""How many names may lack it. These numbers only fall: whoever writes the missing text lowers them."""


@pytest.mark.parametrize("kind", MOST)
def test_no_more_names_than_today_say_nothing(kind: str) -> None:
    found = without(kind)
    assert len(found) <= MOST[kind], found
    assert len(found) == MOST[kind], f"only {len(found)} are left: write that into MOST"


def test_no_text_only_repeats_its_name() -> None:
    """A text of the words of the name, put in another order or with an article, tells nothing."""
    empty = [
        name.where
        for name in names()
        if name.own
        and set(re.findall(r"[a-z]+", name.own.lower()))
        <= {*re.findall(r"[a-z]+", name.where.lower()), "return", "the", "a"}
    ]
    assert not empty
