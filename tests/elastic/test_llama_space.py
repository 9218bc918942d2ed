"""LLaMA-NAS out of the library's parts: one fine-tuning of a supernet, genetic search over depth and widths, int8.

Paper: Sarah et al. 2024, LLaMA-NAS: Efficient Neural Architecture Search for Large Language Models. Its space is
the number of layers and the width of each layer's perceptron; its search is `whet.search.strategies.llama_nas`.
"""

from __future__ import annotations

import random

import pytest
import torch
from test_supernet import ARCHITECTURES, lifted
from torch import Tensor, nn
from torch.nn import functional

import whet
from whet.compress.depth import Depth
from whet.compress.importances import Frozen
from whet.compress.quantize.static import NETWORK, StaticQuantization
from whet.compress.width import Width
from whet.core.passes import Chain
from whet.core.space import Decision, Space
from whet.core.strategy import Observation
from whet.decisions.enumerate import draw
from whet.decisions.pareto import hypervolume, non_dominated
from whet.elastic.supernet import Supernet
from whet.graph.axes import analyze
from whet.hardware import targets
from whet.search.strategies.llama_nas import LlamaNas
from whet.train.fit import fit
from whet.train.recipe import Recipe

RECIPE = Recipe("adamw", 3e-3, distillation=0.0, precision="f32")
GENERATION, CANDIDATES = 6, 18


def language_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())


def counting(samples: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return sequences of tokens that count in strides of one to three, in batches, and the tokens that follow each."""
    source = torch.Generator().manual_seed(seed)
    first = torch.randint(0, 64, (samples, 1), generator=source)
    counts = (first + torch.randint(1, 4, (samples, 1), generator=source) * torch.arange(13)) % 64
    return list(zip(counts[:, :-1].split(64), counts[:, 1:].split(64), strict=True))


Setting = tuple[whet.Net, Chain, Space, whet.Run]


@pytest.fixture(scope="module")
def setting() -> Setting:
    """Return a trained Llama of two layers, the passes and the space of LLaMA-NAS on it, and its run."""
    net = lifted(ARCHITECTURES["hf_llama"])
    task = whet.Task("counting", train=counting(512, 1), val=counting(128, 2), loss=language_loss, metric=whet.accuracy)
    fit(net, task, recipe=RECIPE, epochs=18)
    run = whet.Run(task, targets.get("cpu"), net, trainer=fit)
    importance = Frozen.of(net, "taylor", run)
    width = Width((0.25, 0.5, 1.0), importance, tie="none", round_to=1, streams=False)
    groups = analyze(net).groups
    perceptrons = [c for c in width.space(net, run.target) if groups[c.site].kind == "neurons"]
    space = Space([*Depth().space(net, run.target), *perceptrons])
    assert [c.kind for c in space] == ["keep"] * 4 + ["width"] * 2
    return net, Chain((Depth(), width)), space, run


@pytest.fixture(scope="module")
def finetuned(setting: Setting) -> Supernet:
    """Return the supernet after its one fine-tuning, on eight sub-networks in turn."""
    net, passes, space, run = setting
    keeps, widths = ([c.name for c in space if c.kind == kind] for kind in ("keep", "width"))
    small = Decision(dict.fromkeys(keeps[2:], False) | dict.fromkeys(widths, 0.25))
    rungs = [Decision(), small, *(draw(space, random.Random(i), {}) for i in range(6))]
    supernet = Supernet(net, passes, run, space=space, schedule=lambda step: rungs[step % len(rungs)])
    fit(supernet, run.task, recipe=RECIPE, epochs=15)
    return supernet


def validated(supernet: Supernet, decision: Decision, run: whet.Run) -> tuple[float, float]:
    """Return the validation loss of a sub-network and its share of the parameters."""
    supernet.eval()
    supernet.active = decision
    with torch.no_grad():
        losses = [language_loss(supernet(x), y) for x, y in run.task.val]
    share = supernet.sub(decision).net.parameter_count / supernet.whole.parameter_count
    return float(torch.stack(losses).mean()), share


@pytest.fixture(scope="module")
def searched(setting: Setting, finetuned: Supernet) -> dict[Decision, tuple[float, float]]:
    """Return what the genetic search measured, in order."""
    strategy = LlamaNas(
        setting[2], 0, ("minimize", "minimize"), layers=(0.25, 0.5, 0.75, 1.0), sizes=(0.25, 0.5, 1.0),
        warm_up=GENERATION, every=GENERATION // 2,
    )  # fmt: skip
    strategy.enqueue([Decision()])
    seen: dict[Decision, tuple[float, float]] = {}
    for _ in range(CANDIDATES):
        (decision,) = strategy.ask()
        seen[decision] = validated(finetuned, decision, setting[3])
        strategy.tell([Observation(decision, seen[decision])])
    return seen


def front(seen: dict[Decision, tuple[float, float]]) -> list[Decision]:
    decisions = list(seen)
    kept = [decisions[i] for i in non_dominated(list(seen.values()))]
    return sorted(kept, key=lambda decision: seen[decision][1])


def test_the_search_finds_a_pareto_set_and_adds_to_its_first_generation(
    searched: dict[Decision, tuple[float, float]],
) -> None:
    members = front(searched)
    losses, shares = zip(*(searched[d] for d in members), strict=True)
    assert len(members) >= 3
    assert list(losses) == sorted(losses, reverse=True) and list(shares) == sorted(shares)
    assert shares[0] < 2 / 3, "the paper's sub-networks are smaller by half as much again"
    worst = max(loss for loss, _ in searched.values()) + 1e-6, 1.0 + 1e-6
    areas = [hypervolume(list(searched.values())[:count], worst) for count in (GENERATION, CANDIDATES)]
    assert areas[1] > areas[0]


def test_one_fine_tuning_serves_all_members(
    setting: Setting, finetuned: Supernet, searched: dict[Decision, tuple[float, float]]
) -> None:
    net, passes, space, run = setting
    untuned = Supernet(net, passes, run, space=space)
    members = [d for d in front(searched) if len(d)]
    gains = [validated(untuned, d, run)[0] - searched[d][0] for d in members]
    assert sum(gains) / len(gains) > 0.1
    whole = validated(untuned, Decision(), run)[0]
    assert whole < 3.5, "the network has learnt nothing that a cut could spoil"
    assert validated(finetuned, Decision(), run)[0] < whole + 0.3


def test_int8_goes_on_top_of_a_member(
    setting: Setting, finetuned: Supernet, searched: dict[Decision, tuple[float, float]]
) -> None:
    run, members = setting[3], front(searched)
    decision = members[len(members) // 2]
    small = finetuned.extract(decision)
    result = StaticQuantization().apply(small, Decision({NETWORK: "all"}), run)
    assert set(result.texts) == {name for name, layer in small.layers().items() if isinstance(layer, nn.Linear)}
    assert not result.skipped
    with torch.no_grad():
        loss = sum(float(language_loss(result.net(x), y)) for x, y in run.task.val) / len(list(run.task.val))
    assert loss == pytest.approx(searched[decision][0], abs=0.1)
