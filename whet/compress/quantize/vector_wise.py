"""Vector-wise int8: each row has a scale of its own, and the few features that are far larger stay in floats."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from whet.compress.quantize.calibration import calibration_inputs, observe
from whet.core.checks import ValueRangeError
from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.graph.fake_quantize import ACTIVATION_MIDDLE, WEIGHT_MAX, ActivationQuantizer, IntegerWeight, quantize_weight
from whet.graph.uses import used_once

NETWORK = "network:vector-wise"
OFF, INT8 = "off", "int8"
THRESHOLD = 6.0
"""The magnitude from which a feature is an outlier; Dettmers et al. take 6."""
SMALLEST = 1e-8
aten = torch.ops.aten


@dataclass(frozen=True)
class VectorWise:
    """Quantise linear layers to int8 with a scale for each row that they read and each row of their weight.

        W x ~ s_x s_W (Q_W Q_x) over features that are no outliers + W_O x_O,    s_x = max|x| / 127 of this very row

    Rows are divided by their largest value, so that all of them fill one grid, known before, of -127..127, and what
    comes out is multiplied by it: the product is that of `quantize.static`. Outliers O, features whose magnitude
    reaches `threshold` on calibration inputs, are multiplied in floats, in a layer of their own. The paper looks for
    them in each call; here a file has them fixed, and what is as large elsewhere takes its row's range.

    Choices: `network:vector-wise` is `off` or `int8`. Whether a runtime multiplies the integers as such is its matter
    and the processor's: what computed each layer stands in the manifest. Calibrates on `samples` inputs.
    Raises: CalibrationError where there are none.
    Paper: Dettmers et al. 2022, LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale.
    """

    threshold: float = THRESHOLD
    samples: int = 64
    traits = Traits("weights", needs=("calibration",))
    paper = "dettmers2022llmint8"

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise ValueRangeError(f"threshold must be above 0; got {self.threshold!r}.")

    def space(self, net: Net, target: Target) -> Space:
        if INT8 not in target.kernels() or not _sites(net):
            return Space()
        return Space([Choice(NETWORK, (OFF, INT8), OFF)])

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return the whole network."""
        return [Decision({NETWORK: INT8})] if len(self.space(net, target)) else []

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        small = net.copy()
        if decision.get(NETWORK, OFF) == OFF:
            return Result(small)
        sites, changed, skipped = _sites(net), dict[str, str](), _untreatable(net)
        if not sites:
            return Result(small, (), skipped | {"network": "no linear layer is left in floats"})
        rows = observe(small, sites, calibration_inputs(run.task, self.samples), run.seed).rows
        evened: dict[fx.Node, _Rows] = {}
        readers = [n for n in small.graph.nodes if n.op == "call_module" and n.target in sites]
        # What a layer reads may be what another has become when its turn comes.
        largest = {node: rows[node.args[0].name].most for node in readers}
        for node, most in largest.items():
            site = str(node.target)
            outliers = (most >= self.threshold).nonzero().squeeze(1)
            if not most.isfinite().all():
                skipped[site] = "its input was not finite on the calibration data"
            elif len(outliers) == len(most):
                skipped[site] = f"all {len(most)} features that it reads reach {self.threshold:g}"
            else:
                source = node.args[0]
                evened[source] = evened.get(source) or _evened(small, source, f"{site}_input", outliers)
                _rewrite(small, node, evened[source])
                changed[site] = f"int8 by rows, {len(outliers)} of {len(most)} features in floats"
        return Result(small.settle(), changes("vector-wise int8", changed), skipped)


@dataclass(frozen=True)
class _Rows:
    """What all layers that read a tensor read instead: its rows on the grid, their sizes, and the outliers."""

    integers: fx.Node
    size: fx.Node
    outlying: fx.Node | None
    outliers: Tensor


