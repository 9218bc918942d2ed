"""Static int8: weights per output channel, activations per tensor, calibrated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

from whet.compress.lockstep import Inputs
from whet.compress.quantize.calibration import Observed, calibration_inputs, observe
from whet.compress.quantize.correction import corrected
from whet.compress.quantize.distilled import TASK, calibrated
from whet.compress.quantize.distilled import check as check_calibration
from whet.compress.quantize.equalization import equalized
from whet.compress.quantize.observers import OBSERVERS, Seen, asymmetric, symmetric
from whet.compress.quantize.points import FREELY, SPACINGS, put_on_points
from whet.compress.quantize.rounding import input_moments, put_on_grid
from whet.compress.quantize.smoothing import Smoothing, divide_inputs, multiplied_before, smoothed
from whet.compress.quantize.streams import Stream, streams
from whet.compress.reference import Reference
from whet.compress.repair import answers, error_of, parted
from whet.core.checks import ValueRangeError, whole
from whet.core.errors import unknown
from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.graph.fake_quantize import (
    QUANTIZED,
    ActivationQuantizer,
    is_large_table,
    quantize_embedding,
    quantize_weight,
)  # fmt: skip
from whet.graph.fold import fold_batch_norms
from whet.graph.grids import EXACT_BITS, INT8, Grid
from whet.graph.uses import used_once

NETWORK = "network:int8"
MOST_POINTS = 15
"""A byte holds the places of two weights among so many, and of one among more."""
GROUPED_BITS = 5
"""Of more bits a group's scale would have too few multiples to choose from."""
HELD, CORRECTED = 48, 64
"""Samples that ways of quantizing are compared on, and that biases are corrected on."""


