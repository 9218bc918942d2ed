"""Bias correction without data: means of rectified normals, of sums, and of what rounding adds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.compress.quantize.data_free import expected, rectified
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.net import Net
from whet.core.space import Decision
from whet.testing.runs import planning_run


class Two(nn.Module):
    """Two norms whose rectified outputs are added, rectified again, and read by a convolution and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        for norm in (self.first, self.second):
            norm.weight.data, norm.bias.data = torch.rand(8) + 0.5, torch.randn(8)
        self.conv, self.alone = nn.Conv2d(8, 12, 3, groups=2, bias=False), nn.Conv2d(8, 12, 3)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        one, other = self.first(x).relu(), self.second(y)
        both = (one + other).relu()
        return self.conv(one), self.alone(one + other), self.head(both.mean([2, 3]))


def two() -> Net:
    torch.manual_seed(0)
    return whet.lift(Two().eval(), (torch.randn(2, 8, 3, 3), torch.randn(2, 8, 3, 3)))


def test_a_rectified_normal_has_these_moments() -> None:
    """They are integrals over the density, of which these are sums over a fine grid."""
    z = torch.linspace(-9, 9, 20001, dtype=torch.float64)
    weight = torch.exp(-z.square() / 2) / torch.exp(-z.square() / 2).sum()
    for mean, variance in ((0.7, 2.0), (-1.5, 0.5), (0.0, 1.0)):
        x = (mean + variance**0.5 * z).clamp(min=0)
        first = (weight * x).sum()
        found = rectified(*torch.tensor([mean, variance], dtype=torch.float64))
        assert torch.allclose(torch.stack(found), torch.stack([first, (weight * (x - first) ** 2).sum()]), atol=1e-6)
    never = rectified(torch.tensor([-1.0, 2.0]), torch.zeros(2))
    assert torch.allclose(torch.stack(never), torch.tensor([[0.0, 2.0], [0.0, 0.0]]), atol=1e-6)


@pytest.mark.parametrize("rounding", ["nearest", "similarity"])
def test_outputs_keep_their_means_where_the_norms_tell_the_truth(rounding: str) -> None:
    net = two()
    given = torch.randn(2, 20000, 8, 3, 3, generator=torch.Generator().manual_seed(1))
    run, decision = planning_run(net), Decision({NETWORK: "int3"})
    with torch.no_grad():
        wanted = [y.flatten(2).mean((0, 2)) if y.dim() > 2 else y.mean(0) for y in net(*given)]
        off = []
        for corrected in (False, True):
            small = WeightOnly(rounding=rounding, corrected=corrected).apply(net, decision, run).net.eval()
            means = [y.flatten(2).mean((0, 2)) if y.dim() > 2 else y.mean(0) for y in small(*given)]
            off.append([float((a - b).square().mean().sqrt()) for a, b in zip(means, wanted, strict=True)])
    before, after = off
    assert after[0] < 0.05 * before[0] and after[1] < 0.05 * before[1], "normal inputs, sums of independent ones"
    assert after[2] < 0.35 * before[2], "what is rectified twice is no normal any more"


def test_means_go_through_sums_and_means() -> None:
    net = two()
    found = expected(net)
    given = torch.randn(2, 4000, 8, 3, 3, generator=torch.Generator().manual_seed(2))
    first, second = (net.layer(n)(x).detach() for n, x in zip(("first", "second"), given, strict=True))
    both = (first.relu() + second).relu().mean((0, 2, 3)).double()
    assert torch.allclose(found["mean_dim"] if "mean_dim" in found else found["mean"], both, atol=0.06)


def test_without_norms_biases_are_kept_and_without_data_nothing_is_missing() -> None:
    net = two()
    bare = planning_run(net)
    bare = replace(bare, task=replace(bare.task, train=None, calibration=None))
    method, decision = WeightOnly(rounding="nearest", corrected=True), Decision({NETWORK: "int4"})
    result = method.apply(net, decision, bare)
    assert set(result.texts) == {"conv", "alone", "head"} and set(result.texts.values()) == {"int4, bias corrected"}
    assert result.net.layer("conv").bias is not None and net.layer("conv").bias is None
    plain = whet.lift(nn.Sequential(nn.Linear(64, 7)).eval(), (torch.randn(2, 64),))
    result = method.apply(plain, decision, planning_run(plain))
    assert result.texts == {"0": "int4, bias kept: no batch norm tells the mean of what it reads"}
    assert torch.equal(result.net.layer("0").get_parameter("bias"), plain.layer("0").get_parameter("bias"))
