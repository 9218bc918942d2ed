"""Residual expansion: a weight as a sum of weights of few bits, each of which holds what those before it left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from whet.core.checks import ValueRangeError
from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.graph.fake_quantize import QUANTIZED, IntegerWeight, quantize_weight
from whet.graph.grids import Grid, widest_scale
from whet.graph.uses import used_once

NETWORK = "network:expansion"
OFF = "off"
aten = torch.ops.aten


@dataclass(frozen=True)
class Expansion:
    """Compute each layer as a sum of layers whose weights have few bits, without data.

        W ~ Q_1 + ... + Q_K,    Q_k = round of W - Q_1 - ... - Q_(k-1),    steps s_k = max|.| / most for each channel
        |W - Q_1 - ... - Q_K| <= max|W| / (2 most)^K    for each output channel

    So a device that has int4, or three levels, alone comes as near to the floats as is wanted, and each term is a layer
    of its own that may run beside the others. From the second term on only the `share` of output channels that err most
    have one (the paper's group sparsity).

    Choices: `network:expansion` is `off` or the grid and the number of terms: `int4 x 2`, `int3 x 2`, `int2 x 2`,
    `int2 x 3`. Layers are computed as often as there are terms: bytes and precision are what is chosen between.
    The paper's ensembles, groups of terms in networks of their own, are left out.
    Paper: Yvinec et al. 2023, REx: Data-Free Residual Quantization Error Expansion.
    """

    share: float = 1.0
    traits = Traits("weights")
    paper = "yvinec2023rex"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueRangeError(f"share must be above 0 and at most 1; got {self.share!r}.")

    def forms(self) -> dict[str, tuple[Grid, int]]:
        """Return grid and number of terms by the name that decisions have for them."""
        every = (Grid(4), 2), (Grid(3), 2), (Grid(2), 3), (Grid(2), 2)
        return {f"{grid.name} x {terms}": (grid, terms) for grid, terms in every}

    def space(self, net: Net, target: Target) -> Space:
        if "int4" not in target.kernels() or not _sites(net):
            return Space()
        return Space([Choice(NETWORK, (OFF, *self.forms()), OFF)])

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return two terms of four bits."""
        return [Decision({NETWORK: "int4 x 2"})] if len(self.space(net, target)) else []

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        value = str(decision.get(NETWORK, OFF))
        small = net.copy()
        if value == OFF:
            return Result(small)
        grid, terms = self.forms()[value]
        sites, changed = _sites(small), dict[str, str]()
        for node in list(small.graph.nodes):
            if node.op == "call_module" and str(node.target) in sites:
                changed[str(node.target)] = self._expanded(small, node, grid, terms)
        kinds = (nn.Linear, nn.modules.conv._ConvNd, nn.Bilinear, nn.RNNBase)
        left = {n: m for n, m in net.layers().items() if isinstance(m, kinds) and n not in changed}
        skipped = {name: _why_not(layer) for name, layer in left.items()}
        if not changed:
            skipped.setdefault("network", "no layer is left that could be a sum of layers of few bits")
        return Result(small.settle(), changes(f"expanded {value}", changed), skipped)

    @torch.no_grad()
    def _expanded(self, net: Net, node: fx.Node, grid: Grid, terms: int) -> str:
        """Put a layer on the grid and add layers with what is left; return what to say of it."""
        site = str(node.target)
        layer = net.layer(site)
        left = layer.get_parameter("weight").detach().clone()
        net.module.set_submodule(site, first := on_widest(layer, grid))
        total, last = [len(left)], node
        left -= stored(first)
        for term in range(2, terms + 1):
            kept = self._most_wrong(left)
            if not len(kept):
                break
            more = on_widest(_part(layer, left, kept), grid)
            left[kept] -= stored(more)
            last = _added(net, node, last, f"{site}_term{term}", more, kept)
            total.append(len(kept))
        return f"a sum of {len(total)} in {grid.name}, of {', '.join(map(str, total))} channels"

    def _most_wrong(self, left: Tensor) -> Tensor:
        """Return which output channels get another term, in order: those of the largest errors, none that have none."""
        norms = left.flatten(1).square().sum(1)
        count = min(max(1, round(self.share * len(left))), int((norms > 0).sum()))
        return torch.argsort(norms, descending=True, stable=True)[:count].sort().values


def on_widest(layer: nn.Module, grid: Grid) -> nn.Module:
    """Return a layer with its weight on the grid whose scales reach the largest weight: nothing is clipped."""
    found = quantize_weight(layer, grid)
    rows = grid.rows(found.get_parameter("weight").detach())
    found.register_buffer("weight_scale", widest_scale(rows, grid.most))
    return found


def stored(layer: nn.Module) -> Tensor:
    """Return the weight as it is on its grid, in its own shape."""
    assert isinstance(layer, IntegerWeight) and isinstance(layer, nn.Module)
    weight = layer.get_parameter("weight").detach()
    return layer.grid.nearest(weight, layer.weight_scale).view_as(weight)


def _part(layer: nn.Module, left: Tensor, kept: Tensor) -> nn.Module:
    """Return a layer like the given, without bias, of some of its output channels with what is left of them."""
    if isinstance(layer, nn.Linear):
        part: Any = nn.Linear(left.shape[1], len(kept), bias=False)
    else:
        assert isinstance(layer, nn.Conv1d | nn.Conv2d)
        part = type(layer)(
            layer.in_channels, len(kept), layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups,  # type: ignore[arg-type]
            bias=False, padding_mode=layer.padding_mode,
        )  # fmt: skip
    part.weight = nn.Parameter(left[kept].clone())
    return part.train(layer.training)  # type: ignore[no-any-return]


def _added(net: Net, node: fx.Node, last: fx.Node, name: str, more: nn.Module, kept: Tensor) -> fx.Node:
    """Add what a further layer gives at the channels `kept` to what has been added up so far; return the new sum."""
    channels = len(net.layer(str(node.target)).get_parameter("weight"))
    owner, _, short = name.rpartition(".")
    net.module.get_submodule(owner).add_module(short, more)
    axis = -1 if isinstance(more, nn.Linear) else 1
    with net.graph.inserting_after(last):
        term = net.graph.call_module(name, (node.args[0],))
    behind = term
    if len(kept) < channels:
        places = torch.full((channels,), len(kept))
        places[kept] = torch.arange(len(kept))
        behind = _spread(net, term, name.replace(".", "_"), places, axis, more)
    with net.graph.inserting_after(behind):
        both = net.graph.call_function(aten.add.Tensor, (last, behind))
    last.replace_all_uses_with(both, delete_user_cb=lambda user: user is not both)
    both.meta = dict(node.meta)
    return both


def _spread(net: Net, term: fx.Node, name: str, places: Tensor, axis: int, more: nn.Module) -> fx.Node:
    """Return the node that has each channel of a term at its place, and zeros elsewhere."""
    behind = 0 if axis == -1 else len(more.kernel_size)  # type: ignore[arg-type]
    net.module.register_buffer(f"{name}_places", places)
    with net.graph.inserting_after(term):
        wide = net.graph.call_function(aten.constant_pad_nd.default, (term, [0, 0] * behind + [0, 1], 0.0))
    with net.graph.inserting_after(wide):
        index = net.graph.get_attr(f"{name}_places")
    with net.graph.inserting_after(index):
        return net.graph.call_function(aten.index_select.default, (wide, axis, index))


def _sites(net: Net) -> set[str]:
    """Return the layers that can be sums: used once, in floats, with a form on grids, one group."""
    alone, layers = used_once(net), net.layers()
    return {n for n, m in layers.items() if n in alone and type(m) in QUANTIZED and getattr(m, "groups", 1) == 1}


def _why_not(layer: nn.Module) -> str:
    if isinstance(layer, IntegerWeight):
        return f"its weights are in {layer.grid.name} already."
    if type(layer) in QUANTIZED:
        return "it is called several times, or its channels are in groups, of which some alone are no layer."
    return f"{type(layer).__name__} has no form with integer weights."
