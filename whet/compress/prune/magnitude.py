"""Zeros where weights are small: any of them, or so many of every group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from whet.compress.prune.entropic import entropic
from whet.compress.prune.least_squares import least_squares
from whet.compress.prune.matrix_free import matrix_free
from whet.core.checks import whole
from whet.core.errors import DecisionError, unknown
from whet.core.net import Net
from whet.core.passes import Change, Result, Traits
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.graph.zeros import chosen, hold, masked, sites

NETWORK, KIND, MAGNITUDE = "network", "zeros", "magnitude"
Pruner = Callable[[Net, Mapping[str, Tensor], float, Run, int], dict[str, Tensor]]
"""Of a network, some weights by layer, the share that goes, a run and samples: the new weights."""
PRUNERS: dict[str, Pruner] = {"least-squares": least_squares, "entropic": entropic, "matrix-free": matrix_free}
TIES = ("network", "layer")
GONE = "no layer of that name is left that can have zeros."


@dataclass(frozen=True)
class Magnitude:
    """Set the weights of least magnitude to zero: `network:zeros`, a share among `levels`, identity 0.0.

    Of n weights of all treated layers together floor(z n + 1/2) go, those of least |w|; with `tie='layer'` each layer
    has its own `SITE:zeros` and ranks its own. With a `group` of m, exactly z m of every m weights that follow one
    another in an output go: `magnitude(group=4, levels=(0.0, 0.5))` is 2:4. The zeros are held: what is left is solved
    anew on calibration inputs (`compress.repair`), and stays sparse in every training after that. Files store zeros as
    a bit each (`whet.hardware.onnx_writer.sparse`): they become smaller, no runtime becomes faster.

    Which weights go, and what the others become, is told `by` their magnitude, or by one of `PRUNERS`, which go by the
    gradients of `samples` samples; these know no groups. With several `stages` they are asked for more and more zeros,
    1 - (1 - z)^(t / stages) in stage t, with gradients of the network as it is by then.

    Treated are linear layers and convolutions of at least `least` weights. Needs no data, but for `PRUNERS`.
    Raises: DecisionError for levels outside of [0, 1), without 0.0, or that are no whole number of weights of a group,
    and for a group without magnitudes; UnknownNameError for ties and ways; CalibrationError where samples are missing.
    Paper: Zhu and Gupta 2017, To Prune, or Not to Prune, whose gradual schedule is `train.gradual-pruning`.
    """

    levels: tuple[float, ...] = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)
    group: int = 0
    tie: str = "network"
    least: int = 1024
    by: str = MAGNITUDE
    samples: int = 128
    stages: int = 1
    paper = "zhu2017prune"
    traits = Traits("structure")

    def __post_init__(self) -> None:
        if 0.0 not in self.levels or not all(0 <= z < 1 for z in self.levels):
            raise DecisionError(f"levels must lie in [0, 1) and include 0.0; got {self.levels!r}.")
        if self.tie not in TIES:
            raise unknown("tie", self.tie, TIES)
        if self.by not in (MAGNITUDE, *PRUNERS):
            raise unknown("by", self.by, (MAGNITUDE, *PRUNERS))
        if self.by != MAGNITUDE and self.group:
            raise DecisionError(
                f"'{self.by}' knows no groups: it decides over all weights together; got {self.group!r}."
            )
        whole("samples", self.samples), whole("stages", self.stages)
        counts = [z * whole("group", self.group, least=0) for z in self.levels]
        if any(abs(count - round(count)) > 1e-6 for count in counts if self.group):
            raise DecisionError(f"of a group of {self.group} whole numbers of weights go; got levels {self.levels!r}.")

    def space(self, net: Net, target: Target) -> Space:
        names = self._sites(net)
        tied = [NETWORK] if names and self.tie == "network" else names
        return Space([Choice(f"{site}:{KIND}", self.levels, 0.0) for site in tied])

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return each share for the whole network, the smallest first."""
        names = [choice.name for choice in self.space(net, target)]
        shares = sorted(z for z in self.levels if z)
        return [Decision(dict.fromkeys(names, z)) for z in shares] if names else []

    def damages(self, net: Net, run: Run) -> dict[str, list[float]]:
        """Return by choice the square of the weights that each share takes, in shares of all."""
        weights = self._weights(net, self._sites(net))
        lots = {NETWORK: weights} if self.tie == "network" else {name: {name: w} for name, w in weights.items()}
        return {f"{site}:{KIND}": [self._lost(some, z) for z in self.levels] for site, some in lots.items() if some}

    def shares(self, net: Net, run: Run) -> dict[str, list[dict[str, float]]]:
        """Return nothing: zeros are multiplied like any other number."""
        return {}

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        wanted = {n.rpartition(":")[0]: float(z) for n, z in decision.items() if n.endswith(f":{KIND}") and z}
        smaller, names = net.copy(), self._sites(net)
        skipped = dict.fromkeys(wanted.keys() - {NETWORK, *names}, GONE)
        lots = [(names, wanted[NETWORK])] if NETWORK in wanted else [([n], z) for n, z in wanted.items() if n in names]
        changed: list[Change] = []
        for some, z in lots:
            weights = self._weights(smaller, some)
            left = self._left(weights, z) if self.by == MAGNITUDE else self._solved(smaller, weights, z, run)
            masked(weights, left)
            skipped |= {n: f"groups of {self.group} do not divide its weights." for n in some if n not in left}
            for name in left:
                hold(smaller.layer(name))
                zeros = 1 - int(torch.count_nonzero(weights[name])) / weights[name].numel()
                changed.append(Change(name, "zeros", f"{zeros:.0%} zeros"))
        if wanted and not (changed or skipped):
            skipped[NETWORK] = f"no layer of at least {self.least} weights is left."
        return Result(smaller, tuple(changed), skipped)

    def _left(self, weights: dict[str, Tensor], z: float) -> dict[str, Tensor]:
        """Return which weights are left where a share `z` goes, by layer."""
        return chosen(weights, z, self.group)

    def _solved(self, net: Net, weights: dict[str, Tensor], z: float, run: Run) -> dict[str, Tensor]:
        """Write what a pruner makes of the weights into them, stage by stage; return which are left, by layer."""
        for stage in range(1, self.stages + 1):
            found = PRUNERS[self.by](net, weights, 1 - (1 - z) ** (stage / self.stages), run, self.samples)
            with torch.no_grad():
                for name, weight in weights.items():
                    weight.copy_(found[name])
        return {name: weight != 0 for name, weight in weights.items()}

    def _lost(self, weights: dict[str, Tensor], z: float) -> float:
        left = self._left(weights, z)
        gone = sum(float((weights[name] * ~mask).square().sum()) for name, mask in left.items())
        return gone / max(sum(float(w.square().sum()) for w in weights.values()), 1e-30)

    def _sites(self, net: Net) -> list[str]:
        return list(sites(net.layers(), self.least))

    @staticmethod
    def _weights(net: Net, names: list[str]) -> dict[str, Tensor]:
        return {name: net.layer(name).get_parameter("weight").detach() for name in names}
