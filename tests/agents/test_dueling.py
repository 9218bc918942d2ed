"""The dueling head: its mean over actions is the state's value, whatever the advantages."""

from __future__ import annotations

import torch

from whet.agents.dueling import Dueling


def test_the_mean_over_actions_is_the_value() -> None:
    torch.manual_seed(0)
    head, x = Dueling(6, 3, 2), torch.randn(5, 6)
    found = head(x)
    assert found.shape == (5, 3, 2)
    assert torch.allclose(found.mean(1), head.value(x), atol=1e-6)
    apart = head.advantage(x).view(5, 3, 2)
    assert torch.allclose(found[:, 0] - found[:, 2], apart[:, 0] - apart[:, 2], atol=1e-6)


def test_a_constant_in_all_advantages_changes_nothing() -> None:
    torch.manual_seed(0)
    head, x = Dueling(6, 3, 1), torch.randn(5, 6)
    before = head(x)
    with torch.no_grad():
        head.advantage.bias += 7.0
    assert torch.allclose(head(x), before, atol=1e-5)


def test_by_row_an_action_is_told_by_its_own_row_and_the_value_by_their_mean() -> None:
    torch.manual_seed(0)
    head, x = Dueling(6, 3, 2, by_row=True), torch.randn(5, 3, 6)
    found, order = head(x), [2, 0, 1]
    assert found.shape == (5, 3, 2)
    assert torch.allclose(found.mean(1), head.value(x.mean(1)), atol=1e-6)
    assert torch.allclose(head(x[:, order]), found[:, order], atol=1e-6)
