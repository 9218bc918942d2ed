"""A recurrent language model (Hochreiter and Schmidhuber 1997, Long Short-Term Memory)."""

from __future__ import annotations

from torch import Tensor, nn


class LSTM(nn.Module):
    """Input `(N, context)` of token numbers, output logits `(N, context, vocabulary)`."""

    def __init__(self, vocabulary: int, width: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (N, context, vocabulary) of the characters that follow `tokens` (N, context)."""
        logits: Tensor = self.head(self.lstm(self.embed(tokens))[0])
        return logits
