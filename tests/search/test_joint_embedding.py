"""Networks as points: what computes alike lies together, and a descent among the points finds small networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from whet.core.errors import SpecError, StudyError, TaskError
from whet.search.joint_embedding import JointEmbedding, Networks

X = torch.linspace(-1, 1, 101)[:, None]
Y = 2 * X.abs() - 1
CONSTANT = float(Y.var(unbiased=False))
"""The loss of the best constant."""


@pytest.fixture(scope="module")
def space() -> JointEmbedding:
    return JointEmbedding(1, 1).fit()


def shallow(count: int, seed: int) -> Networks:
    """Random networks of one hidden layer of six neurons, one of them closed."""
    source = torch.Generator().manual_seed(seed)
    weights = [torch.randn(count, 6, 1, generator=source) * 2**0.5, torch.randn(count, 1, 6, generator=source) * 0.5]
    biases = [torch.randn(count, 6, generator=source) * 0.5, torch.randn(count, 1, generator=source) * 0.5]
    gates = torch.ones(count, 1, 6)
    gates[:, 0, 2] = 0.0
    return Networks(weights, biases, gates)


def deepened(networks: Networks) -> Networks:
    """Put an identity layer behind the hidden one: other weights, another depth, very nearly the same outputs."""
    (first, last), (bias, offset), gates = networks.weights, networks.biases, networks.gates
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    same = torch.eye(6)[order].expand(len(gates), 6, 6)
    return Networks(
        [first, same, last[:, :, order]],
        [bias, torch.zeros_like(bias), offset],
        torch.cat([gates, gates[:, :, order]], 1),
    )


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().square().mean())


@torch.no_grad()
def test_networks_that_compute_alike_are_embedded_and_decoded_alike(space: JointEmbedding) -> None:
    one = shallow(64, 1)
    twin = deepened(one)
    assert apart(one(X), twin(X)) < 0.01 * apart(one(X), one(X).roll(1, 0))
    here, there = space.encode(one), space.encode(twin)
    assert apart(here, there) < 0.1 * apart(here, here.roll(1, 0))
    for depth in space.depths:
        decoded, similar = space.decode(here, depth)(X), space.decode(there, depth)(X)
        assert apart(decoded, similar) < 0.1 * apart(decoded, decoded.roll(1, 0))


@torch.no_grad()
def test_decoders_give_back_what_was_encoded(space: JointEmbedding) -> None:
    wanted = shallow(64, 2)(X)
    spread = apart(wanted, wanted.mean(0, keepdim=True))
    for depth in space.depths:
        assert apart(space.decode(space.encode(shallow(64, 2)), depth)(X), wanted) < 0.5 * spread


def test_a_descent_learns_the_task_and_delivers_what_it_measured(space: JointEmbedding) -> None:
    found = space.descend(X, Y, sparsity=0.0)
    assert found.loss < 0.2 * CONSTANT
    assert apart(found.network(X), Y) == pytest.approx(found.loss, abs=1e-5)
    hidden = [layer.out_features for layer in found.network if isinstance(layer, nn.Linear)][:-1]
    assert len(hidden) == found.depth and sum(hidden) == found.neurons


def test_a_larger_penalty_leaves_fewer_neurons(space: JointEmbedding) -> None:
    dense, sparse = (space.descend(X, Y, sparsity=sparsity) for sparsity in (0.0, 0.02))
    assert sparse.neurons < dense.neurons
    assert sparse.loss < 0.5 * CONSTANT


def test_closed_neurons_are_not_delivered() -> None:
    networks = shallow(3, 3)
    for index in range(3):
        compact = networks.compact(index)
        assert [tuple(p.shape) for p in compact.parameters()] == [(5, 1), (5,), (1, 5), (1,)]
        torch.testing.assert_close(compact(X), networks(X)[index])


def test_a_layer_keeps_its_best_neuron() -> None:
    space = JointEmbedding(1, 1, width=3, depths=(1,))
    vectors = torch.zeros(1, 3 + 3 + 3 + 1 + 3)
    vectors[0, -3:] = torch.tensor([-3.0, -1.0, -2.0])
    assert space.networks(vectors, 1).gates.tolist() == [[[0.0, 1.0, 0.0]]]


def test_wrong_use() -> None:
    space = JointEmbedding(1, 1, width=2, depths=(1,), dimension=4)
    with pytest.raises(StudyError, match="before it was fitted"):
        space.descend(X, Y)
    space.fit(steps=1)
    with pytest.raises(TaskError, match=r"inputs are \(points, 1\)"):
        space.descend(torch.zeros(5, 2), torch.zeros(5, 1))
    with pytest.raises(SpecError, match="sparsity=-1"):
        space.descend(X, Y, sparsity=-1.0)
    with pytest.raises(SpecError, match=r"depths \(1,\); got 2"):
        space.decode(torch.zeros(1, 4), 2)
    with pytest.raises(SpecError, match="width=0"):
        JointEmbedding(1, 1, width=0)


def test_a_descent_returns_the_cheapest_of_all_starts_and_steps() -> None:
    space, seen = JointEmbedding(1, 1, width=4, depths=(1,)), list[Tensor]()

    def price(networks: Networks) -> Tensor:
        prices = (networks(X) - Y).square().mean((1, 2))
        seen.append(prices.detach())
        return prices

    best = space._descended(1, price, 4, 20, 0.05)
    lowest = float(torch.stack(seen[:20]).min())
    assert float(price(space.decode(best, 1)).detach()) == pytest.approx(lowest, rel=1e-5)
