"""Inputs scaled by means and deviations: those that a user names, or those of the training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from whet.data.sources.source import Part


@dataclass(frozen=True)
class Scaled:
    """Makes `(x * scale - mean) / std` of a batch; both have one number for all, or one for each entry of axis 1."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1.0

    def __call__(self, batch: Tensor) -> Tensor:
        """Return a batch of shape (N, C, ...) as floats of the same shape."""
        mean, std = (torch.tensor(values).view(-1, *[1] * (batch.dim() - 2)) for values in (self.mean, self.std))
        return (batch.float() * self.scale - mean) / std

    def __str__(self) -> str:
        scaled = "x" if self.scale == 1 else f"x / {1 / self.scale:.6g}"
        less = f"({scaled} - {_numbers(self.mean)})" if any(self.mean) else scaled
        return f"{less} / {_numbers(self.std)}" if any(value != 1 for value in self.std) else less


def _numbers(values: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"


def standardized(parts: Mapping[str, Part], targets: bool) -> dict[str, Part]:
    """Return the parts with each column of inputs of mean 0 and deviation 1 by the training rows.

    Inputs of the shape (rows, columns) are scaled, of `targets` those that are plain numbers, shape (rows, ...).
    """
    by = next(iter(parts.values()))
    found = dict(parts)
    for name, values in by.inputs.items():
        if isinstance(values, Tensor) and values.dim() == 2 and values.is_floating_point():
            scale = _scale(values)
            for split, part in found.items():
                given = part.inputs[name]
                assert isinstance(given, Tensor)
                found[split] = replace(part, inputs={**part.inputs, name: scale(given)})
    if targets and by.targets is not None:
        scale, row = _scale(by.targets.reshape(len(by), -1)), (-1, *by.targets.shape[1:])
        for split, part in found.items():
            assert part.targets is not None
            found[split] = replace(part, targets=scale(part.targets.reshape(len(part), -1)).reshape(row))
    return found


def _scale(columns: Tensor) -> Scaled:
    """Return what standardises columns, shape (rows, columns); a constant one becomes zero."""
    mean, std = columns.mean(0), columns.std(0, correction=0)
    return Scaled(tuple(mean.tolist()), tuple(torch.where(std > 1e-12, std, torch.ones(())).tolist()))
