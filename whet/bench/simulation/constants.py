"""The constants of `whet.schedule`, and searches in which one of them has another value."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from whet.core.errors import MethodError, unknown

PACKAGE = "whet.schedule"
FOLDER = Path(__file__).parents[2] / "schedule"
READERS = (PACKAGE, *(f"whet.bench.simulation.{name}" for name in ("simulator", "doing", "facts")))
"""What is imported anew where a constant changes."""
PLAN = "plan"
"""The file whose class holds constants too, as the defaults of its fields."""

Number = int | float


def constants() -> dict[str, Any]:
    """Return every number, or tuple or dictionary of numbers, that is a constant, by `file.NAME`, as it stands.

    >>> constants()["recovery.POWER"], constants()["plan.usual_rounds"]
    (0.5, 3)
    """
    found = dict[str, Any]()
    for path in sorted(FOLDER.glob("*.py")):
        module = importlib.import_module(f"{PACKAGE}.{path.stem}")
        for name in _names(ast.parse(path.read_text(encoding="utf-8"))):
            value = getattr(module, name) if name.isupper() else getattr(module.Plan, name)
            if numbers(value):
                found[f"{path.stem}.{name}"] = value
    return found


def numbers(value: Any) -> list[Number]:
    """Return the numbers in a value; none where there is anything else in it."""
    if isinstance(value, bool) or not isinstance(value, int | float | tuple | dict):
        return []
    if isinstance(value, int | float):
        return [value]
    parts = [numbers(each) for each in (value.values() if isinstance(value, dict) else value)]
    return [n for part in parts for n in part] if all(parts) else []


def scaled(value: Any, factor: float) -> Any:
    """Return a constant with each of its numbers multiplied, whole ones rounded and at least 1.

    >>> scaled((1.5, 6.0), 2.0), scaled({True: 0.1}, 0.5), scaled(3, 0.5)
    ((3.0, 12.0), {True: 0.05}, 2)
    """
    if isinstance(value, dict):
        return {key: scaled(each, factor) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(scaled(each, factor) for each in value)
    return max(1, round(value * factor)) if isinstance(value, int) else round(value * factor, 6)


def parsed(text: str) -> tuple[str, Any]:
    """Return the name and the value of `recovery.SPARE=0.9`.

    Raises: MethodError for text without a value; UnknownNameError for a constant that does not exist.
    """
    name, _, value = text.partition("=")
    known = constants()
    if name.strip() not in known:
        raise unknown("constant", name.strip(), known)
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        raise MethodError(f"'{text}' sets nothing: write FILE.NAME=VALUE, such as recovery.SPARE=0.9.") from None


@contextmanager
def changed(settings: Mapping[str, Any]) -> Iterator[ModuleType]:
    """Hold a simulator whose schedulers have other constants.

    The schedule's modules are imported anew with the new values behind the old ones, so what was made of a constant
    when its file was read has the new one too. Everything else stays as it is imported.
    """
    finder = _Changed(settings)
    before = {name: module for name, module in sys.modules.items() if name.startswith(READERS)}
    parents = {name: sys.modules[name.rpartition(".")[0]] for name in before if name.rpartition(".")[0] in sys.modules}
    for name in before:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        yield importlib.import_module(READERS[1])
    finally:
        sys.meta_path.remove(finder)
        for name in [n for n in sys.modules if n.startswith(READERS)]:
            del sys.modules[name]
        sys.modules.update(before)
        for name, parent in parents.items():
            setattr(parent, name.rpartition(".")[2], before[name])


class _Changed(MetaPathFinder, Loader):
    """Finds the schedule's modules and sets constants while it runs them."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings: dict[str, dict[str, Any]] = {}
        for name, value in settings.items():
            file, _, constant = name.partition(".")
            self.settings.setdefault(f"{PACKAGE}.{file}", {})[constant] = value

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self.settings:
            return None
        return importlib.util.spec_from_file_location(name, FOLDER / f"{name.rpartition('.')[2]}.py", loader=self)

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        path = FOLDER / f"{module.__name__.rpartition('.')[2]}.py"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, value in self.settings[module.__name__].items():
            _set(tree, name, ast.parse(repr(value), mode="eval").body)
        exec(compile(ast.fix_missing_locations(tree), str(path), "exec"), module.__dict__)


def _set(tree: ast.Module, name: str, value: ast.expr) -> None:
    """Set a constant right behind where it is assigned; of a field, its default."""
    for place, node in enumerate(tree.body):
        if isinstance(node, ast.Assign) and name in _assigned(node):
            tree.body.insert(place + 1, ast.Assign([ast.Name(name, ast.Store())], value))
            return
        for item in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.target.id == name:
                item.value = value
                return


def _names(tree: ast.Module) -> list[str]:
    """Return the names of a file's constants."""
    found = list[str]()
    for node in tree.body:
        if isinstance(node, ast.Assign):
            found += [name for name in _assigned(node) if name.isupper()]
        elif isinstance(node, ast.ClassDef) and node.name.lower() == PLAN:
            found += [n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    return found


def _assigned(node: ast.Assign) -> list[str]:
    targets = [each for t in node.targets for each in (t.elts if isinstance(t, ast.Tuple) else [t])]
    return [each.id for each in targets if isinstance(each, ast.Name)]
