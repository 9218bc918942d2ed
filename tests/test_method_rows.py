"""The rows are distinct, name what is there, and what stands beside them belongs to one of them."""

from __future__ import annotations

from importlib.util import find_spec

from whet.method_rows import MISSING, REACH, ROWS

NAMES = [name for name, *_ in ROWS]


def test_rows_are_distinct_and_their_modules_exist() -> None:
    assert len(set(NAMES)) == len(NAMES) and len({where for _, where, *_ in ROWS}) == len(ROWS)
    assert [where for _, where, *_ in ROWS if find_spec(where.partition(":")[0]) is None] == []


def test_what_stands_beside_the_rows_belongs_to_one_of_them() -> None:
    assert {*REACH, *MISSING} <= set(NAMES)
