"""Weights stored as integers of eight bits and fewer; what is computed stays in floats."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from whet.compress.quantize.attention_aware import head_hessians, put_heads_on_grid
from whet.compress.quantize.data_free import corrected_by_norms
from whet.compress.quantize.distilled import TASK, calibrated
from whet.compress.quantize.distilled import check as check_calibration
from whet.compress.quantize.equalization import equalized
from whet.compress.quantize.rounders import ATTENTION_AWARE, COMPENSATED, NEAREST, check
from whet.compress.quantize.rounding import input_moments, put_on_grid
from whet.core.net import Net
from whet.core.passes import Change, Result, Traits
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space, Value
from whet.core.target import Target
from whet.graph.fake_quantize import QUANTIZED, IntegerWeight, is_large_table, quantize_embedding, quantize_weight
from whet.graph.grids import EXACT_BITS, Grid

NETWORK = "network:weights"
OFF, EACH = "float", "per-layer"
WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd, nn.Bilinear, nn.RNNBase)
"""Layers with matrices of weights, of which some have no form with integers."""


@dataclass(frozen=True)
class WeightOnly:
    """Store the weights of convolutions and linear layers as integers: files shrink, outputs hardly change.

        w ~ s q,    q in -most..most of `bits`,    s for each output channel, or for each `group` weights of one

    of the least squared error (`whet.graph.grids.Grid`). With calibration data, weights of fewer than eight bits are
    rounded by the second moments of what layers read, without them to nearest. `rounding` says how: `compensated`
    (`compress.quantize.rounding`), `nearest`, or another name of `compress.quantize.rounders`.
    With `corrected`, biases make up for what rounding adds in the mean, as batch norms tell it
    (`compress.quantize.data_free`): with `rounding='nearest'` no data are asked for. With `equalized` channels between
    two layers are first scaled to even ranges (`compress.quantize.equalization`). With `calibration='distilled'` the
    calibration data are made from what batch norms hold (`compress.quantize.distilled`).

    Runtimes hold the integers and multiply them out when they load the file or, where they have kernels for it, at each
    call (some then round inputs, too); the bytes on disk are an eighth (four bits) or a quarter (eight) of those of
    floats, and a scale for each channel or group. Large embeddings have int8 rows in any case. Layers on a grid
    already, as `quantize.static` leaves them, keep it.

    Of fewer than four bits there are seven, five and three levels (`int3`, `5 levels`, `int2`), packed as digits or as
    a mask and digits (`hardware.onnx_writer.digits`) and decoded when the file is opened. Training mends them
    (`train.learned-steps`). Batch norms stay for that; files have them folded.

    Choices: `network:weights` is `float`, one of these, `int8`, `int4`, `int4 in groups of 32`, or `per-layer`, which
    gives each layer its own `SITE:weights`. Offered is what all runtimes of the target load (`Target.kernels`).
    Paper: Choukroun et al. 2019, Low-bit Quantization of Neural Networks for Efficient Inference (scales of least
    squared error for each kernel); theirs quantizes activations too.
    """

    group: int = 32
    rounding: str = COMPENSATED
    corrected: bool = False
    equalized: bool = False
    calibration: str = TASK
    traits = Traits("weights")
    paper = "choukroun2019low"

    def __post_init__(self) -> None:
        check(self.rounding)
        check_calibration(self.calibration)

    def space(self, net: Net, target: Target) -> Space:
        loaded = target.kernels()
        names = [name for name, grid in self.grids().items() if f"int{_loaded_bits(grid)}" in loaded]
        if not names:
            return Space()
        whole = Choice(NETWORK, (OFF, *names, EACH), OFF)
        each = [Choice(f"{s}:weights", (OFF, *names), OFF, (NETWORK, (EACH,))) for s in _treatable(net)]
        return Space([whole, *each])

    def grids(self) -> dict[str, Grid]:
        """Return the grids by the name that decisions have for them, those of most bytes first."""
        return {g.name: g for g in (Grid(8), Grid(4, self.group), Grid(4), Grid(3), Grid(3, top=2), Grid(2))}

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return each grid of four bits and more for the whole network, that of fewest bytes first."""
        return [Decision({NETWORK: v}) for v in reversed(self._offered(net, target)) if self.grids()[v].bits >= 4]

    def pressed(self, net: Net, target: Target) -> list[Decision]:
        """Return the grids of fewer bits, which lose much until they are trained on, that of most bytes first."""
        return [Decision({NETWORK: v}) for v in self._offered(net, target) if self.grids()[v].bits < 4]

    def _offered(self, net: Net, target: Target) -> list[str]:
        values = next((c.values for c in self.space(net, target) if c.name == NETWORK), ())
        return [str(v) for v in values if v not in (OFF, EACH)]

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        scope = decision.get(NETWORK, OFF)
        if scope == OFF:
            return Result(net.copy())
        if self.rounding != NEAREST:
            run = calibrated(run, net, self.calibration)
        net = equalized(net)[0] if self.equalized else net
        named = {n.rpartition(":")[0]: v for n, v in decision.items() if n.endswith(":weights") and n != NETWORK}
        folded = net.copy()
        layers = folded.layers()
        skipped = dict.fromkeys(named.keys() - layers.keys(), "not in the network any more")
        wanted: dict[str, Value] = dict.fromkeys(weighted(folded), scope) if scope != EACH else named
        changed: list[Change] = []
        for site, value in wanted.items():
            if site not in layers or value == OFF:
                continue
            stored = self.stored(net, run, site, layers[site], self.grids()[str(value)])
            if isinstance(stored, str):
                skipped[site] = stored
                continue
            layer, text = stored
            folded.module.set_submodule(site, layer)
            bits = layer.grid.bits if isinstance(layer, IntegerWeight) else 8
            changed.append(Change(site, f"int{bits} weights", text))
        if not changed:
            skipped.setdefault("network", "no layer is left whose weights could be stored as integers")
        if self.corrected:
            return Result(*_corrected(folded.settle(), net, changed), skipped)
        return Result(folded.settle(), tuple(changed), skipped)

    def stored(
        self, net: Net, run: Run, site: str, layer: nn.Module, grid: Grid
    ) -> tuple[nn.Module, str] | str:  # fmt: skip
        """Return a layer with its weight on a grid, by the moments of what it reads where there are, and its text.

        Of one that has no such form why it has none.
        """
        stored = _stored(layer, grid)
        if self.rounding == NEAREST or grid.bits >= EXACT_BITS or isinstance(stored, str):
            return stored
        if type(layer) not in QUANTIZED:
            return stored
        known, why = input_moments(net, run)
        if site not in known:
            return stored[0], f"{stored[1]}, rounded to nearest: {why.get(site, 'nothing is known of its inputs.')}"
        if self.rounding == ATTENTION_AWARE and (heads := head_hessians(net, run).get(site)):
            put_heads_on_grid(stored[0], known[site], heads)
            return stored[0], f"{stored[1]}, for attention"
        put_on_grid(stored[0], known[site], self.rounding)
        return stored


