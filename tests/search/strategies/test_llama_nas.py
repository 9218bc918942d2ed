"""The genome of LLaMA-NAS: its size, what its points stand for, and what a search on so few of them finds."""

from __future__ import annotations

from statistics import mean

import pytest

from whet.core.errors import DecisionError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.decisions.enumerate import point, size
from whet.search import strategies
from whet.search.strategies.llama_nas import DEPTH, LlamaNas
from whet.testing.strategies import SPACES, WIDTHS, check


def llama(blocks: int, precision: bool = False) -> Space:
    """Return a space of blocks and the widths of their perceptrons."""
    runtime = [Choice("runtime:precision", ("f32", "bf16"), "f32")] * precision
    keeps = [Choice(f"layer{i}:keep", (True, False), True) for i in range(blocks)]
    return Space([*keeps, *(Choice(f"layer{i}.mlp:width", WIDTHS, 1.0) for i in range(blocks)), *runtime])


def test_the_genome_of_llama_2_7b_has_the_papers_size() -> None:
    """24, 28 or 32 layers, and of each layer 5,504 or 11,008 hidden neurons: 1.3e10 where decisions are 8^32."""
    space = llama(32)
    strategy = LlamaNas(space)
    assert size(strategy.genome) == 3 * 2**32 and size(space) == 8**32
    dropped = [sum(n.endswith("keep") for n in strategy.decision(Decision({DEPTH: d}))) for d in (0.75, 0.875, 1.0)]
    assert dropped == [8, 4, 0]


def test_a_point_of_the_genome_drops_the_last_blocks_and_halves_widths() -> None:
    strategy = LlamaNas(llama(4, precision=True), layers=(0.5, 1.0))
    found = strategy.decision(Decision({DEPTH: 0.5, "layer1.mlp:width": 0.5}))
    assert found == Decision({"layer2:keep": False, "layer3:keep": False, "layer1.mlp:width": 0.5})
    assert "runtime:precision" not in strategy.genome.choices


def test_genes_and_decisions_are_the_same_thing() -> None:
    strategy = LlamaNas(llama(3, precision=True), layers=(0.0, 0.3, 0.7, 1.0), sizes=(0.25, 0.5, 1.0))
    points = [point(strategy.genome, rank) for rank in range(size(strategy.genome))]
    decisions = [strategy.decision(p) for p in points]
    assert len(set(decisions)) == len(points) == 4 * 3**3
    assert [strategy.genes(d) for d in decisions] == points
    others = ({"layer0:keep": False}, {"layer0.mlp:width": 0.75}, {"runtime:precision": "bf16"})
    assert [strategy.genes(Decision(d)) for d in others] == [None] * 3  # type: ignore[arg-type]


def test_every_point_is_proposed_once_and_then_nothing() -> None:
    strategy = LlamaNas(llama(2), layers=(0.5, 1.0), warm_up=3)
    strategy.tell([Observation(Decision({"layer0:keep": False}), (9.0, 0.0))])  # no point of the genome
    asked = []
    while decision := strategy.ask():
        asked += decision
        strategy.tell([Observation(decision[0], (1.0 + len(decision[0]), 0.01 * len(decision[0])))])
    assert len(set(asked)) == len(asked) == size(strategy.genome) == 8


def test_what_it_is_told_reaches_the_engine_in_genes() -> None:
    strategy = LlamaNas(llama(8), 0)
    told = {Decision({"layer7:keep": False}): None, Decision({"layer3.mlp:width": 0.5}): 2.0}
    for decision, value in told.items():
        strategy.tell([Observation(decision, () if value is None else (value, 0.1), 0.3)])
    strategy.operations = lambda decision: 100.0 - len(decision)
    strategy.propose()
    entries = strategy.engine.ledger.entries
    seen = entries[Decision({"layer3.mlp:width": 0.5})]
    assert seen is not None and (seen.values, seen.violation) == ((2.0, 0.1), 0.3)
    assert len(entries[Decision({DEPTH: 0.875})].values) == 0  # type: ignore[union-attr]
    assert strategy.engine.operations is not None and strategy.engine.operations(Decision({DEPTH: 0.75})) == 98.0


def test_one_gene_for_the_depth_finds_more_than_one_for_each_block() -> None:
    """Twelve blocks, of which each matters twice as much as the one behind it, so that the last can go."""
    space = llama(12)

    def figures(decision: Decision) -> tuple[float, float]:
        cut = [not decision.get(f"layer{i}:keep", True) for i in range(12)]
        thin = [1.0 - float(decision.get(f"layer{i}.mlp:width", 1.0)) for i in range(12)]
        left = sum((1 - 0.5 * t) * (1 - c) for c, t in zip(cut, thin, strict=True))
        harm = sum(2.0**-i for i, c in enumerate(cut) if c) + 0.1 * sum(
            t**2 for t, c in zip(thin, cut, strict=True) if not c
        )
        return 13 / (1 + left), harm

    def best(name: str, seed: int) -> float:
        strategy = strategies.get(name, space, seed)
        found = 0.0
        for _ in range(30):
            (decision,) = strategy.ask()
            speedup, harm = figures(decision)
            strategy.tell([Observation(decision, (speedup, harm), harm - 0.1)])
            found = max(found, speedup) if harm <= 0.1 else found
        return found

    assert mean(best("llama-nas", s) for s in range(2)) > 1.05 * mean(best("alternating", s) for s in range(2))


def test_spaces_without_blocks_and_widths_are_refused() -> None:
    with pytest.raises(DecisionError, match="blocks to drop or widths to choose; this space has: a:bits, b:bits"):
        LlamaNas(SPACES["four points"])


def test_conforms() -> None:
    accepted = check(lambda space, seed: LlamaNas(space, seed, sizes=WIDTHS, warm_up=6))
    assert accepted == ["ordered", "mixed"]
