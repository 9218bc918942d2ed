"""Which action's value a target takes: the highest of one network, or chosen by one and valued by another."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from whet.policies.values import of_actions

Mean = Callable[[Tensor], Tensor]
"""What makes scores of actions (B, actions) of outputs (B, actions, outputs)."""


def highest(target: Tensor, expected: Mean) -> Tensor:
    r"""Return what the target network tells of the action that it values most: :math:`\max_a Q(s', a; \theta^-)`.

    Shapes: outputs (B, actions, outputs) to (B, outputs).
    """
    return of_actions(target, expected(target).argmax(1))


def double(target: Tensor, online: Tensor, expected: Mean) -> Tensor:
    r"""Return what the target network tells of the action that the other values most.

    :math:`Q(s', \arg\max_a Q(s', a; \theta); \theta^-)`: the maximum of noisy values is too high on average, and one
    network's noise is not the other's.

    Shapes: outputs of both networks (B, actions, outputs) to (B, outputs).
    van Hasselt, Guez and Silver (2016), Deep Reinforcement Learning with Double Q-learning.
    """
    return of_actions(target, expected(online).argmax(1))
