"""DS-CNN for spoken keywords (Zhang et al. 2017, Hello Edge: Keyword Spotting on Microcontrollers)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class DSCNN(nn.Module):
    """Depthwise separable convolutions over a spectrogram `(N, 1, 49, 10)`; output `(N, classes)`."""

    def __init__(self, classes: int = 12, channels: int = 64, blocks: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, (10, 4), (2, 2), (5, 1), bias=False)
        self.stem_norm = nn.BatchNorm2d(channels)
        self.depthwise = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False) for _ in range(blocks)
        )
        self.depthwise_norm = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(blocks))
        self.pointwise = nn.ModuleList(nn.Conv2d(channels, channels, 1, bias=False) for _ in range(blocks))
        self.pointwise_norm = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(blocks))
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) of spectrograms (N, 1, 49, 10)."""
        x = functional.relu(self.stem_norm(self.stem(x)))
        layers = zip(self.depthwise, self.depthwise_norm, self.pointwise, self.pointwise_norm, strict=True)
        for depthwise, depthwise_norm, pointwise, pointwise_norm in layers:
            x = functional.relu(depthwise_norm(depthwise(x)))
            x = functional.relu(pointwise_norm(pointwise(x)))
        logits: Tensor = self.head(self.dropout(x.mean((2, 3))))
        return logits
