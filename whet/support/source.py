"""What a class or function says of itself, read from its source: nothing is imported, so it takes milliseconds."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path

ROOT = Path(__file__).parents[2]
Definition = ast.ClassDef | ast.FunctionDef


@dataclass(frozen=True)
class Described:
    """A docstring, and the parameters as they are written, defaults included; their names apart."""

    doc: str
    parameters: str
    names: tuple[str, ...]


def described(where: str) -> Described:
    """Return what `module:attribute` of this package says of itself.

    A class without `__init__` has the fields of its dataclass and of those that it derives from, or the `__init__` of
    the class that it derives from.

    >>> described("whet.support.source:described").parameters
    'where: str'
    """
    module, _, attribute = where.partition(":")
    item = _defined(module, attribute)
    if item is None:
        raise LookupError(f"'{where}' is defined nowhere in its file.")
    written = _parameters(item, module)
    return Described(cleandoc(ast.get_docstring(item) or ""), ", ".join(written.values()), tuple(written))


def _tree(module: str) -> ast.Module:
    place = ROOT.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _defined(module: str, name: str) -> Definition | None:
    kinds = (ast.ClassDef, ast.FunctionDef)
    return next((n for n in _tree(module).body if isinstance(n, kinds) and n.name == name), None)


def _parameters(item: Definition, module: str) -> dict[str, str]:
    """Return the parameters by name, as they are written; `self` is none."""
    if isinstance(item, ast.FunctionDef):
        return _arguments(item.args)
    begin = next((n for n in item.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if begin is not None:
        return dict(list(_arguments(begin.args).items())[1:])
    bases = [b.id for b in item.bases if isinstance(b, ast.Name)]
    inherited = [_parameters(base, place) for name in bases for base, place in _found(module, name)]
    fields = [n for n in item.body if isinstance(n, ast.AnnAssign) and _is_asked(n)] if _is_dataclass(item) else []
    own = {n.target.id: ast.unparse(n) for n in fields if isinstance(n.target, ast.Name)}
    return {name: text for found in reversed(inherited) for name, text in found.items()} | own


def _is_dataclass(item: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in item.decorator_list)


def _is_asked(field: ast.AnnAssign) -> bool:
    text = ast.unparse(field)
    return "ClassVar" not in text and "init=False" not in text


def _found(module: str, name: str) -> list[tuple[Definition, str]]:
    """Return a class of this package that a module defines or imports, and its module; nothing for those of others."""
    if (item := _defined(module, name)) is not None:
        return [(item, module)]
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("whet."):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return _found(node.module, alias.name)
    return []


def _arguments(given: ast.arguments) -> dict[str, str]:
    """Return the arguments of a function by name, with `*` where only names are taken from there on."""
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    found = {a.arg: _one(a, value) for a, value in zip(plain, defaults, strict=True)}
    if given.vararg is not None:
        found[given.vararg.arg] = "*" + _one(given.vararg, None)
    star = "" if given.vararg is not None else "*, "
    for a, value in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        found[a.arg], star = star + _one(a, value), ""
    if given.kwarg is not None:
        found[given.kwarg.arg] = "**" + _one(given.kwarg, None)
    return found


def _one(argument: ast.arg, default: ast.expr | None) -> str:
    text = ast.unparse(argument)
    return text if default is None else f"{text} = {ast.unparse(default)}"
