"""Every row says whether a user can reach it, and if not, what is missing."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from whet import catalogue

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
    """Return the modules that commands, `import whet` and the benchmarks come to, without the catalogue's strings."""
    known = modules()
    left = [known["whet.cli"], known["whet"], *(ROOT / "benchmarks").rglob("*.py")]
    found: set[str] = set()
    while left:
        new = {name for name in imported(left.pop()) if name in known} - found - {"whet.catalogue"}
        found |= new
        left += [known[name] for name in new]
    return found


@pytest.mark.parametrize("method", catalogue.METHODS, ids=lambda m: m.name)
def test_a_row_that_nobody_can_reach_says_what_is_missing(method: catalogue.Method, reachable: set[str]) -> None:
    assert method.missing or method.where.partition(":")[0] in reachable
    assert not method.missing or method.status == "trial"


def test_what_is_missing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from whet.cli import explain, list_methods

    method = next(m for m in catalogue.METHODS if m.missing)
    assert f"`{method.name}` | {method.family} | trial; missing: {method.missing} |" in catalogue.markdown()
    explain(method.name)
    assert f"Missing: {method.missing}" in capsys.readouterr().out
    list_methods(family=method.family, as_json=False, markdown=False)
    assert method.missing.split()[0] in capsys.readouterr().out
