"""Which layers hold zeros, which weights are the largest, and how many numbers a file stores."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from whet.graph.zeros import (
    chosen,
    held_weights,
    hold,
    holds,
    largest,
    largest_of_groups,
    masked,
    numbers_stored,
    sites,
    sparser,
    zeros_of,
)  # fmt: skip


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Conv1d(8, 4, 1), nn.LayerNorm(4))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_what_is_left_is_larger_than_all_that_goes(share: float) -> None:
    weights = {n: p for n, p in network().named_parameters() if p.dim() > 1}
    left = largest(weights, share)
    kept, gone = (torch.cat([w[m == state].abs() for w, m in zip(weights.values(), left.values(), strict=True)])
                  for state in (True, False))  # fmt: skip
    assert len(gone) == int(share * 96 + 0.5)
    assert not len(gone) or not len(kept) or gone.max() <= kept.min()
    assert all(left[n].shape == w.shape for n, w in weights.items())


def test_of_equal_magnitudes_the_first_go() -> None:
    assert largest({"a": torch.tensor([[1.0, -1.0, 1.0, -1.0]])}, 0.5)["a"].tolist() == [[False, False, True, True]]


def test_groups_follow_one_another_in_an_output_and_must_divide_it() -> None:
    weight = torch.randn(4, 8, 3, generator=torch.Generator().manual_seed(0))
    left = largest_of_groups(weight, 0.5, 4)
    assert left.shape == weight.shape and (left.view(4, 6, 4).sum(-1) == 2).all()
    kept = (weight.abs() * left).view(-1, 4).sum(-1)
    torch.testing.assert_close(kept, weight.abs().view(-1, 4).topk(2).values.sum(-1))
    with pytest.raises(ValueError, match="groups of 5 do not divide the 24 weights"):
        largest_of_groups(weight, 0.5, 5)


def test_weights_are_ranked_together_each_layer_alone_or_in_groups() -> None:
    weights = {"small": torch.arange(1.0, 9.0).view(2, 4) / 100, "large": torch.arange(1.0, 7.0).view(2, 3)}
    assert not chosen(weights, 0.5)["small"][:, :3].any() and chosen(weights, 0.5)["large"].all()
    each = chosen(weights, 0.5, each=True)
    assert [int(m.sum()) for m in each.values()] == [4, 3]
    assert list(chosen(weights, 0.5, group=2)) == ["small"], "three weights an output are no pairs"
    assert chosen({}, 0.5) == {}


def test_a_copy_holds_its_zeros_and_their_number_is_that_of_its_weight_alone() -> None:
    module = network()
    weights = {name: module.get_submodule(name).get_parameter("weight") for name in ("0", "2")}
    masked(weights, {"0": torch.arange(64).view(8, 8) % 4 == 0})
    assert zeros_of(module[0]) == 0, "a layer that is not marked holds none"
    hold(module[0])
    twin = copy.deepcopy(module)
    assert holds(twin[0]) and not holds(twin[2]) and zeros_of(twin[0]) == 48
    assert list(held_weights(twin)) == ["0"] and (module[2].weight != 0).all()
    assert sparser(twin, network()) == {"0"} and sparser(twin, module) == set()


def test_zeros_that_are_held_are_not_stored_but_for_a_bit_each_weight() -> None:
    module = network()
    dense = sum(p.numel() for p in module.parameters())
    masked({"0": module[0].weight}, {"0": torch.arange(64).view(8, 8) % 4 == 0})
    assert numbers_stored(module) == dense
    hold(module[0])
    assert numbers_stored(module) == dense - 48 + 64 / 32
    hold(module[2])
    assert numbers_stored(module) == dense - 48 + 2, "a layer without zeros is not made larger"


def test_sites_are_plain_layers_of_enough_weights() -> None:
    layers = dict(network().named_children())
    assert sites(layers, 32) == ["0", "2"] and sites(layers, 33) == ["0"] and sites(layers, 65) == []
