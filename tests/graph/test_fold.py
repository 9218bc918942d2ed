from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import whet
from whet.graph.fake_quantize import QuantizedConv2d, quantize_weight
from whet.graph.fold import fold_batch_norms
from whet.graph.grids import Grid


def disturbed(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.weight, layer.bias):
                nn.init.normal_(tensor, 0.3, 0.5)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return module.eval()


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(3, 8, 3, bias=False)
        self.plain_norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, groups=4)
        self.grouped_norm = nn.BatchNorm2d(8, affine=True)
        self.branching = nn.Conv2d(8, 6, 1)
        self.branch_norm = nn.BatchNorm2d(6)
        self.linear = nn.Linear(6, 5)
        self.linear_norm = nn.BatchNorm1d(5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped_norm(self.grouped(torch.relu(self.plain_norm(self.plain(x)))))
        y = self.branching(x)
        z = self.branch_norm(y) + y
        return self.linear_norm(self.linear(z.mean((2, 3))))


def test_outputs_stay_and_norms_go_where_they_can() -> None:
    net = whet.lift(disturbed(Mixed()), torch.randn(2, 3, 9, 9))
    folded = fold_batch_norms(net)
    norms = [n for n, m in folded.layers().items() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert norms == ["branch_norm"], "its convolution's output is read elsewhere too"
    x = torch.randn(4, 3, 9, 9)
    torch.testing.assert_close(folded(x), net(x), rtol=1e-5, atol=1e-5)
    assert len([m for m in net.layers().values() if isinstance(m, nn.BatchNorm2d)]) == 3, "the input was changed"


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.first, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.conv(self.first(self.conv(x))))


def test_a_layer_called_twice_is_left() -> None:
    net = whet.lift(disturbed(Shared()), torch.randn(2, 4, 5, 5))
    folded = fold_batch_norms(net)
    assert list(folded.layers()) == list(net.layers())
    x = torch.randn(3, 4, 5, 5)
    assert torch.equal(folded(x), net(x))


@pytest.mark.parametrize("grid", [Grid(4), Grid(4, group=12)], ids=lambda g: g.name)
def test_an_integer_weight_keeps_its_integers_and_takes_the_sign_of_the_norm(grid: Grid) -> None:
    module = disturbed(nn.Sequential(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)))
    module[1].weight.data[2] = -0.7  # type: ignore[index, union-attr]
    net = whet.lift(module, torch.randn(2, 4, 5, 5))
    net.module.set_submodule("0", quantize_weight(net.layer("0"), grid))
    folded = fold_batch_norms(net.settle())
    before, after = net.layer("0"), folded.layer("0")
    assert list(folded.layers()) == ["0"] and isinstance(before, QuantizedConv2d) and isinstance(after, QuantizedConv2d)
    q, p = (grid.integers(m.weight, m.weight_scale) for m in (before, after))
    sign = net.layer("1").get_parameter("weight").sign().view(6, 1, 1, 1)
    assert torch.equal(q * sign.to(torch.int8), p) and (after.weight_scale > 0).all()
    x = torch.randn(3, 4, 5, 5)
    torch.testing.assert_close(folded(x), net(x), rtol=1e-5, atol=1e-5)
