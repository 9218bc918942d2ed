"""Rounding queries, keys and values by what attention makes of their errors, head by head."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from whet.compress.lockstep import Lockstep, limited, mask_of, pieces
from whet.compress.moments import ROWS, chosen_rows, inputs_of, read
from whet.compress.quantize import rounding
from whet.compress.quantize.heads import Attention, find_attention
from whet.compress.quantize.rounding import DAMPING, SAMPLES, factor, input_moments, swept
from whet.core.net import Net
from whet.core.run import Run
from whet.graph.fake_quantize import IntegerWeight
from whet.graph.grids import Grid
from whet.graph.last_known import LastKnown, Only, weights_version
from whet.graph.zeros import holds

BATCH = 16
"""Samples that run at a time: what a head sees of inputs is as large as these, once for each head."""
LEAST = 128
"""Heads of fewer features have as many rows drawn as one of so many: their products cost nothing."""
Draw = Callable[[Sequence[int], int], Tensor]
"""Gives so many of some positions."""


@dataclass(frozen=True)
class Heads:
    """Outputs of a layer that are heads', `(heads, f)`, with the two factors of each head's Hessian.

    Shapes: `inputs` `(heads, d, d)`, `outputs` `(heads, f, f)`.
    """

    features: Tensor
    inputs: Tensor
    outputs: Tensor


_known = LastKnown[dict[str, list[Heads]]]()


def head_hessians(net: Net, run: Run, samples: int = SAMPLES) -> dict[str, list[Heads]]:
    """Return by layer what attention makes of errors of its outputs; layers that are no head's are left out.

    They are taken once for each network and calibration data.
    """
    return _known.of(net, (weights_version(net), Only(run.task), samples), lambda: _taken(net, run, samples))


def _taken(net: Net, run: Run, samples: int) -> dict[str, list[Heads]]:
    moments, _ = input_moments(net, run, samples)
    batches = pieces(inputs_of(run.task, samples), BATCH) if moments else []
    sums = [_Sums(call) for call in find_attention(net, limited(batches, 1)[0])] if batches else []
    for number, inputs in enumerate(batches if sums else ()):
        steps = Lockstep(net, [inputs], shown=True)
        draw = partial(chosen_rows, number, mask=mask_of(net, inputs))

        def after(node: fx.Node, values: dict[fx.Node, Any] = steps.values[0], draw: Draw = draw) -> None:
            for each in sums:
                each.add(node, values, draw, len(batches))

        steps.run(after=after)
    found: dict[str, list[Heads]] = {}
    for each in sums:
        for site, heads in each.hessians(net, moments).items():
            found.setdefault(site, []).extend(heads)
    return found


class _Sums:
    """What a call of attention shows of its heads, added up batch by batch: each `(heads, features, features)`."""

    def __init__(self, call: Attention) -> None:
        self.call = call
        self.x: Tensor | None = None
        self.queries, self.keys, self.seen = (torch.zeros(()) for _ in range(3))

    def add(self, node: fx.Node, values: dict[fx.Node, Any], draw: Draw, batches: int) -> None:
        """Add what a node gave: of the layer of values what it reads, of attention itself what its heads see."""
        if self.call.value is not None and node.name == self.call.value.reader.node:
            self.x = read(self.call.value.reader, values)
        if node.name != self.call.node:
            return
        query, key, _, *others = node.args
        q, k = values[query], values[key]  # type: ignore[index]
        self.queries = self.queries + _squares(q, draw, batches)
        self.keys = self.keys + _squares(k, draw, batches)
        if self.x is not None and self.x.dim() == 3:
            more = fx.map_arg((tuple(others), node.kwargs), lambda n: values[n])
            x = self.x.unsqueeze(1).expand(-1, q.shape[1], -1, -1)
            seen = node.target(q, k, x, *more[0], **more[1])  # type: ignore[operator]
            self.seen = self.seen + _squares(seen, draw, batches)

    def hessians(self, net: Net, moments: dict[str, Tensor]) -> dict[str, list[Heads]]:
        """Return the Hessians of the heads by layer; of one whose inputs' moments are not known, none."""
        found: dict[str, list[Heads]] = {}
        parts = self.call.query, self.call.key, self.call.value
        for part, seen, outputs in zip(parts, (None, None, self.seen), (self.keys, self.queries, None), strict=True):
            if part is None or part.reader.site not in moments or (seen is not None and not seen.dim()):
                continue
            inputs = moments[part.reader.site].expand(len(part.features), -1, -1) if seen is None else seen
            outputs = self._behind(net, part.features) if outputs is None else outputs
            found.setdefault(part.reader.site, []).append(Heads(part.features, inputs.double(), outputs.double()))
        return found

    def _behind(self, net: Net, features: Tensor) -> Tensor:
        """Return W^T W of the layer that reads the heads, a part for each; the identity where there is none."""
        heads, width = features.shape
        if self.call.out is None:
            return torch.eye(width).expand(heads, -1, -1)
        weight = net.layer(self.call.out.reader.site).get_parameter("weight").detach()
        columns = weight[:, self.call.out.features].permute(1, 2, 0).double()
        return columns @ columns.mT


