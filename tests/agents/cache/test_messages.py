"""Messages between a cache and the process beside it: they come back as they were, and what is wrong is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.agents.cache.eviction import Question
from whet.agents.cache.messages import COLUMNS, Numbered, packed, size_bytes, sound, unpacked
from whet.agents.cache.store import FEATURES


@given(st.integers(1, 64), st.integers(0, 2**32 - 1), st.integers(0, 2**62))
def test_a_question_comes_back(candidates: int, number: int, needed: int) -> None:
    features = np.random.default_rng(0).normal(size=(candidates, COLUMNS)).astype(np.float32)
    data = packed(Numbered(number, Question(features, np.arange(candidates) << 33, needed)))
    found = unpacked(data)
    assert len(data) == size_bytes(candidates) and found.number == number and found.question.needed_bytes == needed
    assert np.array_equal(found.question.features, features)
    assert np.array_equal(found.question.sizes_bytes, np.arange(candidates) << 33)


def test_there_are_as_many_columns_as_features() -> None:
    assert len(FEATURES) == COLUMNS


@pytest.mark.parametrize("candidates, extra", [(0, 0), (65, 0), (4, 1)])
def test_bytes_that_are_no_question(candidates: int, extra: int) -> None:
    question = Question(np.zeros((candidates, 6), np.float32), np.ones(candidates, np.int64), 1)
    with pytest.raises(ValueError, match=f"no question of {candidates} candidates"):
        unpacked(packed(Numbered(1, question)) + bytes(extra))


@pytest.mark.parametrize(
    "mask, is_sound", [(0, False), (0b001, True), (0b011, True), (0b100, False), (0b1010, False), (1 << 63, False)]
)
def test_a_mask_names_what_is_there(mask: int, is_sound: bool) -> None:
    assert sound(mask, Question(np.zeros((3, 6), np.float32), np.array([2, 5, 0]), 4)) is is_sound
