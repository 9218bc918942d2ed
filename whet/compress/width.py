"""Width: cut channels, heads and neurons, the least important first, to aligned sizes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from whet.compress.importance import Importance, rises
from whet.compress.importances import IMPORTANCES, Frozen
from whet.compress.ties import Tie, tie, unfold
from whet.core.errors import DecisionError, unknown
from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space, Value
from whet.core.target import Target
from whet.graph.axes import AtomGroup, Axes, analyze
from whet.graph.cut import cut
from whet.graph.fractions import aligned, all_alike, check_fractions
from whet.graph.sides import reads, writes

LASTING = 3.0
"""How many times more of a cut in width outlasts a short training than of a dropped block, where nothing is repaired.

Of factors from 1 to 6, 3 forecasts candidates best: the mean |log(forecast / measured)| of a candidate's drop from
those before it is 0.27 where a factor of 1 has 0.31 (141 candidates of 15 searches on ResNet-20, ResNet-44 and an MLP).
"""
EIGHTHS = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)


@dataclass(frozen=True)
class Width:
    """Keep a fraction of the atoms of each group: channels, heads, groups, neurons.

    `SITE:width` in `fractions`, identity 1.0; a fraction q of n atoms keeps `a * max(1, round(q n / a))`,
    where a is the alignment: `round_to`, or the target's, halved until the smallest fraction keeps at least a
    atoms. Which atoms: those that `importance` (a name in `IMPORTANCES`, or a score) ranks highest; groups that an
    earlier pass removed are reported as skipped. By default those are kept whose loss the layers that read the group
    make up for least (`error_rise`): in `benchmarks/results/repair.md` the repaired outputs then err less than by norms
    and gradients on each of the four networks, at half and at a quarter of the channels.

    `tie` says what one choice decides:
    - `none`: each group has its own choice;
    - `stage`: groups of equal kind and size share one, but a residual stream (written and read by several
      layers) none with the inside of blocks; SITE then is a brace expression, `layer1.{0..2}.conv1`;
    - `network`: one choice for all groups, `*:width`.

    ResNet-20 has 12 groups, hence 4^12 decisions; tied by stage 4^5, which tens of candidates can search.
    `streams` False leaves residual streams whole. `samples` is for importances that need data.
    Raises: UnknownNameError for the importance; DecisionError for fractions that are no fractions or lack 1.
    """

    fractions: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    importance: str | Importance = "error_rise"
    tie: Tie = "stage"
    round_to: int | None = None
    streams: bool = True
    samples: int = 256
    paper = "li2017filters"
    traits = Traits("structure", nests=True)

    def __post_init__(self) -> None:
        if isinstance(self.importance, str) and self.importance not in IMPORTANCES:
            raise unknown("importance", self.importance, IMPORTANCES)
        check_fractions(self.fractions)
        if self.round_to is not None and self.round_to < 1:
            raise DecisionError(f"round_to must be at least 1; got {self.round_to!r}.")

    def space(self, net: Net, target: Target) -> Space:
        def stage(group: AtomGroup) -> Hashable:
            return group.kind, group.size, is_stream(net, group)

        groups = self._groups(net, analyze(net))
        sites = tie(groups.items(), self.tie, stage)
        return Space([Choice(f"{site}:width", self.fractions, 1.0, lasting=LASTING) for site in sites])

    def frozen(self, net: Net, run: Run) -> Width:
        """Return the pass with the scores of today's weights, so that the sub-networks of a supernet nest."""
        if not isinstance(self.importance, str):
            return self
        return replace(self, importance=Frozen.of(net, self.importance, run, self.samples))

    def untrained(self) -> Width:
        """Return the pass as it is best searched where nothing is trained: group by group, in eighths.

        A candidate then costs a second, and hundreds of them can tell finer choices apart. What was set stays.
        """
        return replace(self, tie="none", fractions=EIGHTHS) if self == Width() else self

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return each fraction for all groups at once, the largest first: residual streams left whole, then cut too."""
        spaces = [replace(self, streams=streams).space(net, target) for streams in sorted({False, self.streams})]
        return list(dict.fromkeys(d for space in spaces for d in all_alike(space.choices, self.fractions)))

    def damages(self, net: Net, run: Run) -> dict[str, list[float]]:
        """Return by choice the error that each of its values leaves in what reads its groups, in shares of its outputs.

        Choices of groups whose importance is no error are left out.
        """
        if self.importance != "error_rise":
            return {}
        groups = self._groups(net, analyze(net))
        known = rises(net, list(groups.values()), run, self.samples)
        found = dict[str, list[float]]()
        for choice in self.space(net, run.target):
            sites = unfold(choice.name.rpartition(":")[0], groups)
            if all(site in known for site in sites):
                kept = [[self._left(net, groups[s], f, run.target) for s in sites] for f in choice.values]
                found[choice.name] = [sum(_lost(known[s], n) for s, n in zip(sites, row, strict=True)) for row in kept]
        return found

    def shares(self, net: Net, run: Run) -> dict[str, list[dict[str, float]]]:
        """Return by choice, for each of its values, the share of their operations that it leaves layers."""
        groups = self._groups(net, analyze(net))
        found = dict[str, list[dict[str, float]]]()
        for choice in self.space(net, run.target):
            sites = unfold(choice.name.rpartition(":")[0], groups)
            found[choice.name] = [{} for _ in choice.values]
            for left, fraction in zip(found[choice.name], choice.values, strict=True):
                for site in sites:
                    share = self._left(net, groups[site], fraction, run.target) / groups[site].size
                    for member in groups[site].members:
                        if net.module.get_parameter(member.parameter).ndim > 1:
                            layer = member.parameter.rpartition(".")[0]
                            left[layer] = left.get(layer, 1.0) * share
        return found

    def _left(self, net: Net, group: AtomGroup, fraction: Value, target: Target) -> int:
        return self.kept(net, group, float(fraction), target.alignment)

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        if not any(name.endswith(":width") and fraction != 1.0 for name, fraction in decision.items()):
            return Result(net.copy())
        axes = analyze(net)
        wanted, skipped = self.wanted(net, axes, decision, run.target)
        keep = self._most_important(net, wanted, run)
        for site in wanted.keys() - keep.keys():
            skipped[site] = f"importance {self.importance!r} has no tensor to go by among this group's."
        changed = {s: f"{wanted[s][0].size} to {len(k)} {wanted[s][0].kind}" for s, k in keep.items()}
        return Result(cut(net, keep, axes), changes("narrower", changed), skipped)

    def wanted(
        self, net: Net, axes: Axes, decision: Decision, target: Target, kind: str = "width"
    ) -> tuple[dict[str, tuple[AtomGroup, int]], dict[str, str]]:
        """Return by site each group that a decision makes smaller with the number of its atoms, and what is skipped.

        The choices are those that are named `SITE:kind`.
        """
        groups, skipped = self._groups(net, axes), dict(axes.skipped)
        found: dict[str, tuple[AtomGroup, int]] = {}
        for name, fraction in decision.items():
            folded, _, own = name.rpartition(":")
            for site in unfold(folded, groups) if own == kind and fraction != 1.0 else ():
                if site in groups:
                    found[site] = groups[site], self.kept(net, groups[site], float(fraction), target.alignment)
                else:
                    skipped[site] = "no such group of atoms is left in the network."
        return {site: (group, count) for site, (group, count) in found.items() if count < group.size}, skipped

    def _groups(self, net: Net, axes: Axes) -> dict[str, AtomGroup]:
        return {s: g for s, g in axes.groups.items() if self.streams or not is_stream(net, g)}

    def kept(self, net: Net, group: AtomGroup, fraction: float, alignment: int) -> int:
        """Return how many of the group's atoms `fraction` keeps; halves round up."""
        if fraction == 1.0:
            return group.size
        per_atom = min(int((m.atom >= 0).sum()) for m in group.members) // group.size
        step = max(1, (self.round_to or alignment) // max(1, per_atom))
        return aligned(group.size, fraction, self.fractions, step, group.size)

    def _most_important(self, net: Net, wanted: Mapping[str, tuple[AtomGroup, int]], run: Run) -> dict[str, list[int]]:
        if not wanted:
            return {}
        score = IMPORTANCES[self.importance] if isinstance(self.importance, str) else self.importance
        scores = score(net, [group for group, _ in wanted.values()], run, self.samples)
        return {
            site: sorted(np.argsort(-scores[site], kind="stable")[:count].tolist())
            for site, (_, count) in wanted.items()
            if site in scores
        }


def is_stream(net: Net, group: AtomGroup) -> bool:
    """Say whether the group is a residual stream: written by several layers and read by several."""
    written = sum(writes(net, m) for m in group.members)
    return written > 1 and sum(reads(net, m) for m in group.members) > 1


def _lost(rise: NDArray[np.float64], kept: int) -> float:
    """Return the error that is reached when so many atoms are kept."""
    gone = len(rise) - kept
    return float(np.sort(rise)[gone - 1]) if gone else 0.0
