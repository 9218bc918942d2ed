"""Cutting an atom equals silencing it in the original, for every atom group of every architecture."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from axes_table import PAGE, table
from hypothesis import given, settings
from hypothesis import strategies as st
from silence import Silenced
from structures import build
from torch import Tensor, nn
from zoo import SOURCES, prepared

import whet
from whet.core.net import Net
from whet.graph.axes import Axes, analyze
from whet.graph.cut import cut, removal
from whet.graph.labels import Dim, Labels
from whet.graph.rows import each_dims

TOLERANCE = 1e-5


def difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).norm() / b.norm())


def some_atoms(rng: random.Random, size: int) -> list[int]:
    """Keep a random set of atoms, at least half and not all."""
    return sorted(rng.sample(range(size), rng.randint((size + 1) // 2, size - 1)))


def joint(axes: Axes, seed: int) -> dict[str, list[int]]:
    rng = random.Random(seed)
    return {site: some_atoms(rng, group.size) for site, group in axes.groups.items()}


@torch.no_grad()
def error_of(net: Net, axes: Axes, keep: dict[str, list[int]]) -> float:
    expected = Silenced(net, axes, removal(axes, keep)).run(*net.example)
    return difference(cut(net, keep, axes)(*net.example), expected)


def of_each_kind(net: Net, axes: Axes) -> list[str]:
    """Return one site of those whose atoms pass through the same operators and layers, in the same dimensions.

    Blocks repeat, and so do their groups; all groups together are cut by another test.
    """
    targets = {n.name: n.target if n.op == "call_function" else n.op for n in net.graph.nodes}
    layers = {n.name: type(net.layer(str(n.target))) for n in net.graph.nodes if n.op == "call_module"}
    found: dict[object, str] = {}
    for site, group in axes.groups.items():
        gone = removal(axes, {site: range(group.size - 1)})
        passed = {
            (layers.get(name, targets[name]), i)
            for name, value in axes.values.items()
            for dims in each_dims(value)
            for i, dim in enumerate(dims)
            if gone[dim].any()
        }
        found.setdefault((group.kind, frozenset(passed)), site)
    return list(found.values())


@pytest.mark.parametrize("name", SOURCES)
def test_cutting_any_group_equals_silencing_it(name: str) -> None:
    net, axes = prepared(name)
    rng, sites = random.Random(0), of_each_kind(net, axes)
    errors = {s: error_of(net, axes, {s: some_atoms(rng, axes.groups[s].size)}) for s in sites}
    assert errors and max(errors.values()) < TOLERANCE, errors
    assert {axes.groups[s].kind for s in sites} == {group.kind for group in axes.groups.values()}


@pytest.mark.parametrize("name", SOURCES)
def test_cutting_all_groups_together_equals_silencing_them(name: str) -> None:
    net, axes = prepared(name)
    for seed in range(3):
        keep = joint(axes, seed)
        assert error_of(net, axes, keep) < TOLERANCE
        with torch.no_grad():
            assert difference(cut(net, keep, axes)(*net.example), net(*net.example)) > 1e-3


@pytest.mark.parametrize("name", SOURCES)
def test_a_cut_network_takes_any_batch_and_trains(name: str) -> None:
    net, axes = prepared(name)
    keep = joint(axes, 7)
    small = cut(net, keep, axes)
    full = small(*net.example)
    for batch in (1, 3):
        given = [torch.cat([x, x])[:batch] for x in net.example]
        assert difference(small(*given)[:1], full[:1]) < TOLERANCE
    small.train()
    small(*net.example).square().mean().backward()
    used = {n for n, p in net.module.named_parameters() if p.requires_grad}
    assert {n for n, p in small.module.named_parameters() if p.requires_grad} == used
    without = [n for n, p in small.module.named_parameters() if p.requires_grad and p.grad is None]
    assert not without


@pytest.mark.parametrize("name", SOURCES)
def test_cut_removes_the_members_and_nothing_else(name: str) -> None:
    net, axes = prepared(name)
    site = max(axes.groups, key=lambda s: len(axes.groups[s].members))
    group = axes.groups[site]
    before, after = (dict(n.module.named_parameters()) for n in (net, cut(net, {site: [0]}, axes)))
    expected = {p: list(t.shape) for p, t in before.items()}
    for member in group.members:
        assert len(member.atom) == expected[member.parameter][member.dim]
        expected[member.parameter][member.dim] = int((member.atom <= 0).sum())
    assert {p: list(t.shape) for p, t in after.items()} == expected


def test_keys_and_values_may_keep_different_features() -> None:
    """Fused attention then lays its output out differently, which a `view` would not survive."""
    net, axes = prepared("hf_gpt2")
    sites = [site for site, group in axes.groups.items() if group.kind == "head_dim"]
    assert len(sites) == 4
    for site in sites:
        assert error_of(net, axes, {site: [0, 3, 4], sites[0].replace("#head_dim", "#heads"): [1, 2]}) < TOLERANCE


def test_silencing_another_atom_is_told_apart() -> None:
    net, axes = prepared("dense")
    with torch.no_grad():
        other = Silenced(net, axes, removal(axes, {"enter": [1, 2, 3, 4, 5, 6, 7]})).run(*net.example)
        assert difference(cut(net, {"enter": [0, 2, 3, 4, 5, 6, 7]}, axes)(*net.example), other) > 1e-4


# What the outputs hold is frozen: T5's hidden states are its residual stream.
SHARES = {"hf_t5_encoder": 0.8}


@pytest.mark.parametrize("name", SOURCES)
def test_most_parameters_can_be_cut(name: str) -> None:
    axes = prepared(name)[1]
    assert axes.cuttable_share >= SHARES.get(name, 0.95)
    without_rule = [reason for reason in axes.skipped.values() if "nothing would be left" not in reason]
    assert not without_rule


def test_the_table_in_the_documentation_is_current() -> None:
    assert table() in PAGE.read_text(), "run: python tests/graph/axes_table.py"


def test_what_must_be_offered_is() -> None:
    def kinds(name: str) -> dict[str, tuple[str, int]]:
        return {site: (group.kind, group.size) for site, group in prepared(name)[1].groups.items()}

    assert kinds("fused_attention")["inner.qkv#heads"] == ("heads", 4)
    assert kinds("fused_attention")["enter"] == ("neurons", 16)
    assert kinds("torch_attention")["inner.attention#heads"] == ("heads", 4)
    assert kinds("grouped_query_attention")["inner.q#heads"] == ("heads", 2)
    assert kinds("grouped_query_attention")["inner.q#head_dim"] == ("head_dim", 2)  # rotated pairs
    assert kinds("biased_attention")["inner.qkv#heads"] == ("heads", 4)
    assert kinds("shifted_windows")["inner.qkv#heads"] == ("heads", 4)
    assert kinds("experts")["inner.gate#experts"] == ("experts", 5)
    assert kinds("experts")["inner.up"] == ("neurons", 8)
    assert kinds("selective_scan")["inner.enter"] == ("neurons", 12)
    assert kinds("recurrent_lstm")["inner.cell"] == ("neurons", 6)
    assert kinds("shuffled")["enter#groups"] == ("groups", 4)
    assert kinds("dense")["inner.convs.1"] == ("channels", 4)
    assert kinds("dense")["inner.squeeze"] == ("channels", 5)
    assert kinds("resnet20")["layer1.0.conv1"] == ("channels", 16)
    assert kinds("resnet20")["layer2.0.conv2"] == ("channels", 16)  # the padded half of stage two
    llama = kinds("hf_llama")
    assert llama["model.model.embed_tokens"] == ("neurons", 32)
    assert llama["model.model.layers.1.self_attn.q_proj#heads"] == ("heads", 2)
    assert llama["model.model.layers.1.mlp.gate_proj"] == ("neurons", 48)
    assert kinds("hf_mamba")["model.backbone.layers.0.mixer.in_proj"] == ("neurons", 32)
    assert kinds("hf_regnet")["model.regnet.encoder.stages.1.layers.0.layer.0.convolution#groups"] == ("groups", 4)
    assert kinds("lstm")["lstm"] == ("neurons", 16)


class Foreign(nn.Module):
    """All channels of a row are scaled by its norm, by an operator that has no row in the table."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 8), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.relu(self.b(self.a(x).renorm(2, 0, 1.0))))


