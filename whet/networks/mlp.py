"""A multi-layer perceptron with residual blocks for tables (Gorishniy et al. 2021, Revisiting Deep Learning Models
for Tabular Data, without its dropout)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class MLPBlock(nn.Module):
    """`x + f(norm(x))` with one hidden layer."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return x + f(norm(x)), shapes (N, width)."""
        y: Tensor = x + self.contract(functional.relu(self.expand(self.norm(x))))
        return y


class MLP(nn.Module):
    """Input `(N, features)`, output `(N, outputs)`."""

    def __init__(self, features: int, outputs: int = 1, width: int = 256, hidden: int = 512, blocks: int = 4) -> None:
        super().__init__()
        self.stem = nn.Linear(features, width)
        self.blocks = nn.Sequential(*(MLPBlock(width, hidden) for _ in range(blocks)))
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs) of rows (N, features)."""
        y: Tensor = self.head(functional.relu(self.norm(self.blocks(self.stem(x)))))
        return y
