"""Genetic search on the few genes of a language model: how many layers, and how wide each layer's perceptron."""

from __future__ import annotations

from collections.abc import Sequence

from whet.core.errors import DecisionError
from whet.core.space import Choice, Decision, Space, Value
from whet.core.strategy import Observation
from whet.decisions.enumerate import size
from whet.decisions.genes import ordered
from whet.decisions.ledger import LedgerStrategy
from whet.search.strategies.alternating import Alternating

DEPTH = "network:depth"
LAYERS = (0.75, 0.875, 1.0)
"""The shares of the blocks that are kept: 24, 28 and 32 of LLaMA2-7B's."""
SIZES = (0.5, 1.0)
"""The shares of a perceptron's width: 5,504 and 11,008 of LLaMA2-7B's."""


class LlamaNas(LedgerStrategy):
    """NSGA-II on predictors, alternating with measurements, on one gene for the depth and one for each width.

        (layers, w_1, ..., w_n)  stands for the decision that drops the last blocks beyond the share `layers` and has
        of each width the value nearest to its w: 3 * 2^32, some 10^10, points for the 32 layers of LLaMA2-7B.

    A space of 2^n ways to drop blocks becomes one of few, in which tens of measurements go far; everything else, such
    as a runtime's precision, is left as it is, for quantization goes on top of what was found. The engine is
    `alternating` (LINAS), whose population is measured again after each evolution on predictors. With `--elastic` the
    network is fine-tuned once, as a supernet of such proposals, and candidates are cut from it: the paper's one shot.
    Decisions of other kinds that it is told teach it nothing. Where nothing of its space is left it proposes nothing.

    Paper: Sarah et al. 2024, LLaMA-NAS: Efficient Neural Architecture Search for Large Language Models.
    Raises: DecisionError for a space without blocks to drop or widths to choose.

    >>> blocks = [Choice(f"b{i}:keep", (True, False), True) for i in range(8)]
    >>> strategy = LlamaNas(Space([*blocks, Choice("b0.mlp:width", (0.25, 0.5, 0.75, 1.0), 1.0)]))
    >>> dict(strategy.decision(Decision({"network:depth": 0.75, "b0.mlp:width": 0.5})))
    {'b0.mlp:width': 0.5, 'b6:keep': False, 'b7:keep': False}
    """

    def __init__(
        self, space: Space, seed: int = 0, directions: Sequence[str] = ("maximize", "minimize"), *,
        layers: Sequence[float] = LAYERS, sizes: Sequence[float] = SIZES, warm_up: int = 12, every: int = 4,
    ) -> None:  # fmt: skip
        super().__init__(space, seed, directions)
        self.blocks = [c for c in space if c.kind == "keep" and c.when is None and set(c.values) == {True, False}]
        widths = [c for c in space if c.kind == "width" and c.when is None and ordered(c)]
        if not self.blocks and not widths:
            raise DecisionError(
                "strategy 'llama-nas' needs blocks to drop or widths to choose; this space has: "
                f"{', '.join(space.choices) or 'nothing'}."
            )
        self.genome = Space([*self._depth(layers), *(_coarse(c, sizes) for c in widths)])
        self.engine = Alternating(self.genome, seed, directions, warm_up=warm_up, every=every)

    def _depth(self, layers: Sequence[float]) -> list[Choice]:
        """Return the gene of the depth, of as many values as there are different numbers of blocks."""
        counts = {round(share * len(self.blocks)): share for share in sorted({*layers, 1.0})}
        return [Choice(DEPTH, tuple(counts.values()), counts[len(self.blocks)])] if self.blocks else []

    def decision(self, genes: Decision) -> Decision:
        """Return the decision that genes stand for."""
        share = float(genes.get(DEPTH, 1.0))
        values: dict[str, Value] = {name: value for name, value in genes.items() if name != DEPTH}
        values |= {c.name: False for c in self.blocks[round(share * len(self.blocks)) :]}
        return self.space.canonical(Decision(values))

    def genes(self, decision: Decision) -> Decision | None:
        """Return the genes that stand for a decision, None where none do."""
        kept = sum(bool(decision.of(c)) for c in self.blocks)
        values: dict[str, Value] = {name: decision[name] for name in self.genome.choices if name in decision}
        if self.blocks:
            shares = {round(float(share) * len(self.blocks)): share for share in self.genome.choices[DEPTH].values}
            values[DEPTH] = shares.get(kept, -1.0)
        if any(value not in self.genome.choices[name].values for name, value in values.items()):
            return None
        found = self.genome.canonical(Decision(values))
        return found if self.decision(found) == decision else None

    def propose(self) -> Decision | None:
        """Return what the engine proposes next, None where every point of the genome is known."""
        entries: dict[Decision, Observation | None] = {}
        for decision, seen in self.ledger.entries.items():
            genes = self.genes(decision)
            if genes is not None:
                entries[genes] = None if seen is None else Observation(genes, seen.values, seen.violation)
        if len(entries) >= size(self.genome):
            return None
        self.engine.ledger.entries = entries
        operations = self.operations
        if operations is not None:
            self.engine.operations = lambda genes: operations(self.decision(genes))
        return self.decision(self.engine.propose())


def _coarse(choice: Choice, sizes: Sequence[float]) -> Choice:
    """Return a width with the values nearest to so many shares of its identity, which is always one of them."""
    whole = float(choice.identity)
    wanted = {min(choice.values, key=lambda v: abs(float(v) - share * whole)) for share in sizes} | {choice.identity}
    return Choice(choice.name, tuple(v for v in choice.values if v in wanted), choice.identity)
