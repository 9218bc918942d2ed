"""Generalized advantage estimation, and the lambda-returns that go with it."""

from __future__ import annotations

import numpy as np

from whet.policies.spaces import Array


def advantages(
    rewards: Array, values: Array, following: Array, terminated: Array, ended: Array, discount: float, trace: float
) -> Array:
    r"""Return the advantages of T steps in N environments, shape (T, N), as are all arrays that are given.

    :math:`\hat A_t = \sum_{k \ge 0} (\gamma \lambda)^k \delta_{t+k}` with
    :math:`\delta_t = r_t + \gamma V(s_{t+1}) - V(s_t)`, within an episode. `following` holds :math:`V(s_{t+1})` of
    what was come to, so where a time limit cut an episode off its value counts, and where one terminated it does not.
    `trace` is lambda: 0 gives the one-step error, 1 the return less the value. Advantages plus values are targets for
    the values, the lambda-returns.

    Schulman, Moritz, Levine, Jordan and Abbeel (2016), High-Dimensional Continuous Control Using Generalized Advantage
    Estimation.

    >>> steps = [np.array([[1.0], [1.0]]), np.zeros((2, 1)), np.zeros((2, 1))]
    >>> ends = np.array([[False], [True]])
    >>> advantages(*steps, ends, ends, discount=0.5, trace=1.0).tolist()
    [[1.5], [1.0]]
    """
    errors = rewards + discount * following * ~terminated - values
    found, last = np.zeros_like(errors), np.zeros_like(errors[0])
    for t in range(len(errors) - 1, -1, -1):
        last = errors[t] + discount * trace * ~ended[t] * last
        found[t] = last
    return found


def lambda_returns(
    rewards: Array, following: Array, terminated: Array, ended: Array, discount: float, trace: float
) -> Array:
    r"""Return the lambda-returns of T steps in N environments, shape (T, N), as are all arrays that are given.

    :math:`R_t = r_t + \gamma (\lambda R_{t+1} + (1 - \lambda) V(s_{t+1}))`. Where an episode
    terminated nothing is added to the reward; where it was cut off, and behind the last step, V alone
    is. `following` holds V of what was come to. These are the advantages plus the values, where the values of
    `advantages` are those of what was come to one step before.

    >>> none = np.array([[False], [False]])
    >>> lambda_returns(np.ones((2, 1)), np.full((2, 1), 8.0), none, none, discount=0.5, trace=0.5).tolist()
    [[4.25], [5.0]]
    """
    found = np.zeros_like(rewards)
    for t in range(len(rewards) - 1, -1, -1):
        if t + 1 < len(rewards):
            mixed = trace * found[t + 1] + (1 - trace) * following[t]
            later = np.where(ended[t], following[t], mixed)
        else:
            later = following[t]
        found[t] = rewards[t] + discount * later * ~terminated[t]
    return found
