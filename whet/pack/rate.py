"""Which integers weights are to be, by what each costs in error and in bits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from whet.compress.quantize.rounding import DAMPING, input_moments
from whet.core.errors import DecisionError
from whet.core.net import Net
from whet.core.passes import Change, Result
from whet.core.run import Run
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.zeros import holds
from whet.pack.coder import Estimator, Tables, integers, run
from whet.pack.contexts import Coding, Layout, steps_of

LADDER = tuple(2.0**k for k in range(-13, 1))
"""The prices of a bit, in shares of the output's power a weight, at which candidates are made."""


class Candidate(NamedTuple):
    """Integers `(groups, out / groups, d)`, the error of the outputs that they make, and the bits that they take."""

    integers: Tensor
    error: float
    bits: float


def candidates(
    weights: Tensor, steps: Tensor, moments: Tensor, most: int, held: Tensor | None = None
) -> list[Candidate]:
    """Return integers of falling bits and rising error, those that were given first.

    Input by input, at each price of the ladder,

        q_j = argmin over {round(w_j), one nearer to zero, 0} of (w_j - s q)^2 / U_jj^2 + price * bits(q)
        w_k -= (w_j - s q_j) U_jk / U_jj  for all k behind j,    H^-1 = U^T U,    H = E x x^T + damping I

    where w begins as the integers that are given times their steps, and bits(q) = -log2 of the share of q in the
    candidate before. The first term is how much the least error that later weights can reach rises. Errors are
    tr D E[x x^T] D^T, D the change of the weights; bits are those of the coder, by itself.

    Shapes: weights (integers), steps and `held` `(groups, out / groups, d)`, moments `(groups, d, d)`. What is `held`
    stays zero.

    Paper: Wiedemann et al. 2020, DeepCABAC, whose cost has weights' own importances in place of moments.
    """
    given = weights.double()
    power = float((((given * steps) @ moments) * (given * steps)).sum())
    found = [Candidate(weights, 0.0, coded_bits(weights, most))]
    factors = [_factor(each) for each in moments]
    for share in LADDER:
        price = share * power / max(1, weights.numel())
        table = _bits_table(found[-1].integers, most)
        parts = zip(given * steps, steps, factors, held if held is not None else given.new_zeros(given.shape) > 0)
        chosen = torch.stack([_chosen(w, s, *factor, table * price, most, h) for (w, s, factor, h) in parts])
        lost = (chosen - given) * steps
        found.append(
            Candidate(chosen.to(weights.dtype), float(((lost @ moments) * lost).sum()), coded_bits(chosen, most))
        )
    return found


def cheapest(found: list[Candidate], price: float) -> Candidate:
    """Return the candidate of the least error + price * bits, the first of equals.

    What is chosen among the same candidates never takes more bits at a higher price, and never costs more than the
    first. At price zero that is the first unless another has no error either.
    """
    return min(found, key=lambda each: each.error + price * each.bits)


def _factor(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Return the order of the inputs, those of the largest moments first, and U of H^-1 = U^T U in it."""
    diagonal = moments.diagonal()
    order = torch.argsort(diagonal, descending=True, stable=True)
    ridge = (DAMPING * diagonal.mean()).clamp(min=1e-30)
    h = moments[order][:, order] + ridge * torch.eye(len(order), dtype=torch.float64)
    return order, torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)


def _chosen(
    weight: Tensor, steps: Tensor, order: Tensor, upper: Tensor, costs: Tensor, most: int, held: Tensor
) -> Tensor:
    """Return integers `(out, d)` of one group, float64. `costs` are of -most, ..., most."""
    w, s, held = weight[:, order].clone(), steps[:, order], held[:, order]
    found = torch.empty_like(w)
    for j in range(len(order)):
        nearest = torch.clamp(torch.round(w[:, j] / s[:, j]), -most, most)
        options = torch.stack([nearest, nearest - nearest.sign(), torch.zeros_like(nearest)])
        lost = (w[:, j] - options * s[:, j]) / upper[j, j]
        total = lost.square() + costs[options.long() + most]
        best = total.argmin(0, keepdim=True).masked_fill(held[:, j], 2)
        found[:, j] = options.gather(0, best)[0]
        w[:, j + 1 :] -= lost.gather(0, best)[0].unsqueeze(1) * upper[j, j + 1 :]
    return found[:, torch.argsort(order)]


def _bits_table(weights: Tensor, most: int) -> Tensor:
    counts = torch.bincount((weights.flatten().long() + most), minlength=2 * most + 1).double() + 0.5
    return torch.log2(counts.sum()) - torch.log2(counts)


def coded_bits(weights: Tensor, most: int) -> float:
    """Return the bits that the coder takes for integers `(groups, out / groups, d)` up to `most`, coded alone."""
    symbols = weights.flatten(0, 1).numpy().astype(np.int32) + most
    alphabet, estimator = integers(most), Estimator(Tables())
    mean = int(steps_of(np.array([alphabet.amounts[symbols].mean()]))[0])
    run(estimator, Layout(*symbols.shape), alphabet, Coding(mean, columns=True), None, symbols)
    return estimator.bits


@torch.no_grad()
def cheaper(net: Net, work: Run, distortion: float) -> Result:
    """Return a net whose integer weights take fewer bits, at a price of `distortion`.

        sum over layers of error / power of the output  +  distortion * bits / weights

    is what is minimized, `power` being of the outputs without biases: at .01 a bit a weight is worth a hundredth of the
    power of the outputs. Zero leaves everything as it is. Layers whose inputs' moments are unknown are skipped.

    Raises: DecisionError for a distortion below zero.
    """
    if not distortion >= 0:
        raise DecisionError(f"distortion must be at least 0; got {distortion}.")
    small, changed = net.copy(), list[Change]()
    layers = {n: x for n, x in small.layers().items() if isinstance(x, IntegerWeight)}
    if not layers:
        return Result(small, (), {"network": "no layer has integer weights: quantize it first."})
    known, why = input_moments(net, work)
    skipped = {name: why.get(name, "nothing is known of its inputs.") for name in layers if name not in known}
    left = {name: layer for name, layer in layers.items() if name in known}
    total = sum(layer.get_parameter("weight").numel() for layer in left.values())  # type: ignore[attr-defined]
    for name, layer in left.items():
        weight, moments = layer.get_parameter("weight"), known[name]  # type: ignore[attr-defined]
        shape = (len(moments), -1, moments.shape[-1])
        whole = layer.grid.integers(weight, layer.weight_scale)
        steps = layer.grid.rows(torch.ones_like(weight)) * layer.weight_scale.view(-1, 1)
        rows, steps = whole.reshape(shape), steps.view_as(weight).reshape(shape).double()
        found = candidates(rows, steps, moments, layer.grid.most, rows == 0 if holds(layer) else None)  # type: ignore[arg-type]
        power = float((((rows * steps) @ moments) * (rows * steps)).sum())
        best = cheapest(found, distortion * power / total)
        weight.copy_((best.integers * steps).view_as(weight))
        saved = f"{found[0].bits / rows.numel():.2f} to {best.bits / rows.numel():.2f} bits a weight"
        changed.append(
            Change(name, "cheaper integers", f"{saved}, error {best.error / max(power, 1e-30):.2%} of the power")
        )
    return Result(small, tuple(changed), skipped)
