"""Embeddings of weights are alike for every order of the hidden neurons."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from whet.core.errors import StudyError
from whet.search.predictors.metanetwork import Metanetwork, chain, stacked


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))


def permuted(module: nn.Sequential, order: list[int]) -> dict[str, torch.Tensor]:
    state = {k: v.clone() for k, v in module.state_dict().items()}
    state["0.weight"], state["0.bias"] = state["0.weight"][order], state["0.bias"][order]
    state["2.weight"] = state["2.weight"][:, order]
    return state


def test_the_order_of_hidden_neurons_does_not_matter_and_their_weights_do() -> None:
    torch.manual_seed(0)
    embed = Metanetwork().double()
    module = network(0)
    same, turned, other = embed(
        stacked([module.state_dict(), permuted(module, [4, 2, 0, 1, 3]), network(1).state_dict()])
    )
    torch.testing.assert_close(same, turned)
    assert not torch.allclose(same, other)


def test_the_order_of_outputs_does() -> None:
    torch.manual_seed(0)
    embed, state = Metanetwork().double(), network(0).state_dict()
    swapped = {**state, "2.weight": state["2.weight"].flip(0), "2.bias": state["2.bias"].flip(0)}
    one, other = embed(stacked([state, swapped]))
    assert not torch.allclose(one, other)


def test_architectures_are_stacked_apart_in_the_order_of_the_rows() -> None:
    wide = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 2)).state_dict()
    stacks = stacked([network(0).state_dict(), wide, network(1).state_dict()])
    assert [rows for rows, _ in stacks] == [[0, 2], [1]]
    assert stacks[0][1][0][0].shape == (2, 5, 3, 1)


def test_what_is_no_chain_is_named() -> None:
    with pytest.raises(StudyError, match=r"got 'running_mean' of shape \(4,\)"):
        chain({"weight": torch.zeros(4, 2), "running_mean": torch.zeros(4)})
    with pytest.raises(StudyError, match="got no weight"):
        chain({})
    with pytest.raises(StudyError, match=r"'2\.weight' reads 7 channels, not 5"):
        chain({"0.weight": torch.zeros(5, 3), "2.weight": torch.zeros(2, 7)})
