"""Which integers weights are to be, by what each costs in error and in bits."""

from __future__ import annotations

from dataclasses import dataclass
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

LADDER = tuple(2.0**k for k in range(-7, 2))
"""The prices of a bit, in shares of the output's power a weight, at which candidates are made."""
ROUNDS = 3
"""How often candidates are made: from the second time on bits are told by the shares that the time before left.

The first time they are those of what is given, and of what is left of it when ones become zeros."""
STRIPE = 32
"""Inputs whose errors are passed on to later ones at once."""


class Candidate(NamedTuple):
    """Integers `(groups, out / groups, d)`, the error of the outputs that they make, and the bits that they take."""

    integers: Tensor
    error: float
    bits: float


def candidates(
    weights: Tensor, steps: Tensor, moments: Tensor, most: int, held: Tensor | None = None
) -> list[Candidate]:
    """Return integers at each price of the ladder, made several times, after those that were given.

    Input by input, at a price,

        q_j = argmin over {round(w_j), one nearer to zero, 0} of (w_j - s q)^2 / U_jj^2 + price * bits(q)
        w_k -= (w_j - s q_j) U_jk / U_jj  for all k behind j,    H^-1 = U^T U,    H = E x x^T + damping I

    where w begins as the integers that are given times their steps, and bits(q) = -log2 of the share of q. The first
    term is how much the least error that later weights can reach rises. Errors are tr D E[x x^T] D^T, D the change of
    the weights; bits are those of the coder, for the layer by itself.

    Shapes: weights (integers), steps and `held` `(groups, out / groups, d)`, moments `(groups, d, d)`. What is `held`
    stays zero.

    Paper: Wiedemann et al. 2020, DeepCABAC, whose cost has weights' own importances in place of moments.
    """
    given = weights.double() * steps
    price = power_of(given, moments) / max(1, weights.numel()) * torch.tensor(2 * LADDER, dtype=torch.float64)
    factors = [_factor(each) for each in moments]
    held = torch.zeros_like(weights, dtype=torch.bool) if held is None else held
    whole = weights.double()
    starts = [whole] * len(LADDER) + [torch.where(whole.abs() > 1, whole, 0.0)] * len(LADDER)
    made = torch.stack(starts)
    found = [Candidate(weights, 0.0, coded_bits(weights, most))]
    for _ in range(ROUNDS):
        costs = price[:, None] * torch.stack([_bits_table(each, most) for each in made])
        parts = zip(given, steps, factors, held, strict=True)
        made = torch.stack([_chosen(w, s, *factor, costs, most, h) for w, s, factor, h in parts], 1)
        for each in made:
            error = power_of((each - weights) * steps, moments)
            found.append(Candidate(each.to(weights.dtype), error, coded_bits(each, most)))
    return found


def power_of(weights: Tensor, moments: Tensor) -> float:
    """Return tr W E[x x^T] W^T of all groups: weights `(groups, out / groups, d)`, moments `(groups, d, d)`."""
    return float(((weights @ moments) * weights).sum())


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
    """Return integers `(prices, out, d)` of one group, float64. Costs `(prices, levels)` are of -most, ..., most."""
    w, s, held = weight[:, order].repeat(len(costs), 1, 1), steps[:, order], held[:, order]
    found, left, which = torch.empty_like(w), torch.empty_like(w), torch.arange(len(costs)).view(-1, 1)
    for start in range(0, len(order), STRIPE):
        stop = min(start + STRIPE, len(order))
        for j in range(start, stop):
            nearest = torch.clamp(torch.round(w[..., j] / s[:, j]), -most, most)
            options = torch.stack([nearest, nearest - nearest.sign(), torch.zeros_like(nearest)])
            lost = (w[..., j] - options * s[:, j]) / upper[j, j]
            best = (lost.square() + costs[which, options.long() + most]).argmin(0, keepdim=True)
            best = best.masked_fill(held[:, j], 2)
            found[..., j], left[..., j] = options.gather(0, best)[0], lost.gather(0, best)[0]
            w[..., j + 1 : stop] -= left[..., j, None] * upper[j, j + 1 : stop]
        w[..., stop:] -= left[..., start:stop] @ upper[start:stop, stop:]
    return found[..., torch.argsort(order)]


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


@dataclass(frozen=True)
class Prices:
    """A network's integer weights and what else they could be: candidates, steps and the outputs' power by layer."""

    net: Net
    found: dict[str, tuple[list[Candidate], Tensor, float]]
    skipped: dict[str, str]

    @torch.no_grad()
    def at(self, distortion: float) -> Result:
        """Return the net at a price; see `cheaper`."""
        if not distortion >= 0:
            raise DecisionError(f"distortion must be at least 0; got {distortion}.")
        small, changed = self.net.copy(), list[Change]()
        total = sum(steps.numel() for _, steps, _ in self.found.values())
        for name, (found, steps, power) in self.found.items():
            best = cheapest(found, distortion * power / total)
            weight = small.layer(name).get_parameter("weight")
            weight.copy_((best.integers * steps).view_as(weight))
            bits = f"{found[0].bits / steps.numel():.2f} to {best.bits / steps.numel():.2f} bits a weight"
            text = f"{bits}, error {best.error / max(power, 1e-30):.2%} of the power"
            changed.append(Change(name, "cheaper integers", text))
        return Result(small, tuple(changed), dict(self.skipped))


@torch.no_grad()
def prices(net: Net, work: Run) -> Prices:
    """Return what the integer weights of a net could be, by the second moments of what its layers read."""
    layers = {name: layer for name, layer in net.layers().items() if isinstance(layer, IntegerWeight)}
    if not layers:
        return Prices(net, {}, {"network": "no layer has integer weights: quantize it first."})
    known, why = input_moments(net, work)
    found: dict[str, tuple[list[Candidate], Tensor, float]] = {}
    for name, layer in layers.items():
        if name in known:
            weight, moments = layer.get_parameter("weight"), known[name]
            shape = (len(moments), -1, moments.shape[-1])
            whole = layer.grid.integers(weight, layer.weight_scale).reshape(shape)
            steps = layer.grid.rows(torch.ones_like(weight)) * layer.weight_scale.view(-1, 1)
            steps = steps.view_as(weight).reshape(shape).double()
            held = whole == 0 if holds(layer) else None
            made = candidates(whole, steps, moments, layer.grid.most, held)
            found[name] = made, steps, power_of(whole * steps, moments)
    return Prices(net, found, {n: why.get(n, "nothing is known of its inputs.") for n in layers if n not in known})


def cheaper(net: Net, work: Run, distortion: float) -> Result:
    """Return a net whose integer weights take fewer bits, at a price of `distortion`.

        sum over layers of error / power of the output  +  distortion * bits / weights

    is what is minimized, `power` being of the outputs without biases: at .3 a bit a weight less is worth three tenths
    of the power of one layer's outputs. Zero leaves everything as it is. Layers whose inputs' moments are unknown are
    skipped.

    Raises: DecisionError for a distortion below zero.
    """
    return prices(net, work).at(distortion)