@dataclass(frozen=True)
class StaticQuantization:
    """Quantise convolutions, linear layers and large embeddings to int8 with ranges from calibration data.

    `x ~ s_x q_x` per tensor with q_x 8-bit, unsigned where the tensor is never negative and signed elsewhere,
    `w ~ s_w q_w` with q_w signed 8-bit and s_w per output channel: the layer then runs on integers. Batch norms are
    folded first. Quantizers stand at the inputs of quantised layers only; layers that read the same tensor share one.
    Grids are symmetric, as zero points cost runtimes a correction of every sum, or `asymmetric`: all 256 steps on the
    range, whatever its middle. No labels and no training; training through it works.

    Outlying features of what linear layers read are smoothed (`smoothing`), biases make up for the mean of each
    layer's error (`correction`), each only where that lowers the outputs' error on calibration inputs held out.

    With `sums` residual sums behind convolutions, and averages at the end, compute with integers as well: every term is
    on a grid (`streams`), and runtimes add within the convolution. ResNet-44 in OpenVINO, three races on an EPYC:
    x1.37, 1.36 and 1.35 in place of x1.25, 1.24 and 1.23, and .8922 of 5,000 images right in place of .8926.

    With `weight_bits` 4 (or 3, 2) weights lie on grids of fewer bits, rounded by the second moments of what layers read
    (`quantize.rounding`, as in QQQ by Zhang et al. 2024), and still multiply integers of eight bits: the file holds
    digits, which are int8 once it is open. Its bytes are those of four bits, its speed that of int8. With a `group`
    each so many of them have a scale of their own, a whole multiple of their channel's (`graph.multiples`).

    With `points` (up to 15) the weights of each layer take so many of the integers of eight bits, which lie where its
    weights are (`quantize.points`): the bytes of few bits again. Training moves them (`train.learned-points`). They lie
    `spaced='by-power'` where one exponent a layer puts them (`quantize.power-points`).

    Where the target's processor sums products of eight bits inexactly, weights have seven (`Target.weight_bits`).

    With `equalized` channels between two layers are first scaled to even ranges (`quantize.equalization`); with
    `calibration='distilled'` calibration data are made from what batch norms hold (`quantize.distilled`).

    Choices: `network:int8` is `off`, `all`, `asymmetric` (all as well), or `per-layer`, which gives each layer its own
    `SITE:bits`.
    Calibrates on the task's calibration batches, or the training batches where it has none.
    Raises: CalibrationError if the task has neither. Paper: Jacob et al. 2018, Quantization and
    Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference; ranges are calibrated here, where
    the paper learns them as moving averages during training.
    """

    observer: str = "mean_squared_error"
    samples: int = 256
    sums: bool = True
    weight_bits: int = 8
    group: int = 0
    points: int = 0
    spaced: str = FREELY
    equalized: bool = False
    calibration: str = TASK
    traits = Traits("weights", needs=("calibration",))

    def __post_init__(self) -> None:
        if self.observer not in OBSERVERS:
            raise unknown("observer", self.observer, OBSERVERS)
        check_calibration(self.calibration)
        if self.spaced not in SPACINGS:
            raise unknown("spacing", str(self.spaced), SPACINGS)
        if self.weight_bits not in range(2, EXACT_BITS + 1):
            raise ValueRangeError(f"weight_bits must be from 2 to {EXACT_BITS}; got {self.weight_bits!r}.")
        if whole("group", self.group, least=0) and self.weight_bits > GROUPED_BITS:
            raise ValueRangeError(f"groups are for weights of at most {GROUPED_BITS} bits; got {self.weight_bits}.")
        if self.points and (
            self.points not in range(2, MOST_POINTS + 1) or self.group or self.weight_bits < EXACT_BITS
        ):
            raise ValueRangeError(
                f"points must be from 2 to {MOST_POINTS}, of weights of {EXACT_BITS} bits without groups; got "
                f"{self.points!r} of {self.weight_bits} bits."
            )

    def space(self, net: Net, target: Target) -> Space:
        whole = Choice(NETWORK, ("off", "all", "asymmetric", "per-layer"), "off")
        return Space([whole, *map(_choice, _quantizable(net))])

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return the whole network on symmetric grids, then on asymmetric ones, which lose less and run slower."""
        return [Decision({NETWORK: scope}) for scope in ("all", "asymmetric")] if _quantizable(net) else []

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        scope = decision.get(NETWORK, "off")
        if scope == "off":
            return Result(net.copy())
        named = _quantizable(net)
        wanted = set(named if scope != "per-layer" else [n for n in named if decision.of(_choice(n)) == 8])
        gone = [n for n in decision if n.endswith(":bits") and n.rpartition(":")[0] not in named]
        skipped = {n.rpartition(":")[0]: "not in the network any more" for n in gone}
        if not wanted:
            return Result(net.copy(), (), skipped | {"network": "no layer was chosen for int8"})
        run = calibrated(run, net, self.calibration)
        folded = fold_batch_norms(equalized(net)[0] if self.equalized else net)
        batches = calibration_inputs(run.task, self.samples)
        total = sum(len(inputs[0]) for inputs in batches)
        shown, held = parted(batches, total - min(HELD, total // 4))
        kept = streams(folded, wanted) if self.sums else ()
        most = run.target.weight_bits
        grid = Grid(min(self.weight_bits, most), self.group, within=most if self.group else 0, points=self.points)
        known = input_moments(folded, run)[0] if self.weight_bits < EXACT_BITS or self.points else {}
        work = _Quantizing(folded, wanted, scope == "asymmetric", self.observer, kept, grid, known, self.spaced)
        result = work.best(shown, held, run.seed)
        return Result(result.net, result.changed, skipped | result.skipped | _untreatable(folded))


@dataclass(frozen=True)
class _Quantizing:
    """The layers `wanted` of a net become int8, in each of the ways that there are to do it well."""

    net: Net
    wanted: set[str]
    is_asymmetric: bool
    observer: str
    streams: Sequence[Stream] = ()
    grid: Grid = INT8
    moments: Mapping[str, Tensor] = field(default_factory=dict)
    """Of what layers read in the net; where weights have eight bits none are asked for."""
    spaced: str = FREELY

    def best(self, shown: Sequence[Inputs], held: Sequence[Inputs], seed: int) -> Result:
        """Return the way of least error on the held inputs: as it is, smoothed, and either of them corrected."""
        sites = {n for n in self.wanted if not isinstance(self.net.layer(n), nn.Embedding)}
        sources = {source for stream in self.streams for source, _ in stream.edges}
        observed = observe(self.net, sites, shown, seed, sources)
        best = self.quantized(observed, {})
        if not held or not best.changed:
            return best
        reference = Reference(self.net, {}, (), tuple(held), answers=answers(self.net, held))
        least = error_of(reference, answers(best.net, held))
        if smoothings := self._smoothings(observed, best):
            other = self.quantized(observed, smoothings)
            error = error_of(reference, answers(other.net, held))
            best, least = (other, error) if error < least else (best, least)
        first, _ = parted(shown, CORRECTED)
        net = corrected(best.net, self.net, first)
        better = error_of(reference, answers(net, held)) < least
        return Result(net if better else best.net, best.changed, best.skipped)

    def quantized(self, observed: Observed, smoothings: dict[str, Smoothing]) -> Result:
        """Return the net with quantizers and int8 weights; tensors are smoothed by node."""
        net, changed, skipped = self.net.copy(), dict[str, str](), dict[str, str]()
        left = self._smooth(net, smoothings)
        quantizers: dict[fx.Node, fx.Node] = {}
        for node in list(net.graph.nodes):
            site = str(node.target)
            if node.op != "call_module" or site not in self.wanted:
                continue
            layer = net.layer(site)
            if isinstance(layer, nn.Embedding):
                if type(layer) is nn.Embedding:
                    net.module.set_submodule(site, quantize_embedding(layer))
                changed[site] = "int8"
                continue
            source = node.all_input_nodes[0]
            if reason := unusable(observed.seen[source.name]):
                skipped[site] = reason
                continue
            if source not in quantizers:
                name = source.name
                quantizer = self._quantizer(observed.seen[name], smoothings.get(name), name in left)
                quantizers[source] = insert(net, source, f"{site}_input", quantizer)
            node.args = (quantizers[source],)
            if type(layer) in QUANTIZED:
                net.module.set_submodule(site, self._stored(site, layer, smoothings.get(source.name)))
            changed[site] = "int8" if self.grid == INT8 else f"int8, weights {self.grid.name}"
        for stream in self.streams:
            terms = [source for source, _ in stream.edges]
            if any(name in smoothings or unusable(observed.seen[name]) for name in terms):
                continue  # a grid of scaled features is no sum's
            self._keep_integers(net, stream, observed, quantizers)
        skipped = {site: why for site, why in skipped.items() if site not in changed}
        return Result(net.settle(), changes("int8", changed), skipped)

    def _stored(self, site: str, layer: nn.Module, smoothing: Smoothing | None) -> nn.Module:
        """Return a layer with its weight on the grid, rounded by the moments of what it reads by now."""
        stored, moments = quantize_weight(layer, self.grid), self.moments.get(site)
        if moments is not None and smoothing is not None:
            factor = smoothing.factor.double()
            moments = moments * factor * factor.unsqueeze(-1)
        if self.grid.points:
            put_on_points(stored, moments, self.spaced)
        elif self.grid.bits < EXACT_BITS and moments is not None:
            put_on_grid(stored, moments)
        return stored

    def _keep_integers(self, net: Net, stream: Stream, observed: Observed, quantizers: dict[fx.Node, fx.Node]) -> None:
        """Put all terms of a sum or an average on grids.

        Terms that no layer reads have asymmetric grids: a zero point costs sums nothing.
        """
        nodes = {node.name: node for node in net.graph.nodes}
        for name, reader in stream.edges:
            source = nodes[name]
            if source not in quantizers:
                grid = asymmetric(*OBSERVERS[self.observer](observed.seen[name], asymmetric))
                quantizers[source] = insert(net, source, f"{name}_output", ActivationQuantizer(*grid))
            nodes[reader].replace_input_with(source, quantizers[source])

    def _quantizer(self, seen: Seen, smoothing: Smoothing | None, is_left: bool) -> ActivationQuantizer:
        if smoothing is not None:
            return ActivationQuantizer(smoothing.scale, smoothing.zero, smoothing.factor if is_left else None)
        grid = asymmetric if self.is_asymmetric else symmetric
        return ActivationQuantizer(*grid(*OBSERVERS[self.observer](seen, grid)))

    def _readers(self, node: fx.Node) -> list[fx.Node]:
        return [user for user in node.users if user.op == "call_module" and str(user.target) in self.wanted]

    def _smoothings(self, observed: Observed, plain: Result) -> dict[str, Smoothing]:
        """Return the smoothings that pay, by the node whose tensor they scale."""
        alone, found = used_once(self.net), dict[str, Smoothing]()
        grid = asymmetric if self.is_asymmetric else symmetric
        for node in self.net.graph.nodes:
            sites = [str(user.target) for user in self._readers(node)]
            if node.name not in observed.rows or not alone.issuperset(sites) or not plain.texts.keys() >= set(sites):
                continue
            weight = torch.cat([self.net.module.get_parameter(f"{site}.weight").detach() for site in sites])
            smoothing = smoothed(observed.rows[node.name], weight, OBSERVERS[self.observer], grid)
            if smoothing is not None:
                found[node.name] = smoothing
        return found

    def _smooth(self, net: Net, smoothings: dict[str, Smoothing]) -> set[str]:
        """Divide the weights that read a tensor by its factor; return the nodes that no layer in front could scale."""
        left: set[str] = set()
        for node in net.graph.nodes:
            if node.name in smoothings:
                readers, factor = self._readers(node), smoothings[node.name].factor
                for reader in readers:
                    divide_inputs(net.layer(str(reader.target)), factor)
                if not multiplied_before(net, node, readers, factor):
                    left.add(node.name)
        return left


def _quantizable(net: Net) -> list[str]:
    """Return the layers that can be int8: those with a kernel for it, and embeddings of a size worth it."""
    return [name for name, layer in net.layers().items() if type(layer) in QUANTIZED or is_large_table(layer)]


def unusable(seen: Seen) -> str:
    """Return why a tensor cannot be put on a grid; nothing if it can."""
    if not (math.isfinite(seen.low) and math.isfinite(seen.high)):
        return "its input was not finite on the calibration data"
    return "" if max(-seen.low, seen.high) > 0 else "its input was zero on all calibration data"


def _untreatable(net: Net) -> dict[str, str]:
    """Return why layers with weight matrices stay float, by name: int8 is for convolutions and linear layers."""
    allowed = ", ".join(sorted(t.__name__ for t in QUANTIZED))
    kinds = (nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Bilinear, nn.RNNBase)
    found = {name: layer for name, layer in net.layers().items() if isinstance(layer, kinds)}
    return {name: f"int8 is for {allowed}; this is a {type(layer).__name__}" for name, layer in found.items()}


def _choice(site: str) -> Choice:
    return Choice(f"{site}:bits", (8, 32), 32, when=(NETWORK, ("per-layer",)))


def insert(net: Net, source: fx.Node, name: str, quantizer: nn.Module) -> fx.Node:
    """Place `quantizer` behind `source`."""
    taken = {n for n, _ in net.module.named_modules()}
    while name in taken:
        name += "_"
    owner, _, last = name.rpartition(".")
    net.module.get_submodule(owner).add_module(last, quantizer)
    with net.graph.inserting_after(source):
        node = net.graph.call_module(name, (source,))
    node.meta = dict(source.meta)
    return node
