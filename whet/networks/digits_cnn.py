"""A small residual network for scikit-learn's 8x8 digits."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class DigitsBlock(nn.Module):
    """`relu(x + f(x))` with two 3x3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x + f(x)), of the shape of x: (N, C, H, W)."""
        return functional.relu(x + self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x))))))


class DigitsCNN(nn.Module):
    """Two stages of residual blocks; input `(N, 1, 8, 8)`, output `(N, 10)`."""

    def __init__(self, channels: int = 32, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.stage1 = nn.Sequential(*(DigitsBlock(channels) for _ in range(blocks)))
        self.down = nn.Conv2d(channels, 2 * channels, 3, 2, 1, bias=False)
        self.down_norm = nn.BatchNorm2d(2 * channels)
        self.stage2 = nn.Sequential(*(DigitsBlock(2 * channels) for _ in range(blocks)))
        self.head = nn.Linear(2 * channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, 10) of images (N, 1, 8, 8)."""
        x = self.stage1(functional.relu(self.norm(self.stem(x))))
        x = self.stage2(functional.relu(self.down_norm(self.down(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def digits_cnn() -> DigitsCNN:
    """Return the network of the `digits` task."""
    return DigitsCNN()