def test_an_operator_without_a_row_freezes_and_is_named() -> None:
    axes = analyze(whet.lift(Foreign().eval(), (torch.randn(2, 5),)))
    assert list(axes.groups) == ["b"]
    assert any("renorm" in reason for reason in axes.skipped.values())


def test_analysis_leaves_the_net_as_it_was() -> None:
    net = whet.lift(build("dense")[0], build("dense")[1]).train()
    before = copy.deepcopy(net.module.state_dict())
    analyze(net)
    assert net.module.training
    assert all(torch.equal(v, before[k]) for k, v in net.module.state_dict().items())


def test_names_do_not_depend_on_the_batch_of_the_example() -> None:
    module, (x,) = build("fused_attention")
    sites = [set(analyze(whet.lift(module, (torch.cat([x, x])[:n],))).groups) for n in (2, 3, 4)]
    assert sites[0] == sites[1] == sites[2]


def test_labels_refine_a_reshape_into_products() -> None:
    labels = Labels()
    width, other = labels.fresh(12), labels.fresh(12)
    heads, features = labels.reshape([width], (3, 4))
    assert labels.leaves(int(width[5])) == (int(heads[1]), int(features[1]))
    labels.unify(other, labels.reshape([heads, features], (12,))[0])
    labels.freeze(features)
    assert labels.leaves(int(other[5])) == (int(labels.roots(heads)[1]),)


