from __future__ import annotations

import pytest
import torch
from torch import nn
from written import check, written

from whet.hardware.onnx_writer import Unwritten

IMAGE = torch.randn(2, 8, 9, 12, generator=torch.Generator().manual_seed(0))
LAYERS: dict[str, nn.Module] = {
    "convolution": nn.Conv2d(8, 6, 3, 2, 1, dilation=2, groups=2),
    "padded to the same size": nn.Conv2d(8, 6, 4, padding="same", dilation=2),
    "transposed": nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1, groups=2),
    "batch norm": nn.Sequential(nn.ReLU(), nn.BatchNorm2d(8)),
    "batch norm without gain": nn.Sequential(nn.ReLU(), nn.BatchNorm2d(8, affine=False)),
    "group norm": nn.GroupNorm(2, 8),
    "instance norm": nn.InstanceNorm2d(8, affine=True),
    "layer norm": nn.LayerNorm([9, 12]),
    "layer norm without shift": nn.LayerNorm(12, bias=False),
    "root mean square norm": nn.RMSNorm(12),
    "largest of windows": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "mean of windows": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "mean of all": nn.AdaptiveAvgPool2d(1),
    "adaptive mean": nn.AdaptiveAvgPool2d((3, 4)),
    "dropout": nn.Dropout2d(0.5),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "within"])
def test_layers(name: str, alone: bool) -> None:
    """A layer within another is a layer of the net; one that is the whole network is an operator of it."""
    torch.manual_seed(0)
    layer = LAYERS[name]
    for parameter in layer.parameters():
        nn.init.normal_(parameter, 0.3)
    for part in layer.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean, part.running_var = torch.randn(8), torch.rand(8) + 0.5
    check(layer if alone else nn.Sequential(nn.Tanh(), layer, nn.Tanh()), IMAGE)


@pytest.mark.parametrize("rank", [1, 3])
def test_convolutions_of_other_ranks(rank: int) -> None:
    x = torch.randn(2, 4, *[6] * rank)
    check(nn.Sequential(getattr(nn, f"Conv{rank}d")(4, 3, 3, padding=1), nn.ReLU()), x)


def test_embeddings() -> None:
    check(nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 3)), torch.tensor([[1, 2, 6], [0, 3, 3]]))


@pytest.mark.parametrize("layer", [nn.AvgPool2d(2, 2, ceil_mode=True), nn.AdaptiveAvgPool2d((4, 5))])
def test_windows_that_onnx_averages_otherwise_are_left_to_the_exporter(layer: nn.Module) -> None:
    with pytest.raises(Unwritten, match="windows"):
        written(nn.Sequential(nn.Tanh(), layer), IMAGE[..., :9, :11])
