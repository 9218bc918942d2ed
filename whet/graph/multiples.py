"""Scales of groups that are whole multiples of one a channel: digits of few bits in products of integers of eight."""

from __future__ import annotations

import torch
from torch import Tensor


def whole_multiples(scales: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return of groups' scales the nearest whole multiples of one a channel, at most `most`, and that one.

        w ~ s_k q = s (g_k q),    g_k = round(s_k / s) in 1..most,    s = max_k s_k / most

    The digits q are what a file stores. What is multiplied are the integers g_k q, of a scale a channel: such weights
    have the accuracy of groups and run in kernels for int8, which know no groups. Weights are rounded by second moments
    on the scales that are left (`quantize.rounding`), so that later weights make up for what both steps lose.

    Shapes: scales `(channels, groups)`, multiples as well, the one `(channels,)`. Paper: Gafni et al. 2025, Dual
    Precision Quantization for Efficient and Accurate Deep Neural Networks Inference, whose second precision is floats
    of eight bits, which no processor here multiplies; here it is integers. Its order of inputs stays within groups,
    as groups there follow the order; here they lie as the weights do.

    >>> multiples, one = whole_multiples(torch.tensor([[0.9, 0.31, 0.01]]), most=9)
    >>> multiples.tolist(), [round(float(x), 6) for x in one]
    ([[9.0, 3.0, 1.0]], [0.1])
    """
    one = scales.amax(1) / most
    return torch.clamp(torch.round(scales / one.unsqueeze(1)), 1, most), one


def settled(scales: Tensor, channels: int, most: int) -> Tensor:
    """Return the scales of all groups, `(channels * groups,)`, as whole multiples; gradients pass straight through."""
    multiples, one = whole_multiples(scales.detach().view(channels, -1), most)
    found = (multiples * one.unsqueeze(1)).flatten()
    return scales + (found - scales).detach() if scales.requires_grad else found
