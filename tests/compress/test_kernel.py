"""Cropping kernels: what the whole kernel with zeros outside its centre gives, and what cannot be cropped."""

from __future__ import annotations

import pytest
import torch
from shared_nets import shared_net
from torch import nn

import whet
from whet.compress.kernel import Kernel
from whet.core.space import Decision
from whet.testing.passes import check
from whet.testing.runs import AlignedTarget, planning_run

TARGET = AlignedTarget()


@pytest.mark.parametrize("name", ["resnet20", "mobilenet", "unet"])
def test_conforms(name: str) -> None:
    net = shared_net(name)
    assert len(check(Kernel(), net, TARGET, planning_run(net), count=3))


@pytest.mark.parametrize(("kernel", "size", "stride", "dilation", "groups"),
                         [(3, 1, 1, 1, 1), (5, 3, 2, 1, 4), (7, 1, 2, 2, 8), (5, 1, 1, 2, 2)])  # fmt: skip
def test_a_crop_is_the_whole_kernel_with_zeros_outside_its_centre(
    kernel: int, size: int, stride: int, dilation: int, groups: int
) -> None:
    torch.manual_seed(0)
    padding = dilation * (kernel // 2)
    module = nn.Sequential(nn.Conv2d(8, 16, kernel, stride, padding, dilation, groups), nn.ReLU()).eval()
    net = whet.lift(module, (torch.randn(2, 8, 20, 20),))
    cropped = Kernel().apply(net, Decision({"0:kernel": size}), planning_run(net))
    silenced = net.copy()
    outside = torch.ones(kernel, kernel)
    spare = (kernel - size) // 2
    outside[spare : spare + size, spare : spare + size] = 0
    with torch.no_grad():
        silenced.layer("0").weight *= 1 - outside
        torch.testing.assert_close(cropped.net(*net.example), silenced(*net.example), rtol=1e-5, atol=1e-6)
    assert cropped.texts == {"0": f"kernel {kernel} cropped to {size}"}


def test_what_has_no_centre_to_crop_to_is_no_choice_and_skipped_with_its_reason() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.even, self.flat = nn.Conv2d(3, 4, 4), nn.Conv2d(4, 4, (3, 5), padding=(1, 2))
            self.bare, self.round = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.round(self.bare(self.flat(self.even(x))))
            return y

    net = whet.lift(Odd().eval(), (torch.randn(2, 3, 16, 16),))
    assert not len(Kernel().space(net, TARGET))
    names = {f"{n}:kernel": 1 for n in ("even", "flat", "bare")} | {"gone:kernel": 1}
    skipped = Kernel().apply(net, Decision(names), planning_run(net)).skipped
    assert "4x4" in skipped["even"] and "3x5" in skipped["flat"] and "padding (0, 0)" in skipped["bare"]
    assert "no such layer" in skipped["gone"]


def test_a_dilated_kernel_needs_as_much_padding_as_its_gaps_are_wide() -> None:
    """Cropping 3 to 1 at a dilation of 2 takes 2 off the padding: there must be as much."""
    for padding, values in ((1, ()), (2, (1, 3))):
        module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=padding, dilation=2)).eval()
        net = whet.lift(module, (torch.randn(2, 3, 16, 16),))
        (name,) = net.layers()
        assert tuple(v for choice in Kernel().space(net, TARGET) for v in choice.values) == values
        result = Kernel().apply(net, Decision({f"{name}:kernel": 1}), planning_run(net))
        assert bool(result.changed) == bool(values) and bool(result.skipped) != bool(values)


def test_no_kernel_is_smaller_than_the_smallest() -> None:
    net = whet.lift(nn.Sequential(nn.Conv2d(3, 4, 7, padding=3)).eval(), (torch.randn(2, 3, 16, 16),))
    offered = {smallest: [c.values for c in Kernel(smallest).space(net, TARGET)] for smallest in (1, 3, 5)}
    assert offered == {1: [(1, 3, 5, 7)], 3: [(3, 5, 7)], 5: [(5, 7)]}
