"""Every row says whether a user can reach it, and if not, what is missing."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from whet import catalogue
from whet.compress.quantize.static import StaticQuantization
from whet.compress.width import Width
from whet.core.errors import MethodError, UnknownNameError

ROOT = Path(__file__).parent.parent
NAMED = re.compile(r"whet(\.\w+)+(?=:\w+$)")
"""A module in a table of names, `module:attribute`, that is imported when it is asked for."""


def modules() -> dict[str, Path]:
    paths = (p.relative_to(ROOT) for p in (ROOT / "whet").rglob("*.py"))
    return {".".join(p.with_suffix("").parts).removesuffix(".__init__"): ROOT / p for p in paths}


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


@pytest.fixture(scope="module")
def reachable() -> set[str]:
    """Return the modules that commands, methods asked for by name, `import whet` and the benchmarks come to."""
    known = modules()
    asked = [known[m.where.partition(":")[0]] for m in catalogue.METHODS if m.asked_for]
    left = [known["whet.cli.main"], known["whet"], *asked, *(ROOT / "benchmarks").rglob("*.py")]
    found: set[str] = set()
    while left:
        new = {name for name in imported(left.pop()) if name in known} - found - {"whet.catalogue"}
        found |= new
        left += [known[name] for name in new]
    return found


@pytest.mark.parametrize("method", catalogue.METHODS, ids=lambda m: m.name)
def test_a_row_that_nobody_can_reach_says_what_is_missing(method: catalogue.Method, reachable: set[str]) -> None:
    assert method.missing or method.asked_for or method.where.partition(":")[0] in reachable
    assert not method.missing or method.status == "trial"


def test_what_is_missing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from whet.cli.main import explain, list_methods

    method = next(m for m in catalogue.METHODS if m.missing)
    assert f"`{method.name}` | {method.family} | trial; missing: {method.missing} | " in catalogue.markdown()
    explain(method.name)
    assert f"Missing: {method.missing}" in capsys.readouterr().out
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


def test_a_list_of_methods_is_split_outside_parentheses() -> None:
    assert catalogue.split("a,b(x=(1, 2), y='c'),, d ") == ["a", "b(x=(1, 2), y='c')", "d"]
    assert catalogue.split("") == []


@pytest.mark.parametrize("family", ["pass", "strategy", "surrogate"])
def test_every_row_of_a_family_that_is_asked_for_by_name_has_one_name(family: str) -> None:
    known = catalogue.names(family)
    assert {row for row, _ in known.values()} == {m.name for m in catalogue.METHODS if m.family == family}
    assert all(m.asked_for for m in catalogue.METHODS if m.family == family)
