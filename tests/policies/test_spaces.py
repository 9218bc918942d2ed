"""Spaces: room for observations, and that one of another form is refused by the environment's name."""

from __future__ import annotations

import numpy as np
import pytest

from whet.policies.spaces import AgentError, Spaces


def test_room_is_of_the_observations_own_type() -> None:
    assert (
        Spaces((2, 3), "uint8", 4).empty(5).shape == (5, 2, 3) and Spaces((2,), "uint8", 4).empty(1).dtype == np.uint8
    )


def test_a_state_is_counted_from_the_first() -> None:
    row = np.ones(3, np.float32)
    Spaces((3,), "float32", 2, states=3, first_observation=5).write(6, row, "toy")
    assert row.tolist() == [0, 1, 0]


def test_other_observations_are_refused() -> None:
    spaces = Spaces((2,), "float32", 2)
    with pytest.raises(AgentError, match="'toy' gave an observation of shape"):
        spaces.write(np.zeros(3), spaces.empty(), "toy")
    with pytest.raises(AgentError, match="'toy' gave an observation that is not finite"):
        spaces.write(np.array([0.0, np.inf]), spaces.empty(), "toy")
