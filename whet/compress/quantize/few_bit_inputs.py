"""Weights and inputs of few bits: what no runtime here multiplies, simulated, so that it can be trained and judged."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx, nn

from whet.compress.quantize.calibration import calibration_inputs, observe
from whet.compress.quantize.observers import Seen, mean_squared_error, symmetric
from whet.compress.quantize.static import insert, unusable
from whet.core.checks import ValueRangeError
from whet.core.errors import TargetError
from whet.core.net import Net
from whet.core.passes import Change, Result, Traits
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.graph.fake_quantize import QUANTIZED, ActivationQuantizer, IntegerWeight, quantize_weight
from whet.graph.grids import EXACT_BITS, Grid, InputGrid

NETWORK = "network:few-bit-inputs"
OFF, SIMULATED = "off", "simulated"
WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd, nn.Bilinear, nn.RNNBase)


@dataclass(frozen=True)
class FewBitInputs:
    """Put weights and inputs of convolutions and linear layers on grids of few bits, *simulated*, to train them so.

        x ~ s_x (q_x - z),  q_x in 0..2^input_bits - 1,    one s_x a tensor, z = 0 where nothing is negative, else half
        w ~ s_w q_w,        q_w in -most..most of `weight_bits`,    one s_w an output channel

    Scales begin where the squared error is least, that of inputs on calibration data. Whatever trains the network
    afterwards learns them, of inputs and of weights alike (`train.learned-steps`). The first and the last layer have
    `ends_bits` for both, as is usual (8, as Esser et al. have it; with 4 the format is the same throughout). Sums and
    what they add stay in floats, and batch norms as they are.

    No runtime here multiplies integers of fewer than eight bits: no file is written of such a network, and a search
    does not choose it. `whet bench quantize --train` makes it, trains it and says what it keeps.

    Choices: `network:few-bit-inputs` is `off` or `simulated`.
    Raises: TargetError where a target is asked for choices and has no kernel for such inputs; CalibrationError without
    data. Paper: Esser et al. 2020, Learned Step Size Quantization (steps begin at 2 mean|x| / sqrt(most) there).
    """

    weight_bits: int = 4
    input_bits: int = 4
    ends_bits: int = 8
    samples: int = 256
    traits = Traits("weights", needs=("calibration",))
    paper = "esser2020learned"

    def __post_init__(self) -> None:
        for name, least in (("weight_bits", 2), ("input_bits", 1), ("ends_bits", 2)):
            if getattr(self, name) not in range(least, EXACT_BITS + 1):
                raise ValueRangeError(f"{name} must be from {least} to {EXACT_BITS}; got {getattr(self, name)!r}.")

    @property
    def name(self) -> str:
        """How tables call the format: `w4a4`, or `w4a4 throughout` where the ends have no other."""
        whole = self.ends_bits == self.weight_bits == self.input_bits
        return f"w{self.weight_bits}a{self.input_bits}" + " throughout" * whole

    def space(self, net: Net, target: Target) -> Space:
        kernel = f"int{self.input_bits} inputs"
        if kernel not in target.kernels():
            raise TargetError(
                f"no runtime of target '{target.name}' multiplies inputs of {self.input_bits} bits: {self.name} is "
                "simulated, and no search can deliver it. What it keeps is told by `whet bench quantize NET --train "
                "20000`; what does run is `quantize(weight_bits=4)`, with inputs of 8 bits."
            )
        return Space([Choice(NETWORK, (OFF, SIMULATED), OFF)])

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        small, layers = net.copy(), net.layers()
        if decision.get(NETWORK, OFF) == OFF:
            return Result(small)
        skipped = {name: why for name, layer in layers.items() if (why := _untreatable(layer))}
        readers = [n for n in small.graph.nodes if n.op == "call_module" and type(layers[str(n.target)]) in QUANTIZED]
        sites = list(dict.fromkeys(str(n.target) for n in readers))
        if not sites:
            return Result(small, (), skipped | {"network": "no layer is left whose inputs could have few bits"})
        observed = observe(net, sites, calibration_inputs(run.task, self.samples), run.seed)
        placed, changed = dict[tuple[str, int], fx.Node](), dict[str, Change]()
        for node in readers:
            site, source = str(node.target), node.all_input_nodes[0]
            if reason := unusable(observed.seen[source.name]):
                skipped[site] = reason
                continue
            grid, weights = self._grids(site, sites)
            if (source.name, grid.bits) not in placed:
                quantizer = _quantizer(observed.seen[source.name], grid)
                placed[source.name, grid.bits] = insert(small, source, f"{site}_input", quantizer)
            node.args = (placed[source.name, grid.bits],)
            if site not in changed:
                small.module.set_submodule(site, quantize_weight(small.layer(site), weights))
            changed[site] = Change(site, self.name, f"weights {weights.name}, {grid.name}")
        return Result(small.settle(), tuple(changed.values()), skipped)

    def _grids(self, site: str, sites: list[str]) -> tuple[InputGrid, Grid]:
        """Return the grids of a layer's inputs and weights."""
        if site in (sites[0], sites[-1]):
            return InputGrid(self.ends_bits), Grid(self.ends_bits)
        return InputGrid(self.input_bits), Grid(self.weight_bits)


def _quantizer(seen: Seen, grid: InputGrid) -> ActivationQuantizer:
    low, high = mean_squared_error(seen, symmetric, most=grid.most)
    return ActivationQuantizer(*symmetric(low, high, grid.most), grid=grid)


def _untreatable(layer: nn.Module) -> str:
    """Return why a layer with weights keeps its numbers; nothing for others."""
    if isinstance(layer, IntegerWeight):
        return f"its weights are in {layer.grid.name} already."
    if not isinstance(layer, WEIGHTED) or type(layer) in QUANTIZED:
        return ""
    allowed = ", ".join(sorted(t.__name__ for t in QUANTIZED))
    return f"inputs of few bits are for {allowed}; this is a {type(layer).__name__}."
