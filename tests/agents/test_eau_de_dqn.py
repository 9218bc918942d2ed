"""EauDeQN: the network of the least loss is the next target, copies are sparser, and sparsity follows the learning."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from agent_toys import Chain
from torch import nn

from whet.agents.eau_de_dqn import EauDeDQN, EauDeDQNLearner, prune, sparsity, weights
from whet.agents.environments import Environments
from whet.core.checks import ValueRangeError
from whet.policies.spaces import AgentError

OPTIONS: dict[str, Any] = {
    "hidden": (16,), "learning_rate": 0.01, "discount": 0.8, "batch": 32, "buffer": 600, "begin_after": 60,
    "update_every": 2, "target_every": 10, "explore_for": 1.0, "last_epsilon": 0.6,
}  # fmt: skip


def learner(steps: int, **options: Any) -> EauDeDQNLearner:
    return EauDeDQN(**{**OPTIONS, **options}).begin(Environments(Chain, 1, seed=1, name="chain"), steps, seed=0)


def values(network: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in network.state_dict().values()]


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(values(one), values(other), strict=True))


def test_the_smallest_weights_of_the_whole_network_go_to_zero_and_biases_stay() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[0.1, -0.9], [0.5, 0.3]]))
        network[1].weight.copy_(torch.tensor([[-0.2, 0.8]]))
    biases = [network[0].bias.clone(), network[1].bias.clone()]
    prune(network, 0.5)
    assert torch.allclose(network[0].weight, torch.tensor([[0.0, -0.9], [0.5, 0.0]]))
    assert torch.allclose(network[1].weight, torch.tensor([[0.0, 0.8]])) and sparsity(network) == 0.5
    prune(network, 0.2)
    assert sparsity(network) == 0.5 and len(weights(network)) == 2, "what is zero comes back by training alone"
    assert torch.equal(network[0].bias, biases[0]) and torch.equal(network[1].bias, biases[1])


def test_the_network_of_the_least_loss_is_the_next_target_and_the_others_are_its_pruned_copies() -> None:
    found = learner(100, faster=0.5)
    for network in found.networks:
        nn.init.normal_(network[0][0].bias)
    found.summed = torch.tensor([3.0, 1.0, 2.0])
    found.optimizers[0].step()
    chosen, before = copy.deepcopy(found.networks[1]), sparsity(found.networks[1])
    generator = torch.Generator()
    generator.set_state(found.generator.get_state())
    drawn = torch.rand(2, generator=generator).tolist()
    found._renew()
    assert before > 0 and same(found.target, chosen) and same(found.network, chosen)
    count = sum(weight.numel() for weight in weights(chosen))
    for copied, share in zip(found.sparser, drawn, strict=True):
        assert sparsity(copied) == round((1 - (1 - before) * (1 - 0.5 * share)) * count) / count > before
        for weight, own in zip(weights(copied), weights(chosen), strict=True):
            assert torch.equal(weight[weight != 0], own[weight != 0])
    assert found.summed.tolist() == [0.0, 0.0, 0.0]


def test_sparsity_stays_where_the_densest_learns_best() -> None:
    found = learner(100)
    for _ in range(5):
        found.summed = torch.tensor([1.0, 2.0, 3.0])
        found._renew()
    assert sparsity(found.target) == sparsity(found.network) == 0.0 < sparsity(found.sparser[0])


def test_no_network_is_sparser_than_it_may_be() -> None:
    found = learner(100, faster=1.0, most=0.5)
    for _ in range(30):
        found.summed = torch.tensor([3.0, 1.0, 2.0])
        found._renew()
    assert sparsity(found.target) == 0.5


def test_zeros_stay_until_the_target_is_renewed_and_each_network_learns() -> None:
    found = learner(400, target_every=1000, faster=0.5)
    begun = copy.deepcopy(found.networks)
    while int(found.updates) < 20:
        found.advance()
    for network, before in zip(found.networks, begun, strict=True):
        assert not same(network, before) and sparsity(network) == sparsity(before)
        assert all(((a == 0) == (b == 0)).all() for a, b in zip(weights(network), weights(before), strict=True))
    assert (found.summed > 0).all() and same(found.target, begun[0])


def test_it_learns_the_chain_and_becomes_sparse_meanwhile() -> None:
    found = learner(1500)
    while found.environments.steps < 1500:
        found.advance()
    assert found.policy()(torch.eye(4)).argmax(1).tolist() == [1, 1, 1, 1]
    assert 0.1 < sparsity(found.network) == sparsity(found.target)


def test_a_state_comes_back() -> None:
    ours, other = learner(400), learner(400)
    while ours.environments.steps < 130:
        ours.advance()
    other.restore({name: tensor.clone() for name, tensor in ours.tensors().items()})
    for _ in range(60):
        ours.advance()
        other.advance()
    assert all(torch.equal(tensor, other.tensors()[name]) for name, tensor in ours.tensors().items())


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"network_count": 1}, ValueRangeError, "network_count must be a whole number of at least 2; got 1"),
        ({"most": 1.5}, ValueRangeError, "most must lie in [0, 1]; got 1.5"),
        ({"noisy": True}, AgentError, "prioritized and noisy are not for it"),
    ],
)
def test_values_that_cannot_be_meant(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        EauDeDQN(**options)
