from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from shared_nets import shared_net
from torch import Tensor, fx, nn

import whet
from whet.core.errors import UnknownNameError
from whet.core.net import Net
from whet.graph.blocks import Block, analyze_blocks, drop_blocks, find_blocks
from whet.testing.networks import NETWORKS


def without_contribution(net: Net, blocks: list[Block]) -> Any:
    """Run `net` as it is, with the value of each block's branch multiplied by zero."""
    branches = {b.branch for b in blocks}

    class Silenced(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            out = super().run_node(n)
            return out * 0 if n.name in branches else out

    with torch.no_grad():
        return Silenced(net.module).run(*net.example)


@cache
def lifted(name: str) -> Net:
    return shared_net(name)


STAGES = [f"layer{s}.{i}" for s in (1, 2, 3) for i in range(3)]
SITES = {
    "resnet20": STAGES,
    "resnet20_projection": STAGES,
    "mobilenet": ["features.1.conv", "features.3.conv", "features.4.conv"],
    "vision_transformer": [f"blocks.{i}.{f}" for i in range(2) for f in ("attention", "up")],
    "encoder": [f"layers.{i}.{f}" for i in range(3) for f in ("attention", "up")],
    "encoder_post_norm": [f"layers.{i}.{f}" for i in range(3) for f in ("attention", "up")],
    "encoder_parallel": [f"layers.{i}.{f}" for i in range(3) for f in ("attention", "up")],
    "decoder": [f"layers.{i}.{f}" for i in range(3) for f in ("attention", "cross", "up")],
    "unet": ["inner.0", "inner.1"],
    "detector": ["block"],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_block_is_found_and_nothing_else(name: str) -> None:
    assert [b.site for b in find_blocks(lifted(name))] == SITES[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_dropped_network_is_the_network_without_the_contribution(name: str) -> None:
    net = lifted(name)
    blocks = find_blocks(net)
    with torch.no_grad():
        whole = net(*net.example)
    for chosen in [[b] for b in blocks] + [blocks[::2], blocks]:
        dropped = drop_blocks(net, [b.site for b in chosen])
        expected = without_contribution(net, chosen)
        with torch.no_grad():
            torch.testing.assert_close(dropped(*net.example), expected, rtol=0, atol=1e-6)
        pairs = zip(net.results(whole), net.results(expected), strict=True)
        assert not any(torch.allclose(a, b, atol=1e-4) for a, b in pairs), (
            "the block contributes nothing: the test shows nothing"
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_of_the_branch_are_gone_and_all_others_untouched(name: str) -> None:
    net = lifted(name)
    before = dict(net.module.named_parameters())
    blocks = find_blocks(net)
    # A norm that two parallel branches share belongs to neither, and goes with the last of them.
    owned = [{p for p in before if p.rpartition(".")[0] in b.layers or p in b.parameters} for b in blocks]
    for block, own in zip(blocks, owned, strict=True):
        assert own
        after = dict(drop_blocks(net, [block.site]).module.named_parameters())
        assert set(after) == set(before) - own
        assert all(torch.equal(after[p], before[p]) for p in after)
    left = set(dict(drop_blocks(net, [b.site for b in blocks]).module.named_parameters()))
    assert left.isdisjoint(set().union(*owned))
    assert dict(net.module.named_parameters()).keys() == before.keys()


def test_shortcut_and_entry_of_a_block() -> None:
    plain, projection = ({b.site: b for b in find_blocks(lifted(n))} for n in ("resnet20", "resnet20_projection"))
    assert plain["layer1.1"].shortcut == plain["layer1.1"].entry
    assert plain["layer1.1"].bypass == ()
    assert plain["layer2.0"].shortcut != plain["layer2.0"].entry
    assert plain["layer2.0"].layers == tuple(f"layer2.0.{n}" for n in ("conv1", "bn1", "conv2", "bn2"))
    assert not [n for n in projection["layer2.0"].layers if "projection" in n]
    assert len(projection["layer2.0"].bypass) == 2
    assert plain["layer2.0"].shape == (2, 32, 16, 16)


def test_outer_residual_is_skipped_for_the_inner_ones() -> None:
    skipped = analyze_blocks(lifted("unet")).skipped
    assert list(skipped.values()) == ["its branch contains the residual block 'inner.0'."]


class Sums(nn.Module):
    """Sums that are no residual blocks: two embeddings, a branch read twice, a broadcast, a scaled summand."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.narrow = nn.Linear(6, 1)
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "unrelated":
            return self.head(self.one(x[:, :6]) + self.two(x[:, 6:]))
        x = torch.relu(self.one(x[:, :6]))
        if self.kind == "read twice":
            branch = self.two(x)
            return self.head(x + branch) * branch[:, :2]
        if self.kind == "broadcast":
            return self.head(x + self.narrow(x))
        return self.head(torch.add(self.two(x), x, alpha=2))


@pytest.mark.parametrize(
    "kind, reason",
    [
        ("unrelated", "no summand of 'add"),
        ("read twice", "'two' of its branch is also read by 'slice"),
        ("broadcast", "'narrow' is broadcast"),
        ("scaled", "scales a summand"),
    ],
)
def test_sums_that_are_no_blocks_are_skipped_with_the_reason(kind: str, reason: str) -> None:
    found = analyze_blocks(whet.lift(Sums(kind), torch.randn(2, 12)))
    assert not found.blocks
    assert len(found.skipped) == 1
    assert reason in next(iter(found.skipped.values()))


def test_biases_and_masks_are_not_reported() -> None:
    assert analyze_blocks(lifted("encoder")).skipped == {}


class Recurrent(nn.Module):
    """One block called twice, with a matrix that its branch shares with the head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.inner = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.embed(x))
        for _ in range(2):
            x = x + torch.relu(self.inner(x))
        return x @ self.inner.weight


def test_a_layer_called_twice_makes_two_sites_and_stays_while_it_is_called() -> None:
    torch.manual_seed(0)
    net = whet.lift(Recurrent(), torch.randn(2, 6))
    assert [b.site for b in find_blocks(net)] == ["inner", "inner#2"]
    half = drop_blocks(net, ["inner#2"])
    torch.testing.assert_close(half(*net.example), without_contribution(net, [find_blocks(net)[1]]))
    assert half.parameter_count == net.parameter_count
    none = drop_blocks(net, ["inner", "inner#2"])
    torch.testing.assert_close(none(*net.example), without_contribution(net, find_blocks(net)))


class Products(nn.Module):
    """Branches without layers: products with (in, out) matrices, as in GPT-2."""

    def __init__(self) -> None:
        super().__init__()
        for i in range(2):
            self.register_parameter(f"up{i}", nn.Parameter(torch.randn(6, 12)))
            self.register_parameter(f"down{i}", nn.Parameter(torch.randn(12, 6)))

    def forward(self, x: Tensor) -> Tensor:
        for i in range(2):
            x = x + torch.relu(x @ self.get_parameter(f"up{i}")) @ self.get_parameter(f"down{i}")
        return x


def test_branches_of_plain_matrices_are_blocks() -> None:
    net = whet.lift(Products(), torch.randn(2, 6))
    blocks = find_blocks(net)
    assert [b.site for b in blocks] == ["up0", "up1"]
    assert [b.parameters for b in blocks] == [("up0", "down0"), ("up1", "down1")]
    dropped = drop_blocks(net, ["up0"])
    assert set(dict(dropped.module.named_parameters())) == {"up1", "down1"}
    torch.testing.assert_close(dropped(*net.example), without_contribution(net, blocks[:1]))


def test_unknown_site_is_named_with_its_neighbour() -> None:
    with pytest.raises(UnknownNameError, match=r"residual block 'layer1\.9'; did you mean 'layer1\.\d'"):
        drop_blocks(lifted("resnet20"), ["layer1.9"])
