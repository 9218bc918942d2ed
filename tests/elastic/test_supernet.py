"""Sub-networks share the supernet's parameters, and an extracted one is what the passes make of the network."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import whet
from whet.compress.depth import Depth
from whet.compress.importances import Frozen
from whet.compress.width import Width
from whet.core.errors import SpecError
from whet.core.passes import Chain, Result, Traits
from whet.elastic.supernet import Supernet, sandwich
from whet.hardware import targets
from whet.train.fit import fit
from whet.train.recipe import Recipe

sys.path.insert(0, str(Path(__file__).parents[1]))
ARCHITECTURES = import_module("architectures").ARCHITECTURES
NAMES = ["resnet20", "hf_mobilenetv2", "encoder", "decoder", "hf_vit", "hf_bert", "hf_llama"]


Build = Callable[[], tuple[nn.Module, tuple[torch.Tensor, ...]]]


@cache
def once(build: Build) -> tuple[whet.Net, torch.Tensor]:
    torch.manual_seed(0)
    module, example = build()
    return whet.lift(module.eval(), example), torch.get_rng_state()


def lifted(build: Build) -> whet.Net:
    """Return a copy of a network that is lifted once in a process; the seed is what it is after building it anew."""
    net, state = once(build)
    torch.set_rng_state(state)
    return net.copy()


def made(net: whet.Net) -> tuple[Supernet, Chain, whet.Run]:
    batches = [(net.example, torch.zeros(len(net.example[0]), dtype=torch.long))]
    task = whet.Task("t", train=batches, val=batches, loss=functional.cross_entropy, metric=whet.accuracy)
    run = whet.Run(task, targets.get("cpu"), net)
    width = Width(fractions=(0.25, 0.5, 1.0), importance=Frozen.of(net, "weight_norm", run), round_to=1)
    passes = Chain((Depth(), width))
    return Supernet(net, passes, run), passes, run


def some(supernet: Supernet) -> list[whet.Decision]:
    """The largest; widths halved; every other block and every other group; all widths at a quarter, half the blocks."""
    blocks = {c.name: bool(i % 2) for i, c in enumerate(c for c in supernet.space if c.kind == "keep")}
    widths = [c.name for c in supernet.space if c.kind == "width"]
    mixed = blocks | dict.fromkeys(widths[::2], 0.5)
    return [whet.Decision(d) for d in ({}, dict.fromkeys(widths, 0.5), mixed, blocks | dict.fromkeys(widths, 0.25))]


@pytest.mark.parametrize("name", NAMES)
def test_a_sub_network_is_what_the_passes_cut(name: str) -> None:
    net = lifted(ARCHITECTURES[name])
    supernet, passes, run = made(net)
    supernet.eval()
    assert len(supernet.space)
    for decision in some(supernet):
        extracted = supernet.extract(decision)
        supernet.active = decision
        with torch.no_grad():
            shared, alone = supernet(*net.example), extracted(*net.example)
            cut = passes.apply(net, decision, run).net.eval()
            torch.testing.assert_close(alone, cut(*net.example), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(shared, alone, rtol=1e-5, atol=1e-6)
        assert extracted.parameter_count <= net.parameter_count
        for one, other in zip(extracted.module.parameters(), net.module.parameters()):
            assert one.data_ptr() != other.data_ptr()


def test_narrower_sub_networks_nest_in_wider_ones() -> None:
    supernet, _, _ = made(lifted(ARCHITECTURES["resnet20"]))
    site = next(c.name for c in supernet.space if c.kind == "width")
    kept = {}
    for fraction in (0.25, 0.5):
        taken = supernet.sub(whet.Decision({site: fraction})).taken
        kept[fraction] = {name: {d: set(i.tolist()) for d, i in dims} for name, dims in taken.items() if dims}
    assert kept[0.25] and kept[0.25].keys() == kept[0.5].keys()
    for name, dims in kept[0.25].items():
        for dim, indices in dims.items():
            assert indices < kept[0.5][name][dim]


def test_gradients_reach_the_shared_parameters_and_those_alone() -> None:
    net = lifted(ARCHITECTURES["resnet20"])
    supernet, _, _ = made(net)
    supernet.eval()
    site = "layer1.{0..2}.conv1:width"
    supernet.active = whet.Decision({site: 0.5})
    supernet(*net.example).square().sum().backward()
    gradient = dict(supernet.module.named_parameters())["layer1.0.conv1.weight"].grad
    assert gradient is not None
    touched = gradient.flatten(1).abs().sum(1) > 0
    ((dim, indices),) = [t for t in supernet.sub(supernet.active).taken["layer1.0.conv1.weight"] if t[0] == 0]
    assert dim == 0 and set(touched.nonzero().flatten().tolist()) <= set(indices.tolist())
    assert int(touched.sum()) == len(indices) == 8


def perceptron() -> tuple[whet.Net, Width, whet.Run]:
    """Return an untrained perceptron, its widths, and a run on a task of one batch that it learns in seconds."""
    torch.manual_seed(0)
    x = torch.randn(256, 8)
    y = (x[:, 0] > 0).long()
    module = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    net = whet.lift(module.eval(), x[:2])
    task = whet.Task("t", train=[(x, y)], val=[(x, y)], loss=functional.cross_entropy, metric=whet.accuracy)
    run = whet.Run(task, targets.get("cpu"), net)
    width = Width((0.25, 0.5, 1.0), Frozen.of(net, "weight_norm", run), tie="none", round_to=1)
    return net, width, run


def test_it_trains_by_the_sandwich_rule_as_any_module() -> None:
    net, width, run = perceptron()
    ((x, y),) = run.task.val
    supernet = Supernet(net, width, run)
    before = {k: v.clone() for k, v in net.module.state_dict().items()}
    fit(supernet, run.task, recipe=Recipe(learning_rate=0.2, precision="f32"), epochs=200)
    assert int(supernet.step) == 200
    assert all(torch.equal(v, before[k]) for k, v in net.module.state_dict().items())
    least = whet.Decision({c.name: 0.25 for c in supernet.space})
    for decision in (whet.Decision(), least):
        outputs = supernet.extract(decision)(x)
        assert whet.accuracy(outputs, y) > 0.95


def test_the_sandwich_is_largest_smallest_and_random_ones() -> None:
    supernet, _, _ = made(lifted(ARCHITECTURES["mlp"]))
    schedule = sandwich(supernet.space, seed=3)
    for step in range(0, 12, 4):
        assert schedule(step) == whet.Decision()
        smallest = {c.name: min(c.values, key=float) for c in supernet.space}
        assert schedule(step + 1) == supernet.space.canonical(whet.Decision(smallest))
        assert schedule(step + 2) == sandwich(supernet.space, seed=3)(step + 2)
    assert len({schedule(step) for step in range(2, 400, 4)}) > 3


class Doubling:
    """A pass that computes new weights, which no selection can give."""

    traits = Traits("structure", nests=True)

    def space(self, net: whet.Net, target: whet.Target) -> whet.Space:
        return whet.Space([whet.Choice("a:double", (False, True), False)])

    def apply(self, net: whet.Net, decision: whet.Decision, run: whet.Run) -> Result:
        changed = net.copy()
        if decision.get("a:double"):
            for parameter in changed.module.parameters():
                parameter.data.mul_(2)
        return Result(changed)


def test_a_pass_that_computes_weights_is_refused() -> None:
    net = lifted(ARCHITECTURES["mlp"])
    _, _, run = made(net)
    supernet = Supernet(net, Doubling(), run)
    with pytest.raises(SpecError, match="no selection from the supernet's"):
        supernet.sub(whet.Decision({"a:double": True}))
