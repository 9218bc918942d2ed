"""Made-up speech, and a network of convolutions and a GRU for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 8


class SpeechNet(nn.Module):
    """Spectra (batch, frequencies, frames) to scores of `CLASSES`: two convolutions, a layer norm and a GRU."""

    def __init__(self, frequencies: int = 12, width: int = 32, hidden: int = 64) -> None:
        super().__init__()
        self.first = nn.Conv1d(frequencies, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, 2, padding=2)
        self.norm = nn.LayerNorm(width)
        self.gru, self.out = nn.GRU(width, hidden, batch_first=True), nn.Linear(hidden, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (N, classes) of spectra (N, frequencies, frames)."""
        x = functional.gelu(self.second(functional.gelu(self.first(x))))
        outputs, _ = self.gru(self.norm(x.transpose(1, 2)))
        scores: Tensor = self.out(outputs.mean(1))
        return scores


def spectra(
    count: int, seed: int, frequencies: int = 12, frames: int = 24, noise: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Return spectra (count, frequencies, frames) in which a tone glides as its class says, late or soon, in noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    begin = torch.linspace(1, frequencies - 1, CLASSES)[labels, None]
    slope = torch.tensor([-6.0, 6.0]).repeat(CLASSES // 2)[labels, None]
    time = torch.linspace(0, 1, frames) - 0.4 * torch.rand(count, 1, generator=generator)
    tone = (begin + slope * time)[:, None] - torch.arange(frequencies)[:, None]
    noises = torch.randn(count, frequencies, frames, generator=generator)
    return torch.exp(-tone.square() / 2) * (time > 0)[:, None] + noise * noises, labels