def _evened(net: Net, x: fx.Node, name: str, outliers: Tensor) -> _Rows:
    """Put what splits a tensor and evens its rows behind it."""
    graph, outlying = net.graph, None
    with graph.inserting_before(x.next):
        if len(outliers):
            outlying = _taken(net, f"{name}_outliers", x, outliers)
            x = _taken(net, f"{name}_others", x, _others(net.forward_shapes()[x.name][-1], outliers))
        size = graph.call_function(aten.amax.default, (graph.call_function(aten.abs.default, (x,)), [-1], True))
        size = graph.call_function(aten.clamp.default, (size, SMALLEST))
        even = graph.call_function(aten.div.Tensor, (x, size))
        grid = ActivationQuantizer(1 / WEIGHT_MAX, ACTIVATION_MIDDLE)
        return _Rows(graph.call_module(_held(net, name, grid), (even,)), size, outlying, outliers)


def _rewrite(net: Net, node: fx.Node, rows: _Rows) -> None:
    """Put the products and their sum into the graph in place of a layer."""
    site, graph, wide = str(node.target), net.graph, None
    layer = net.layer(site)
    assert isinstance(layer, nn.Linear)
    bias = layer.bias
    integers = quantize_weight(_columns(layer, _others(layer.in_features, rows.outliers), None))
    with graph.inserting_before(node):
        found = graph.call_module(_held(net, f"{site}_integers", integers), (rows.integers,))
        found = graph.call_function(aten.mul.Tensor, (found, rows.size))
        if rows.outlying is not None:
            floats = _columns(layer, rows.outliers, bias)
            wide = graph.call_module(_held(net, f"{site}_outliers", floats), (rows.outlying,))
        elif bias is not None:
            net.module.register_parameter(name := f"{site.replace('.', '_')}_bias", bias)
            wide = graph.get_attr(name)
        if wide is not None:
            found = graph.call_function(aten.add.Tensor, (found, wide))
    found.meta = dict(node.meta)
    node.replace_all_uses_with(found)
    graph.erase_node(node)


def _others(features: int, outliers: Tensor) -> Tensor:
    kept = torch.ones(features, dtype=torch.bool)
    kept[outliers] = False
    return kept.nonzero().squeeze(1)


def _columns(layer: nn.Linear, columns: Tensor, bias: nn.Parameter | None) -> nn.Linear:
    """Return a layer that reads some of the features."""
    made = nn.Linear(len(columns), layer.out_features, bias=False)
    made.weight = nn.Parameter(layer.weight.detach()[:, columns].clone())
    made.bias = bias  # type: ignore[assignment]
    return made.train(layer.training)


def _held(net: Net, name: str, layer: nn.Module) -> str:
    owner, _, short = name.rpartition(".")
    net.module.get_submodule(owner).add_module(short, layer)
    return name


def _taken(net: Net, name: str, x: fx.Node, places: Tensor) -> fx.Node:
    name = f"{name.replace('.', '_')}_places"
    net.module.register_buffer(name, places)
    return net.graph.call_function(aten.index_select.default, (x, -1, net.graph.get_attr(name)))


def _sites(net: Net) -> set[str]:
    alone = used_once(net)
    return {name for name, layer in net.layers().items() if type(layer) is nn.Linear and name in alone}


def _untreatable(net: Net) -> dict[str, str]:
    """Return why layers with matrices of weights keep their numbers."""
    kinds, sites = (nn.Linear, nn.modules.conv._ConvNd, nn.Bilinear, nn.RNNBase), _sites(net)
    left = {n: m for n, m in net.layers().items() if isinstance(m, kinds) and n not in sites}
    return {n: _reason(m) for n, m in left.items()}


def _reason(layer: nn.Module) -> str:
    if isinstance(layer, IntegerWeight):
        return f"its weights are in {layer.grid.name} already."
    if type(layer) is nn.Linear:
        return "it is called several times."
    return f"vector-wise int8 is for Linear; this is a {type(layer).__name__}."
