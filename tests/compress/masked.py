"""Networks that read a mask, of which tests of moments and of runs without padding take some."""

from __future__ import annotations

from torch import Tensor, nn


class Masked(nn.Module):
    """Tokens, of which a mask leaves some out of the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.write, self.read = nn.Linear(3, 40), nn.Linear(40, 2)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        y = self.read(self.write(x).relu()) * attention_mask.unsqueeze(-1)
        return y.sum(1) / attention_mask.sum(1, keepdim=True)


class MeanOfAll(Masked):
    """The same, with a mean that the mask leaves nothing out of."""

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        y: Tensor = self.read(self.write(x).relu())
        return y.mean(1) + attention_mask.mean(1, keepdim=True)
