"""Static int8: weights per output channel, activations per tensor, calibrated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import fx, nn

from whet.compress.quantize.observers import OBSERVERS, Seen, asymmetric, symmetric
from whet.core.errors import CalibrationError, unknown
from whet.core.net import Net
from whet.core.passes import Result
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.core.task import rows_of, split
from whet.graph.fake_quantize import QUANTIZED, ActivationQuantizer, quantize_weight
from whet.graph.fold import fold_batch_norms

NETWORK = "network:int8"
KEPT_VALUES = 65536


@dataclass(frozen=True)
class StaticQuantization:
    """Quantise convolutions and linear layers to int8 with ranges from calibration data.

    `x ~ s_x q_x` per tensor with q_x 8-bit, unsigned where the tensor is never negative and signed elsewhere,
    `w ~ s_w q_w` with q_w signed 8-bit and s_w per output channel: the layer then runs on integers. Batch norms are
    folded first. Quantizers stand at the inputs of quantised layers only; layers that read the same tensor share one.
    Grids are symmetric, as zero points cost runtimes a correction of every sum, or `asymmetric`: all 256 steps on the
    range, whatever its middle. No labels and no training; training through it works.

    Choices: `network:int8` is `off`, `all`, `asymmetric` (all as well), or `per-layer`, which gives each layer its own
    `SITE:bits`.
    Calibrates on the task's calibration batches, or the training batches where it has none.
    Raises: CalibrationError if the task has neither. Paper: Jacob et al. 2018, Quantization and
    Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference; ranges are calibrated here, where
    the paper learns them as moving averages during training.
    """

    observer: str = "mean_squared_error"
    samples: int = 256

    def __post_init__(self) -> None:
        if self.observer not in OBSERVERS:
            raise unknown("observer", self.observer, OBSERVERS)

    def space(self, net: Net, target: Target) -> Space:
        whole = Choice(NETWORK, ("off", "all", "asymmetric", "per-layer"), "off")
        return Space([whole, *(_choice(name) for name, layer in net.layers().items() if type(layer) in QUANTIZED)])

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        scope = decision.get(NETWORK, "off")
        if scope == "off":
            return Result(net.copy())
        named = [name for name, layer in net.layers().items() if type(layer) in QUANTIZED]
        wanted = named if scope != "per-layer" else [n for n in named if decision.of(_choice(n)) == 8]
        grid = asymmetric if scope == "asymmetric" else symmetric
        gone = [n for n in decision if n.endswith(":bits") and n.rpartition(":")[0] not in named]
        skipped = {n.rpartition(":")[0]: "not in the network any more" for n in gone}
        if not wanted:
            return Result(net.copy(), {}, skipped | {"network": "no layer was chosen for int8"})
        net = fold_batch_norms(net)
        ranges = _observe(net, set(wanted), run, self.samples)
        changed: dict[str, str] = {}
        quantizers: dict[fx.Node, fx.Node] = {}
        for node in list(net.graph.nodes):
            site = str(node.target)
            if node.op != "call_module" or site not in wanted:
                continue
            seen = ranges[node.args[0].name]
            if not (math.isfinite(seen.low) and math.isfinite(seen.high)):
                skipped[site] = "its input was not finite on the calibration data"
                continue
            if not max(-seen.low, seen.high) > 0:
                skipped[site] = "its input was zero on all calibration data"
                continue
            if node.args[0] not in quantizers:
                scale, zero = grid(*OBSERVERS[self.observer](seen, grid))
                quantizers[node.args[0]] = _insert(net, node.args[0], site, ActivationQuantizer(scale, zero))
            node.args = (quantizers[node.args[0]],)
            if type(net.layer(site)) in QUANTIZED:
                net.module.set_submodule(site, quantize_weight(net.layer(site)))
            changed[site] = "int8"
        skipped = {site: why for site, why in skipped.items() if site not in changed} | _untreatable(net)
        return Result(net.settle(), changed, skipped)


def _untreatable(net: Net) -> dict[str, str]:
    """Return why layers with weight matrices stay float, by name: int8 is for convolutions and linear layers."""
    allowed = ", ".join(sorted(t.__name__ for t in QUANTIZED))
    kinds = (nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Bilinear, nn.RNNBase)
    found = {name: layer for name, layer in net.layers().items() if isinstance(layer, kinds)}
    return {name: f"int8 is for {allowed}; this is a {type(layer).__name__}" for name, layer in found.items()}


def _choice(site: str) -> Choice:
    return Choice(f"{site}:bits", (8, 32), 32, when=(NETWORK, ("per-layer",)))


def _insert(net: Net, source: fx.Node, site: str, quantizer: nn.Module) -> fx.Node:
    """Place `quantizer` behind `source`, named after the first layer that reads it."""
    taken = {n for n, _ in net.module.named_modules()}
    name = f"{site}_input"
    while name in taken:
        name += "_"
    owner, _, last = name.rpartition(".")
    net.module.get_submodule(owner).add_module(last, quantizer)
    with net.graph.inserting_after(source):
        node = net.graph.call_module(name, (source,))
    node.meta = dict(source.meta)
    return node


def _observe(net: Net, sites: set[str], run: Run, samples: int) -> dict[str, Seen]:
    """Return what calibration shows of each tensor that a layer of `sites` reads, by node name."""
    batches = run.task.calibration if run.task.calibration is not None else run.task.train
    if batches is None:
        raise CalibrationError(f"int8 needs calibration data: task '{run.task.name}' has no calibration batches.")
    sources = {n.args[0].name for n in net.graph.nodes if n.op == "call_module" and str(n.target) in sites}
    seen: dict[str, list[Seen]] = {name: [] for name in sources}
    generator = torch.Generator().manual_seed(run.seed)

    class Observer(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n.name in seen:
                flat = value.detach().float().flatten()
                picked = flat[torch.randint(flat.numel(), (KEPT_VALUES // 8,), generator=generator)]
                seen[n.name].append(Seen(picked, float(flat.min()), float(flat.max())))
            return value

    count = 0
    net.eval()
    with torch.no_grad():
        for batch in islice(batches, 1 + samples):
            inputs, _ = split(batch)
            Observer(net.module).run(*inputs)
            count += rows_of(inputs)
            if count >= samples:
                break
    if not count:
        raise CalibrationError(f"int8 needs calibration data: task '{run.task.name}' gave no batch.")
    return {name: Seen.of(parts) for name, parts in seen.items()}
