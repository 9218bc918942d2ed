"""The comparison of strategies on a small made-up table, whole."""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import typer

from whet.bench.tabular import Table
from whet.core.space import Choice, Decision, Space
from whet.decisions.enumerate import point, size
from whet.search import strategies
from whet.testing.strategies import SPACES

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "tables" / "compare.py"
SPACE = Space([Choice(f"block{i}:keep", (True, False), True) for i in range(6)])


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script, with a table of its own in place of the measured ones."""
    spec = importlib.util.spec_from_file_location("compare", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # where a dataclass looks for its module
    spec.loader.exec_module(module)

    def figures(decision: Decision) -> tuple[float, float]:
        dropped = [int(name[5]) for name in decision]
        return 1.0 + 0.2 * len(dropped), 0.002 * sum(dropped) ** 1.5

    decisions = [point(SPACE, rank) for rank in range(size(SPACE))]
    about = {"network": "toy", "device": {"cpu": "some CPU"}}
    Table(SPACE, {d: figures(d) for d in decisions}, about).save(tmp_path / "toy.json.gz")
    monkeypatch.setattr(module, "HERE", tmp_path)
    return module


def test_every_strategy_has_its_curve_its_row_and_its_count(compare: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "results"
    compare.main(out, seeds=3, measurements=40, processes=1, only=["random", "sensitivity"])
    record = json.loads((out / "strategies-toy.json").read_text())
    assert set(record["found"]) == {"random", "nsga2", "sensitivity"}
    for one in record["found"].values():
        assert len(one["curves"]) == 3 and one["seconds"] > 0
        assert all(len(c) == 40 and c == sorted(c) and c[-1] <= 1.0 for c in one["curves"])
    assert 1 <= record["needed"]["nsga2"] <= 40
    text = (out / "strategies-toy.md").read_text()
    assert all(f"| {name} | " in text for name in record["found"])
    assert (out / "strategies-toy.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_searched_is_not_searched_again_unless_the_table_is_another(
    compare: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def search(path: Path, title: str, protocol: dict[str, int], pool: object) -> dict[str, object]:
        if title == "killed":
            raise KeyboardInterrupt
        asked.append(title)
        return {"curves": [[0.5] * protocol["measurements"]] * protocol["seeds"], "seconds": 0.1}

    monkeypatch.setattr(compare, "searched", search)
    monkeypatch.setattr(compare, "ENGINES", dict.fromkeys(("random", "killed", "nsga2")))
    with pytest.raises(KeyboardInterrupt):
        compare.main(tmp_path)
    monkeypatch.setattr(compare, "ENGINES", dict.fromkeys(("random", "nsga2")))
    compare.main(tmp_path)
    assert asked == ["random", "nsga2"]
    compare.main(tmp_path, seeds=4)
    assert asked == ["random", "nsga2"] * 2


def test_every_row_names_a_strategy_and_options_that_it_takes(compare: ModuleType) -> None:
    own = [engine for title, engine in compare.ENGINES.items() if title not in compare.PEERS]
    assert {engine.strategy for engine in own} == set(strategies.STRATEGIES)
    for engine in own:
        package = strategies.NEEDS.get(engine.strategy)
        if package is None or find_spec(package):
            engine.make(SPACES["mixed"], 0)
    with pytest.raises(typer.BadParameter, match="no row 'sensitivty'"):
        compare.main(only=["sensitivty"])


def test_a_strategy_that_never_gets_there_needs_infinitely_many(compare: ModuleType) -> None:
    found = {"nsga2": [[0.1, 0.5], [0.3, 0.6]], "quick": [[0.7, 0.7], [0.6, 0.6]], "slow": [[0.1, 0.2], [0.1, 0.3]]}
    assert compare.needed(found) == {"nsga2": float("inf"), "quick": 1, "slow": float("inf")}


def test_what_is_needed_is_the_ordinary_median(compare: ModuleType) -> None:
    """Of an even number of seeds it lies between the two in the middle, and is infinite if one of them is."""
    curves = [[0.1] * (n - 1) + [0.6] * (5 - n) for n in (1, 2, 3, 4)]
    found = {"nsga2": [[0.5] * 4] * 4, "even": curves, "odd": curves[:3], "half": [*curves[:2], [0.1] * 4, [0.1] * 4]}
    assert compare.needed(found) == {"nsga2": 1, "even": 2.5, "odd": 2, "half": float("inf")}


def test_a_table_says_which_commit_made_which_rows(compare: ModuleType) -> None:
    assert compare.made({"a": {"commit": "1"}, "b": {"commit": "1"}}) == "Made by commit 1."
    assert compare.made({"a": {}}) == "Made by code that did not write down its commit."
    mixed = compare.made({"a": {"commit": "1"}, "b": {}, "c": {"commit": "1"}, "d": {"commit": "2"}})
    assert (
        mixed
        == "a, c: made by commit 1. d: made by commit 2. The others: made by code that did not write down its commit."
    )


@pytest.mark.parametrize("network", ["digits_cnn", "resnet20"])
def test_the_committed_pages_are_made_of_their_figures(compare: ModuleType, network: str) -> None:
    results = SCRIPT.parents[1] / "results"
    comparison = compare.Comparison(SCRIPT.parent / f"{network}.json.gz", results, seeds=10, measurements=200)
    assert comparison.found
    page = (results / f"strategies-{network}.md").read_text(encoding="utf-8")
    assert page == compare.markdown(comparison.table, comparison.found, comparison.protocol)