def _corrected(small: Net, net: Net, changed: list[Change]) -> tuple[Net, tuple[Change, ...]]:
    """Return a net of rounded weights with its biases corrected, and its changes with what came of that."""
    found, kept = corrected_by_norms(small, net, [change.site for change in changed])
    said = {c.site: f"bias kept: {kept[c.site]}" if c.site in kept else "bias corrected" for c in changed}
    return found, tuple(replace(c, text=f"{c.text}, {said[c.site]}") for c in changed)


def _loaded_bits(grid: Grid) -> int:
    """Return the bits of the integers that a runtime loads: fewer than four are decoded within the file."""
    return grid.bits if grid.bits >= 4 else 8


def weighted(net: Net) -> list[str]:
    """Return the layers whose weights are stored in few bits, or of which is said why they are not."""
    return [name for name, layer in net.layers().items() if isinstance(layer, WEIGHTED) or is_large_table(layer)]


def _treatable(net: Net) -> list[str]:
    return [name for name, layer in net.layers().items() if type(layer) in QUANTIZED or is_large_table(layer)]


def _stored(layer: nn.Module, grid: Grid) -> tuple[nn.Module, str] | str:
    """Return a layer with its weight on a grid and what to say of it, or why it has none."""
    if is_large_table(layer):
        return quantize_embedding(layer), "int8 rows, each on a scale of its own"  # type: ignore[arg-type]
    if isinstance(layer, IntegerWeight):
        return f"its weights are in {layer.grid.name} already."
    if type(layer) not in QUANTIZED:
        allowed = ", ".join(sorted(t.__name__ for t in QUANTIZED))
        return f"{type(layer).__name__} has no form with integer weights; {allowed} have."
    own = quantize_weight(layer, grid)
    grouped = grid.group in (0, grid.group_of(own.get_parameter("weight")))
    note = "" if grouped else f", a scale a channel: {grid.group} do not divide its weights"
    return own, f"{replace(grid, group=0).name if note else grid.name}{note}"
