"""MobileNetV2 (Sandler et al. 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks)."""

from __future__ import annotations

from torch import Tensor, nn

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and stride of each stage: the paper's table 2."""


def _conv(inside: int, outside: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outside)]


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to the input where the shape allows it."""

    def __init__(self, inside: int, outside: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inside * expansion
        expand = [*_conv(inside, hidden), nn.ReLU6()] if expansion > 1 else []
        self.conv = nn.Sequential(
            *expand, *_conv(hidden, hidden, 3, stride, hidden), nn.ReLU6(), *_conv(hidden, outside)
        )
        self.residual = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outside, H', W') of (N, inside, H, W)."""
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Input `(N, 3, size, size)`, output `(N, classes)`; for 32x32 images the first two strides are one."""

    def __init__(self, classes: int = 1000, width: float = 1.0, size: int = 224) -> None:
        super().__init__()
        small = size < 64
        inside = _rounded(32 * width)
        layers = [nn.Sequential(*_conv(3, inside, 3, 1 if small else 2), nn.ReLU6())]
        for index, (expansion, channels, blocks, stride) in enumerate(STAGES):
            outside = _rounded(channels * width)
            for block in range(blocks):
                step = stride if block == 0 and not (small and index == 1) else 1
                layers.append(nn.Sequential(InvertedResidual(inside, outside, step, expansion)))
                inside = outside
        last = _rounded(1280 * max(width, 1.0))
        layers.append(nn.Sequential(*_conv(inside, last), nn.ReLU6()))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) of images (N, 3, size, size)."""
        y: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return y


def _rounded(channels: float) -> int:
    """Return the multiple of eight nearest to `channels`, never more than a tenth below it."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
