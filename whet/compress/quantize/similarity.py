"""Scales by the similarity of outputs: of many steps those whose rounded weight points most where the weight does."""

from __future__ import annotations

import torch
from torch import Tensor

from whet.graph.grids import Grid, widest_scale

SHARES = torch.linspace(1.2, 0.4, 81)
"""Shares of the step that reaches the largest weight. Larger steps do not clip; few bits want smaller ones."""


def similarity(weight: Tensor, moments: Tensor, grid: Grid, held: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return a weight rounded to nearest on the scales of the most similar outputs, and these scales.

        q(c) = round(w / s),    s = c max|w| / most,    cos(c) = w H q / sqrt(w H w  q H q),    H = E x x^T
        c* = argmax over SHARES of cos(c),    s* = s (w H q) / (q H q)

    for each output channel, whose groups share c. The cosine of an output with what it should be knows no length, so
    the length is solved for: the integers q stay, and E(w x - s* q x)^2 = (1 - cos^2) E(w x)^2, which is least where
    the cosine is largest. The paper searches activations' scales by turns with the weights', which are floats here, and
    does not solve for the length.

    Shapes: weight and `held` `(groups, out / groups, d)`, moments `(groups, d, d)`, scales as `grid.scale` gives them.
    What is `held` becomes zero, as zeros do. Channels whose outputs are zero keep c = 1.

    Paper: Wu et al. 2020, EasyQuant: Post-training Quantization via Scale Optimization.
    """
    wanted, rows = weight.double(), grid.rows(weight.flatten(0, 1)).double()
    whole = (wanted @ moments * wanted).sum(-1)
    widest = widest_scale(rows, grid.most)
    best = torch.full_like(whole, -torch.inf)
    found, steps = torch.zeros_like(wanted), torch.zeros_like(wanted)
    for share in (1.0, *SHARES.tolist()):
        scale = (widest * share).unsqueeze(1)
        integers = torch.clamp(torch.round(rows / scale), -grid.most, grid.most)
        q, s = (integers * scale).view_as(wanted), scale.expand_as(rows).reshape(wanted.shape)
        image = q @ moments
        along, own = (wanted * image).sum(-1), (q * image).sum(-1)
        cosine = along / (whole * own).clamp(min=1e-60).sqrt()
        length = torch.where(cosine > 0, along / own.clamp(min=1e-30), 1.0)
        better = cosine > best
        best = torch.where(better, cosine, best)
        found = torch.where(better.unsqueeze(-1), q * length.unsqueeze(-1), found)
        steps = torch.where(better.unsqueeze(-1), s * length.unsqueeze(-1), steps)
    return found.to(weight.dtype), grid.rows(steps.flatten(0, 1))[:, 0].float()
