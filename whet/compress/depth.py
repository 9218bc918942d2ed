"""Depth: take residual branches away, block by block or so many per stage."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from whet.compress.importance import calibration
from whet.compress.ties import Tie, tie, unfold
from whet.core.net import Net
from whet.core.passes import Result, Traits, changes
from whet.core.run import Run
from whet.core.space import Choice, Decision, Space
from whet.core.target import Target
from whet.graph.blocks import Block, analyze_blocks, drop_blocks


@dataclass(frozen=True)
class Depth:
    """Drop the branch f of residual blocks: y = shortcut(x) + f(x) becomes y = shortcut(x).

    `tie` says what one choice decides:
    - `none`: `SITE:keep` in (True, False) for each block;
    - `stage`: `SITE:blocks` in 0..n, how many of the n alike blocks stay: those whose sums have one shape and
      whose branches are made of the same operations (a transformer has a stage of attentions and one of
      feed-forward blocks); SITE is a brace expression, `layer1.{0..2}`;
    - `network`: one choice `*:blocks` for all blocks.

    Of tied blocks the least influential go first, by `1 - E[cos(shortcut(x), y)]` on `samples` calibration
    (or training) samples (Men et al., 2024, *ShortGPT*). Ties suit budgets of tens of candidates; a choice
    per block makes 2^n decisions and leaves the selection to the search.
    Raises: CalibrationError if a tied decision needs data and the task has none.
    """

    tie: Tie = "none"
    samples: int = 128
    paper = "men2024shortgpt"
    traits = Traits("structure", nests=True)

    def space(self, net: Net, target: Target) -> Space:
        blocks = analyze_blocks(net).blocks
        if self.tie == "none":
            return Space([Choice(f"{site}:keep", (True, False), True) for site in blocks])
        nodes, layers = {n.name: n for n in net.graph.nodes}, net.layers()

        def stage(block: Block) -> Hashable:
            targets = [str(n.target) for n in map(nodes.__getitem__, block.body) if n.op != "get_attr"]
            return block.shape, tuple(type(layers[t]).__name__ if t in layers else t for t in targets)

        ties = tie(blocks.items(), self.tie, stage)
        return Space([Choice(f"{s}:blocks", tuple(range(len(m) + 1)), len(m)) for s, m in ties.items()])

    def obvious(self, net: Net, target: Target) -> list[Decision]:
        """Return every fourth block dropped, then every second; of blocks that are tied a quarter, then half."""
        choices = list(self.space(net, target))
        if self.tie == "none":
            found = [Decision({c.name: False for c in choices[1::step]}) for step in (4, 2)]
        else:
            shares = (0.75, 0.5)
            found = [Decision({c.name: round(share * len(c.values[1:])) for c in choices}) for share in shares]
        return [d for d in dict.fromkeys(found) if len(d)]

    def damages(self, net: Net, run: Run) -> dict[str, list[float]]:
        """Return by choice the influence of the blocks that each of its values drops, the least influential first."""
        blocks = analyze_blocks(net).blocks
        influence = block_influence(net, list(blocks.values()), run, self.samples)
        found = dict[str, list[float]]()
        for choice in self.space(net, run.target):
            sites = unfold(choice.name.rpartition(":")[0], blocks)
            ranked = sorted(influence[site] for site in sites)
            found[choice.name] = [sum(ranked[: len(sites) - int(value)]) for value in choice.values]
        return found

    def shares(self, net: Net, run: Run) -> dict[str, list[dict[str, float]]]:
        """Return by choice, for each of its values, the share of their operations that it leaves layers.

        Of tied blocks the first ones count, which of them go is not asked.
        """
        blocks = analyze_blocks(net).blocks
        found = dict[str, list[dict[str, float]]]()
        for choice in self.space(net, run.target):
            sites = unfold(choice.name.rpartition(":")[0], blocks)
            gone = [sites[: len(sites) - int(value)] for value in choice.values]
            found[choice.name] = [{layer: 0.0 for site in some for layer in blocks[site].layers} for some in gone]
        return found

    def apply(self, net: Net, decision: Decision, run: Run) -> Result:
        found = analyze_blocks(net)
        skipped = dict(found.skipped)
        drops: list[tuple[list[str], int]] = []
        for name, value in decision.items():
            folded, _, kind = name.rpartition(":")
            if kind not in ("keep", "blocks"):
                continue
            sites = unfold(folded, found.blocks)
            here = [site for site in sites if site in found.blocks]
            skipped |= {s: "no such residual block is left in the network." for s in sites if s not in here}
            drops.append((here, max(0, len(here) - int(value))))
        gone = self._least_influential(net, found.blocks, drops, run)
        changed = {site: _describe(net, found.blocks[site]) for site in gone}
        return Result(drop_blocks(net, gone), changes("dropped", changed), skipped)

    def _least_influential(
        self, net: Net, blocks: Mapping[str, Block], drops: Sequence[tuple[list[str], int]], run: Run
    ) -> list[str]:
        ranked = [blocks[site] for sites, count in drops if 0 < count < len(sites) for site in sites]
        influence = block_influence(net, ranked, run, self.samples) if ranked else {}
        return [site for sites, count in drops for site in sorted(sites, key=lambda s: influence.get(s, 0.0))[:count]]


def _describe(net: Net, block: Block) -> str:
    parameters = [p for name in block.layers for p in net.layer(name).parameters()]
    parameters += [net.module.get_parameter(name) for name in block.parameters]
    count = sum(p.numel() for p in parameters)
    return f"branch of {len(block.layers)} layers and {count:,} parameters dropped"


@torch.no_grad()
def block_influence(net: Net, blocks: Sequence[Block], run: Run, samples: int = 128) -> dict[str, float]:
    """Return, by site, `1 - E[cos(shortcut(x), shortcut(x) + f(x))]`, cosines over all but the batch axis.

    Raises: CalibrationError if the task has neither calibration nor training batches.
    """
    watched = {name for b in blocks for name in (b.shortcut, b.add)}
    distances: dict[str, list[Tensor]] = {b.site: [] for b in blocks}
    with net.evaluating():
        for inputs, _ in calibration(run.task, samples):
            values = _record(net, inputs, watched)
            for b in blocks:
                before, after = (values[name].flatten(1) for name in (b.shortcut, b.add))
                distances[b.site].append(1 - torch.cosine_similarity(before, after))
    return {site: float(torch.cat(parts).mean()) for site, parts in distances.items()}


def _record(net: Net, inputs: tuple[Tensor, ...], names: set[str]) -> dict[str, Tensor]:
    values: dict[str, Tensor] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            out = super().run_node(n)
            if n.name in names:
                values[n.name] = out
            return out

    Recorder(net.module).run(*inputs)
    return values
