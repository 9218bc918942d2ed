"""How actions are chosen: as often as the probabilities say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from whet.core.checks import ValueRangeError
from whet.policies.exploration import Falling, epsilon_greedy, greedy, sampled

ROWS = 20_000
SCORES = torch.tensor([[0.0, 2.0, 1.0]]).expand(ROWS, 3)


def shares(actions: np.ndarray) -> np.ndarray:
    return np.bincount(actions, minlength=3) / ROWS


def test_anyone_with_epsilon_and_the_best_otherwise() -> None:
    found = shares(epsilon_greedy(SCORES, 0.3, torch.Generator().manual_seed(0)))
    assert np.abs(found - np.array([0.1, 0.8, 0.1])).max() < 4 * np.sqrt(0.25 / ROWS)
    assert shares(greedy(SCORES)).tolist() == [0, 1, 0]


def test_what_is_not_legal_is_never_taken() -> None:
    legal = torch.tensor([[True, False, True]]).expand(ROWS, 3)
    found = shares(epsilon_greedy(SCORES, 0.3, torch.Generator().manual_seed(0), legal))
    assert np.abs(found - np.array([0.15, 0.0, 0.85])).max() < 4 * np.sqrt(0.25 / ROWS) and found[1] == 0


def test_samples_are_of_the_softmax() -> None:
    found = shares(sampled(SCORES, torch.Generator().manual_seed(0)))
    assert np.abs(found - SCORES[0].softmax(0).numpy()).max() < 4 * np.sqrt(0.25 / ROWS)


def test_a_number_that_falls() -> None:
    assert Falling(1.0, 0.0, 0.0).at(0.0) == 0.0 and Falling(1.0, 0.0, 1.0).at(0.25) == 0.75
    with pytest.raises(ValueRangeError, match="explore_for must lie in"):
        Falling(1.0, 0.1, 2.0)
