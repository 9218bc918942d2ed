"""Prioritized replay: how often each row is drawn, and what it counts, are the paper's formulas."""

from __future__ import annotations

import numpy as np
import torch

from whet.agents.prioritized import SMALLEST, Prioritized
from whet.policies.replay import Transitions
from whet.policies.spaces import Spaces

SPACES = Spaces((1,), "float32", 2)
ERRORS = np.array([0.1, -3.0, 0.5, 1.0, 0.0])


def buffer(alpha: float = 0.6) -> Prioritized:
    found = Prioritized(SPACES, 7, alpha)
    zeros = np.zeros((5, 1), np.float32)
    found.add(Transitions(zeros, np.zeros(5, np.int64), zeros[:, 0], zeros, zeros[:, 0]))
    found.update(np.arange(5), ERRORS)
    return found


def chances(alpha: float) -> np.ndarray:
    priorities = (np.abs(ERRORS) + SMALLEST) ** alpha
    return priorities / priorities.sum()


def test_rows_are_drawn_by_their_priorities() -> None:
    found, draws = buffer(), 40_000
    counts = np.bincount(found.drawn(draws, torch.Generator().manual_seed(0)), minlength=5)
    expected = draws * chances(0.6)
    assert len(counts) == 5 and np.abs(counts - expected).max() <= 2, "a draw from each of equal parts hardly varies"
    small = [found.drawn(4, torch.Generator().manual_seed(seed)) for seed in range(2000)]
    few = np.bincount(np.concatenate(small), minlength=5)
    assert np.abs(few - 8000 * chances(0.6)).max() < 4 * np.sqrt(8000) / 2


def test_what_is_drawn_often_counts_less() -> None:
    weights = buffer().weights(np.array([0, 1, 2]), beta=0.4)
    by_hand = (5 * chances(0.6)[[0, 1, 2]]) ** -0.4
    assert np.allclose(weights, by_hand / by_hand.max()) and weights.max() == 1
    full = buffer().weights(np.array([0, 1, 2]), beta=1.0) * chances(0.6)[[0, 1, 2]]
    assert np.allclose(full, full[0]), "with beta 1 the draw's bias is gone: weight times chance is the same for all"


def test_what_is_new_has_the_largest_priority_so_far() -> None:
    found = buffer()
    one = np.zeros((1, 1), np.float32)
    rows = found.add(Transitions(one, np.zeros(1, np.int64), one[0], one, one[0]))
    assert rows.tolist() == [5] and found.sums[found.leaves + 5] == np.float64(3 + SMALLEST) ** 0.6
    assert np.isclose(found.sums[1], found.sums[found.leaves :].sum())


def test_alpha_zero_is_uniform() -> None:
    assert np.allclose(buffer(0.0).weights(np.arange(5), 1.0), 1.0)


def test_it_comes_back() -> None:
    ours, other = buffer(), Prioritized(SPACES, 7)
    other.restore({k: v.clone() for k, v in ours.tensors().items()})
    assert np.array_equal(other.sums, ours.sums) and other.largest == ours.largest == 3 + SMALLEST and len(other) == 5
