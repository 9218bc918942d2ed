"""The mean of the weights of nets of one structure."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import whet
from whet.core.errors import SpecError
from whet.train.average import averaged


def lifted(seed: int, width: int = 4) -> whet.Net:
    torch.manual_seed(seed)
    return whet.lift(nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width)), (torch.zeros(2, 3),))


def test_the_outputs_of_a_linear_layer_are_averaged() -> None:
    inputs = torch.randn(5, 3)
    nets = [whet.lift(nn.Linear(3, 2), (inputs,)) for _ in range(3)]
    expected = torch.stack([net.module(inputs) for net in nets]).mean(0)
    torch.testing.assert_close(averaged(nets).module(inputs), expected)


def test_of_a_convex_loss_the_mean_has_at_most_the_mean() -> None:
    """Jensen's inequality; between the ends of a valley the mean is far better (Izmailov et al. 2018, figure 1)."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(64, 3), torch.randn(64, 2)
    nets = [whet.lift(nn.Linear(3, 2), (inputs,)) for _ in range(4)]
    losses = [nn.functional.mse_loss(n.module(inputs), targets).item() for n in (*nets, averaged(nets))]
    assert losses[-1] < sum(losses[:-1]) / 4


def test_nets_stay_as_they_were_and_counters_are_the_first_ones() -> None:
    nets = [lifted(0), lifted(1)]
    for net, steps in zip(nets, (3, 8), strict=True):
        for _ in range(steps):
            net.module.train()(torch.randn(4, 3))
    before = [{k: v.clone() for k, v in n.module.state_dict().items()} for n in nets]
    mean = averaged(nets).module.state_dict()
    counters = [name for name in mean if name.endswith("num_batches_tracked")]
    assert counters and all(int(mean[name]) == 3 for name in counters)
    for net, state in zip(nets, before, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in net.module.state_dict().items())


def test_other_structures_are_refused_by_the_tensor_that_differs() -> None:
    with pytest.raises(SpecError, match=r"'0\.weight' has shapes \[\(4, 3\), \(5, 3\)\]"):
        averaged([lifted(0), lifted(1, width=5)])
    plain, biased = (whet.lift(nn.Linear(3, 2, bias=bias), (torch.zeros(2, 3),)) for bias in (False, True))
    with pytest.raises(SpecError, match=r"'bias' has shapes \[None, \(2,\)\]"):
        averaged([plain, biased])
    with pytest.raises(SpecError, match="got none"):
        averaged([])


def test_statistics_of_batch_norms_are_averaged_as_weights_are() -> None:
    nets = [lifted(0), lifted(1), lifted(2)]
    for net in nets:
        net.module.train()(torch.randn(8, 3))
    mean = averaged(nets).module.state_dict()
    for name in ("1.running_mean", "1.running_var", "1.weight", "0.bias"):
        torch.testing.assert_close(mean[name], torch.stack([n.module.state_dict()[name] for n in nets]).mean(0))
    assert not torch.equal(mean["1.running_mean"], nets[0].module.state_dict()["1.running_mean"])