def _squares(x: Tensor, draw: Draw, batches: int) -> Tensor:
    """Return the sum of products of features `(heads, f, f)` over positions of `(N, heads, positions, f)`."""
    rows = x.transpose(1, 2).flatten(0, 1)
    chosen = draw((len(x), x.shape[2]), math.ceil(ROWS * max(x.shape[-1], LEAST) / batches))
    some = rows[chosen].transpose(0, 1).float()
    return some.mT @ some


@torch.no_grad()
def put_heads_on_grid(layer: nn.Module, moments: Tensor, heads: Sequence[Heads]) -> None:
    """Put the weight of a linear layer of integers on its grid, in place: outputs of heads by `across_heads`.

    Others are `compensated` by the moments of what the layer reads, `(1, d, d)`.
    """
    assert isinstance(layer, IntegerWeight) and isinstance(layer, nn.Module)
    weight = layer.get_parameter("weight")
    whole = weight.detach().clone()
    held = whole == 0 if holds(layer) else torch.zeros_like(whole, dtype=torch.bool)
    rounding.put_on_grid(layer, moments)
    scales = layer.weight_scale.view(len(weight), -1)
    for each in heads:
        found, scale = across_heads(whole[each.features], each.inputs, each.outputs, layer.grid, held[each.features])
        weight[each.features] = found
        scales[each.features.flatten()] = scale.view(-1, scales.shape[1])


def across_heads(
    weight: Tensor, inputs: Tensor, outputs: Tensor, grid: Grid, held: Tensor | None = None, damping: float = DAMPING
) -> tuple[Tensor, Tensor]:
    """Return weights of heads on a grid, rounded output by output, and their scales.

        min  tr R (W - Q) C (W - Q)^T,    R^-1 = V^T V,  C^-1 = U^T U,    both damped
        Q_i = compensated(W_i by C),    W_k -= (W_i - Q_i) V_ik / V_ii  for all outputs k behind i of the same head

    which is what rounding by second moments does with the Hessian R (x) C, whose factor is V (x) U. For a head with
    attention a_t and what it reads as x_t (Q, K: its queries and keys; W_out: what reads the head),

        queries  C = E x x^T,  R = K^T K    keys  C = E x x^T,  R = Q^T Q    values  C = E s s^T,  R = W_out^T W_out

    with s = sum_t a_t x_t: queries and keys err by what the products Q K^T lose, values by what the block gives. Inputs
    and outputs go by falling diagonals. A head that errs more so than rounded to nearest is rounded to nearest. Rotated
    queries and keys are not found: their layers are rounded as any others.

    Shapes: weight and `held` `(heads, f, d)`, inputs `(heads, d, d)`, outputs `(heads, f, f)`, scales as `grid.scale`.
    Paper: Kim et al. 2024, Attention-aware Post-training Quantization without Backpropagation. The authors' code leaves
    out what reads the head: R of the values is the identity there.
    """
    scale = rounding.weighted_scale(weight, inputs, grid)
    steps = rounding.steps_of(weight, grid, scale)
    left = torch.ones_like(steps) if held is None else (~held).double()
    rows, columns = _falling(outputs), _falling(inputs)
    w, s, kept = (_ordered(x, rows, columns) for x in (weight.double(), steps, left))
    u, v = factor(_ordered(inputs, columns, columns), damping), factor(_ordered(outputs, rows, rows), damping)
    found = torch.empty_like(w)
    for i in range(w.shape[1]):
        here = slice(i, i + 1)
        found[:, here] = swept(w[:, here], s[:, here], kept[:, here], u, grid.most)
        lost = (w[:, here] - found[:, here]) / v[:, here, here]
        w[:, i + 1 :] -= v[:, here, i + 1 :].mT * lost
    found = _ordered(found, torch.argsort(rows), torch.argsort(columns))
    plain = rounding.nearest(weight.double(), steps, grid.most) * left
    better = error(weight, found, inputs, outputs) <= error(weight, plain, inputs, outputs)
    return torch.where(better.view(-1, 1, 1), found, plain).to(weight.dtype), scale


def _falling(hessians: Tensor) -> Tensor:
    return torch.argsort(hessians.diagonal(dim1=-2, dim2=-1), descending=True, stable=True)


def _ordered(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return matrices `(heads, f, d)` with rows and columns in the order that is given for each head."""
    each = torch.arange(len(x)).view(-1, 1, 1)
    return x[each, rows.unsqueeze(-1), columns.unsqueeze(1)]


def error(weight: Tensor, found: Tensor, inputs: Tensor, outputs: Tensor) -> Tensor:
    """Return tr R (W - Q) C (W - Q)^T of each head: shape `(heads,)`."""
    lost = weight.double() - found.double()
    return ((outputs @ lost @ inputs) * lost).sum((-1, -2))
