"""Dynamic int8: weights per output channel, activations on the grid of the range that they have at each call."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.graph.fake_quantize import DynamicLinear, IntegerWeight, quantize_weight
from whet.graph.grids import EXACT_BITS, Grid

KIND = ":dynamic"
NETWORK = f"network{KIND}"
OFF, ALL, EACH = "off", "int8", "per-layer"
KERNEL = "dynamic int8"
"""How a target names what it needs for this: products of integers whose inputs are rounded in the call."""


@dataclass(frozen=True)
class DynamicQuantization:
    """Quantise linear layers to int8 without data: the range of what a layer reads is found at each call.

        x ~ s_x (q_x - z),  s_x = (max x - min x) / 255,  z = round(-min x / s_x),    one a tensor and call
        w ~ s_w q_w,  q_w in -127..127,  s_w = max|w| / 127,                          one an output channel

    with 63 in place of 127 where the target's processor does not sum such products exactly (`Target.weight_bits`).

    The layer multiplies integers; it is written as `DynamicQuantizeLinear` and `MatMulInteger`. Every call reads its
    inputs twice, once for their range, and what is served together has one range. Projections of attention are linear
    layers, too. Convolutions stay float. Layers that are on a grid already keep it.

    Choices: `network:dynamic` is `off`, `int8`, or `per-layer`, which gives each layer its own `SITE:dynamic`. Offered
    where every runtime of the target multiplies such integers (`Target.kernels`). ONNX Runtime does; OpenVINO reads the
    file and computes it in floats, and so does not count: it rounds what layers of compressed weights read itself
    (`quantize.weight-only`).
    Not among the default passes.
    Paper: Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference (the grids; ranges are fixed there).
    """

    traits = Traits("weights")
    paper = "jacob2018quantization"

    def space(self, net: Net, target: Target) -> Space:
        sites = [name for name, layer in net.layers().items() if type(layer) is nn.Linear]
        if KERNEL not in target.kernels() or not sites:
            return Space()
        whole = Choice(NETWORK, (OFF, ALL, EACH), OFF)
        return Space([whole, *(Choice(f"{s}{KIND}", (OFF, ALL), OFF, (NETWORK, (EACH,))) for s in sites)])

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return the whole network."""
        return [Decision({NETWORK: ALL})] if len(self.space(net, target)) else []

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        scope = decision.get(NETWORK, OFF)
        small, layers = net.copy(), net.layers()
        if scope == OFF:
            return Result(small)
        chosen = [n.removesuffix(KIND) for n, v in decision.items() if n.endswith(KIND) and n != NETWORK and v == ALL]
        sites = [n for n, layer in layers.items() if _weighted(layer)] if scope == ALL else chosen
        grid = Grid(min(EXACT_BITS, run.target.weight_bits))
        changed: dict[str, str] = {}
        skipped: dict[str, str] = {}
        for site in sites:
            if site not in layers:
                skipped[site] = "not in the network any more"
            elif reason := _untreatable(layers[site]):
                skipped[site] = reason
            else:
                small.module.set_submodule(site, quantize_weight(small.layer(site), grid, DynamicLinear))
                changed[site] = "int8, its inputs on a grid of each call"
        if not changed:
            skipped.setdefault("network", "no layer is left that could be int8 with ranges of each call")
        return Result(small.settle(), changes("dynamic int8", changed), skipped)


def _weighted(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear | nn.modules.conv._ConvNd | nn.Bilinear | nn.RNNBase)


def _untreatable(layer: nn.Module) -> str:
    """Return why a layer keeps its numbers; nothing for a linear layer."""
    if isinstance(layer, IntegerWeight):
        return f"its weights are in {layer.grid.name} already."
    if isinstance(layer, nn.modules.conv._ConvNd):
        return "a convolution whose inputs are ranged at each call is slower than in floats; quantize.static treats it."
    return "" if type(layer) is nn.Linear else f"dynamic int8 is for Linear; this is a {type(layer).__name__}."