def test_labels_that_cannot_agree_are_frozen_or_merged() -> None:
    labels = Labels()
    short, rolled = labels.fresh(6), labels.fresh(6)
    _, columns = labels.reshape([short], (2, 3))
    labels.unify(short, short[[1, 0, 2, 3, 4, 5]])
    assert labels.leaves(int(columns[0])) == labels.leaves(int(columns[1])) != labels.leaves(int(columns[2]))
    labels.unify(rolled, np.roll(rolled, 1))
    assert len(np.unique(labels.roots(rolled))) == 1


SHAPES = [(24,), (2, 12), (12, 2), (3, 8), (4, 6), (6, 4), (2, 3, 4), (4, 2, 3), (2, 2, 6)]


def merged(labels: Labels, dims: list[Dim]) -> list[frozenset[int]]:
    """Return the leaves of each element of a tensor, in row-major order."""
    grid = np.meshgrid(*dims, indexing="ij")
    rows = np.stack([g.reshape(-1) for g in grid], 1)
    return [frozenset(leaf for label in row for leaf in labels.leaves(int(label))) for row in rows]


steps = st.lists(st.tuples(st.sampled_from("ruf"), st.integers(0, 50), st.integers(0, 50), st.booleans()), max_size=12)


@given(steps)
@settings(max_examples=300, deadline=None)
def test_labels_keep_every_promise_whatever_the_order(plan: list[tuple[str, int, int, bool]]) -> None:
    """After any reshapes, unifications and freezings, equal elements stand for the same leaves."""
    labels = Labels()
    tensors = [[labels.fresh(size) for size in SHAPES[i]] for i in (0, 0, 4)]
    promises: list[tuple[list[Dim], list[Dim]]] = []
    frozen: list[Dim] = []
    for action, i, j, roll in plan:
        x, y = tensors[i % len(tensors)], tensors[j % len(tensors)]
        if action == "r":
            tensors.append(labels.reshape(x, SHAPES[j % len(SHAPES)]))
            promises.append((x, tensors[-1]))
        elif action == "f":
            frozen.append(x[j % len(x)][:2])
            labels.freeze(frozen[-1])
        elif [len(d) for d in x] == [len(d) for d in y]:
            other = [np.roll(d, 1) if roll else d for d in y]
            for a, b in zip(x, other, strict=True):
                labels.unify(a, b)
            promises.append((x, other))
    for left, right in promises:
        assert merged(labels, left) == merged(labels, right)
    assert all(labels.frozen(dim) for dim in frozen)


def test_axes_are_looked_for_anew_only_where_something_changed() -> None:
    net = whet.lift(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), (torch.randn(2, 4),))
    first = analyze(net)
    with torch.no_grad():
        net.layer("0").weight.mul_(2.0)
    assert analyze(net) is first, "values change no axes"
    assert analyze(net.copy()) is not first
    for name, layer in (("0", nn.Linear(4, 6)), ("2", nn.Linear(6, 3))):
        net.module.set_submodule(name, layer)
    assert analyze(net).groups["0"].size == 6 and first.groups["0"].size == 8
    node = next(n for n in net.graph.nodes if n.op == "call_function")
    node.replace_all_uses_with(node.args[0])
    assert node.name not in analyze(net.settle()).values
