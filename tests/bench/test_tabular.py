from __future__ import annotations

from pathlib import Path

import pytest

from whet.bench.tabular import Table
from whet.core.errors import ArtifactError, StudyError
from whet.core.space import Choice, Decision, Space
from whet.decisions.enumerate import point, size
from whet.decisions.ledger import LedgerStrategy
from whet.search import strategies
from whet.testing.strategies import SPACES


def table(space: Space) -> Table:
    def figures(decision: Decision) -> tuple[float, float]:
        moved = sum(c.values.index(decision.of(c)) != c.values.index(c.identity) for c in space)
        return 1.0 + moved, 0.01 * moved**2

    decisions = [point(space, rank) for rank in range(size(space))]
    operations = {d: 100.0 / (1 + len(d)) for d in decisions}
    return Table(space, {d: figures(d) for d in decisions}, {"network": "toy"}, operations)


@pytest.mark.parametrize("name", ["four points", "conditional"])
def test_a_saved_table_is_the_same_table(name: str, tmp_path: Path) -> None:
    before = table(SPACES[name])
    before.save(tmp_path / "toy.json.gz")
    after = Table.load(tmp_path / "toy.json.gz")
    assert dict(after.figures) == dict(before.figures) and dict(after.operations) == dict(before.operations)
    assert after.space.describe() == before.space.describe()
    assert after.about == {"network": "toy"}


def test_measuring_everything_covers_the_whole_area() -> None:
    found = table(SPACES["conditional"])
    shares = found.curve(strategies.get("random", found.space, 0), size(found.space) + 5, worst=1.0)
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert len(shares) == size(found.space) + 5


def test_an_area_begins_at_the_untouched_speed_and_ends_at_the_worst_drop() -> None:
    found = table(SPACES["four points"])
    fast, faster = (next(d for d in found.figures if len(d) == moved) for moved in (1, 2))
    assert found.area([Decision()], 1.0) == 0.0
    assert found.area([fast], 0.5) == pytest.approx(1.0 * 0.49)
    assert found.area([fast, faster], 0.5) == pytest.approx(1.0 * 0.49 + 1.0 * 0.46)


def test_a_curve_is_what_the_strategy_holds_and_was_told() -> None:
    found = table(SPACES["conditional"])
    strategy = strategies.get("random", found.space, 0)
    assert isinstance(strategy, LedgerStrategy)
    shares = found.curve(strategy, 7, worst=1.0)
    told = strategy.ledger.measured()
    assert [(o.values[0], o.values[1]) for o in told] == [found.figures[o.decision] for o in told] and len(told) == 7
    held = [
        found.area([o.decision for o in told[: i + 1]], 1.0) / found.area(list(found.figures), 1.0) for i in range(7)
    ]
    assert shares == pytest.approx(held)


def test_strategies_are_told_the_operations() -> None:
    found = table(SPACES["conditional"])
    strategy = strategies.get("improvement", found.space, 0)
    assert isinstance(strategy, LedgerStrategy)
    found.curve(strategy, 3, worst=1.0)
    assert strategy.operations is not None and strategy.operations(Decision()) == 100.0


def test_hypervolumes_end_a_tenth_beyond_the_fastest_unless_that_loses_too_much() -> None:
    found = table(SPACES["four points"])
    drop = max(d for _, d in found.figures.values())
    assert found.worst_drop(1.0) == pytest.approx(1.1 * drop)
    assert found.worst_drop(0.5 * drop) == 0.5 * drop


def test_a_decision_of_another_space_is_refused() -> None:
    with pytest.raises(StudyError, match="no decision"):
        table(SPACES["four points"]).observe(Decision({"z:bits": 3}))


def test_an_incomplete_table_is_refused() -> None:
    with pytest.raises(StudyError, match="1 decisions of a space of 2"):
        Table(Space([Choice("a:bits", (4, 8), 8)]), {Decision(): (1.0, 0.0)}, {})


@pytest.mark.parametrize("damage", ["truncated", "absent", "other"])
def test_damaged_files(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "toy.json.gz"
    if damage != "absent":
        table(SPACES["four points"]).save(path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"no table")
    with pytest.raises(ArtifactError, match=r"toy\.json\.gz"):
        Table.load(path)
