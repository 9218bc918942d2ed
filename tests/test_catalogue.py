"""Every row says how a user reaches it, and that holds; where only Python comes to it, what is missing."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from whet import catalogue
from whet.cli.main import app
from whet.cli.shared import recipe_options
from whet.compress.quantize.static import StaticQuantization
from whet.compress.width import Width
from whet.core.errors import MethodError, UnknownNameError
from whet.hardware.targets import RUNTIMES, TARGETS
from whet.report.methods import markdown
from whet.tasks import TASKS
from whet.testing.strategies import SPACES
from whet.train.optimizers import OPTIMIZERS
from whet.train.recipe import Recipe
from whet.words import listed

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"whet(\.\w+)+(?=:\w+$)")
"""A module in a table of names, `module:attribute`, that is imported when it is asked for."""


@cache
def modules() -> dict[str, Path]:
    paths = (p.relative_to(ROOT) for p in (ROOT / "whet").rglob("*.py"))
    return {".".join(p.with_suffix("").parts).removesuffix(".__init__"): ROOT / p for p in paths}


@cache
def imported(path: Path) -> set[str]:
    """Return the modules, and names in modules, that a file imports or has in a table of names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and (named := NAMED.match(node.value)):
            found.add(named[0])
    return found


def closure(*begun: str) -> set[str]:
    """Return the modules that some modules come to, themselves included."""
    known, found = modules(), set(begun)
    left = list(begun)
    while left:
        new = {name for name in imported(known[left.pop()]) if name in known} - found - {"whet.catalogue"}
        found |= new
        left += new
    return found


def module_of(words: str, family: str) -> str:
    return catalogue.read(words, family).method.where.partition(":")[0]


@pytest.fixture(scope="module")
def searched() -> set[str]:
    """Return the modules that a search without options comes to."""
    passes = {module_of(name, "pass") for names in catalogue.DEFAULT_PASSES.values() for name in names}
    runtimes = {module_of(name, "runtime") for name in TARGETS["cpu"]}
    return closure("whet.flow.optimize", module_of("improvement", "strategy"), *passes, *runtimes)


def parsed(words: list[str]) -> dict[str, Any]:
    """Return what a command line of `whet` gives the function of its verb; wrong options raise."""
    command: Any = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    given: dict[str, Any] = command.make_context("whet", list(words)).params
    return given


def reached(method: catalogue.Method, given: dict[str, Any]) -> bool:
    """Say whether what a command line asks for is a method, or takes it by an option that it has."""
    module = method.where.partition(":")[0]
    if given.get("elastic"):
        return module in closure("whet.flow.optimize")
    if given.get("recipe"):
        made = Recipe(**recipe_options(given["recipe"]))
        used = [OPTIMIZERS[made.optimizer], *map(type, made.techniques)]
        return method.load() in used or bool(made.hints and module == "whet.train.hints")
    if method.family in catalogue.PARTS:
        words = {"task": given.get("task"), "network": given.get("network")}.get(method.family)
        return catalogue.read(words or given["target"].removesuffix("-cpu"), method.family).method == method
    passes = given["passes"]
    for words in listed(passes) if passes else given["strategy"].split("|"):
        call = catalogue.read(words, "pass" if passes else "strategy")
        call() if passes else call(SPACES["ordered"])  # an option or a value that it does not have raises
        named = [catalogue.names(method.family).get(str(value), ("",))[0] for value in call.options.values()]
        by_option = bool(call.options) and module in closure(call.method.where.partition(":")[0])
        if call.method != method and method.name not in named and not by_option:
            return False
    return True


