"""Distances go from none at the identity to one, in proportion where values are numbers."""

import pytest

from whet.core.space import Choice
from whet.decisions.distance import distance


def test_numbers_are_as_far_as_their_difference_and_others_all_the_way() -> None:
    blocks = Choice("a:blocks", (0, 1, 2, 3), 3)
    assert [distance(blocks, v) for v in blocks.values] == pytest.approx([1, 2 / 3, 1 / 3, 0])
    runtime = Choice("a:name", ("one", "other"), "one")
    assert [distance(runtime, v) for v in ("one", "other")] == [0.0, 1.0]
    assert distance(Choice("a:bits", (8,), 8), 8) == 0.0
