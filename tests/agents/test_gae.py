"""Generalized advantages: the limits of lambda, and episodes that do not reach into each other."""

from __future__ import annotations

import numpy as np

from whet.agents.gae import advantages, lambda_returns

RNG = np.random.default_rng(0)
REWARDS, VALUES, FOLLOWING = (RNG.normal(size=(6, 2)) for _ in range(3))
ENDED = np.zeros((6, 2), bool)
ENDED[2, 0] = ENDED[4, 0] = True
TERMINATED = ENDED.copy()
TERMINATED[4] = False


def by_definition(discount: float, trace: float) -> np.ndarray:
    """Return the sum of (discount trace)^k delta_(t+k) up to the end of the episode or of the steps."""
    deltas = REWARDS + discount * np.where(TERMINATED, 0, FOLLOWING) - VALUES
    found = np.zeros_like(deltas)
    for t in range(6):
        for n in range(2):
            for k in range(t, 6):
                found[t, n] += (discount * trace) ** (k - t) * deltas[k, n]
                if ENDED[k, n]:
                    break
    return found


def test_it_is_the_sum_of_the_paper_within_episodes() -> None:
    for trace in (0.0, 0.5, 0.95, 1.0):
        found = advantages(REWARDS, VALUES, FOLLOWING, TERMINATED, ENDED, 0.9, trace)
        assert np.allclose(found, by_definition(0.9, trace))


def test_lambda_one_is_the_return_less_the_value() -> None:
    none, values = np.zeros((3, 1), bool), np.array([[1.0], [2.0], [3.0]])
    following = np.array([[2.0], [3.0], [10.0]])
    found = advantages(np.ones((3, 1)), values, following, none, none, 0.5, 1.0)
    assert np.allclose(found + values, [[1 + 0.5 + 0.25 + 1.25], [1 + 0.5 + 2.5], [1 + 5.0]])


def test_lambda_returns_are_advantages_and_values() -> None:
    """Where the values of one step are those of what the step before came to, both recursions are one."""
    values = np.concatenate([VALUES[:1], FOLLOWING[:-1]])
    gained = advantages(REWARDS, values, FOLLOWING, TERMINATED, ENDED, 0.9, 0.7)
    assert np.allclose(lambda_returns(REWARDS, FOLLOWING, TERMINATED, ENDED, 0.9, 0.7), gained + values)