@pytest.mark.parametrize("method", catalogue.METHODS, ids=lambda m: m.name)
def test_every_row_is_reached_as_it_says(method: catalogue.Method, searched: set[str]) -> None:
    module = method.where.partition(":")[0]
    match method.reach.split():
        case ["default", "of", "the", "search"]:
            assert module in searched
        case ["whet", "bench", verb, *words]:
            assert module in closure("whet.cli.bench") and parsed(["bench", verb, *words])
        case ["whet", "pack", *words]:
            assert module in closure("whet.cli.pack") and parsed(["pack", *words])
        case ["whet", "agent", "train", *_]:
            given = parsed(shlex.split(method.reach)[1:])
            call = catalogue.read(given["name"], "agent")
            assert call().environments and given["environment"]
            assert call.method == method or (call.options and module in closure(call.method.where.partition(":")[0]))
        case ["whet", *_]:
            assert reached(method, parsed(shlex.split(method.reach)[1:]))
        case ["python", script]:
            assert module in {name for one in imported(ROOT / script) if one in modules() for name in closure(one)}
        case [called]:
            owner, _, options = called.removesuffix(")").removesuffix("...").partition("(")
            assert module in closure(owner.rpartition(".")[0])
            item = getattr(import_module(owner.rpartition(".")[0]), owner.rpartition(".")[2])
            assert options.partition("=")[0] in ("", *inspect.signature(item).parameters)
            assert options or (item is method.load() and callable(item))
        case other:
            pytest.fail(f"nobody can follow '{other}'")


def test_a_row_that_only_python_comes_to_says_what_is_missing() -> None:
    alone = {m.name for m in catalogue.METHODS if m.reach.endswith("(...)")}
    assert alone == set(catalogue.MISSING)
    assert all(m.status == "trial" for m in catalogue.METHODS if m.missing)


def test_what_is_missing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from whet.cli.main import explain, list_methods

    method = next(m for m in catalogue.METHODS if m.missing)
    line = f"`{method.name}` | {method.family} | `{method.reach}` | trial; missing: {method.missing} | "
    assert line in markdown()
    explain(method.name)
    told = capsys.readouterr().out
    assert f"Missing: {method.missing}" in told and f"Reached by: {method.reach}" in told
    list_methods(family=method.family, as_json=False, markdown=False)
    assert method.missing.split()[0] in capsys.readouterr().out


def test_words_make_a_method_with_its_options() -> None:
    assert catalogue.make("width", "pass") == catalogue.make("compress.width") == Width()
    assert catalogue.make(" width(tie='network', fractions=(0.5, 1.0)) ", "pass") == Width((0.5, 1.0), tie="network")
    assert catalogue.make("quantize", "pass") == StaticQuantization() == catalogue.make("quantize.static")
    assert catalogue.read("nsga2(population_size=4)", "strategy").options == {"sampler": "nsga2", "population_size": 4}


@pytest.mark.parametrize(
    "words, error, message",
    [
        ("widht", UnknownNameError, "unknown pass 'widht'; did you mean 'width'"),
        ("compress.widht", UnknownNameError, "did you mean 'compress.width'"),
        ("tpe", UnknownNameError, "unknown pass 'tpe'"),
        ("width(tei='network')", MethodError, "'compress.width': unknown option 'tei'; did you mean 'tie'"),
        ("width('network')", MethodError, "option=value"),
        ("width(tie=network)", MethodError, "text in quotes"),
        ("width(**x)", MethodError, "option=value"),
        ("width(tie='network'", MethodError, "cannot be read"),
        ("width)", MethodError, "cannot be read"),
        ("", MethodError, "cannot be read"),
        ("width(tie=__import__('os'))", MethodError, "option=value"),
    ],
)
def test_words_that_make_no_method(words: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        catalogue.make(words, "pass")


@pytest.mark.parametrize("family", ["pass", "strategy", "surrogate", "optimizer", "agent", *catalogue.PARTS])
def test_every_row_of_a_family_that_is_asked_for_by_name_has_one_name(family: str) -> None:
    known = catalogue.names(family)
    assert {row for row, _ in known.values()} == {m.name for m in catalogue.METHODS if m.family == family}


def test_tables_of_names_are_those_of_the_catalogue() -> None:
    assert set(OPTIMIZERS) == set(catalogue.names("optimizer")) and len(OPTIMIZERS) == len(set(OPTIMIZERS))
    assert set(RUNTIMES) == set(catalogue.names("runtime")) and "digits" in TASKS
    assert "adam" not in OPTIMIZERS
