"""A table with learning curves: read as it was written, and what it tells of operations."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up import curves

from whet.bench.simulation.curves import Curves
from whet.core.errors import ArtifactError
from whet.core.space import Decision


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = curves()
    table.save(tmp_path / "t.json.gz")
    read = Curves.load(tmp_path / "t.json.gz")
    assert read.rows == table.rows and read.ways == table.ways and read.costs == table.costs
    assert [c.lasting for c in read.space] == [c.lasting for c in table.space]
    (tmp_path / "t.json.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(ArtifactError, match="truncated"):
        Curves.load(tmp_path / "t.json.gz")


def test_operations_are_a_product_over_choices_of_what_each_leaves_a_layer() -> None:
    both = Decision({"layer0:width": 0.25, "layer1:width": 0.5})
    assert curves().operations(both) == pytest.approx(1e7 * (4 + 0.25 + 0.5) / 6)
    assert curves().operations({"network:int8": "all"}) == pytest.approx(1e7)
