"""Several sub-networks in one pass: their gradients add up, and each value of each choice comes equally often."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from test_supernet import ARCHITECTURES, lifted, made, perceptron
from torch import Tensor
from torch.nn import functional

import whet
from whet.core.errors import SpecError
from whet.core.space import Choice, Decision, Space
from whet.elastic.multi_sampling import MultiSampled, multi_sampling
from whet.elastic.supernet import Supernet, sandwich
from whet.train.fit import fit
from whet.train.recipe import Recipe

SPACE = Space(
    [
        Choice("a:width", (0.25, 0.5, 1.0), 1.0),
        Choice("b:width", (0.25, 0.5, 1.0), 1.0),
        Choice("c:keep", (True, False), True),
    ]
)


def gradients(supernet: Supernet) -> dict[str, Tensor]:
    found = {n: p.grad.clone() for n, p in supernet.module.named_parameters() if p.grad is not None}
    supernet.module.zero_grad(set_to_none=True)
    return found


def language_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


@pytest.mark.parametrize("schedule", ["multi-sampling", "sandwich"])
def test_the_gradient_of_a_pass_is_the_sum_of_its_sub_networks_gradients(schedule: str) -> None:
    supernet, _, _ = made(lifted(ARCHITECTURES["decoder"]))
    at = multi_sampling(supernet.space, seed=1) if schedule == "multi-sampling" else sandwich(supernet.space, seed=1)
    supernet.schedule = at
    tokens = torch.randint(0, 64, (10, 13))
    inputs, wanted = tokens[:, :-1], tokens[:, 1:]
    language_loss(MultiSampled(supernet, parts=4).train()(inputs), wanted).backward()
    together = gradients(supernet)
    assert int(supernet.step) == 4
    summed: dict[str, Tensor] = {}
    supernet.eval()
    for part, (x, y) in enumerate(zip(inputs.tensor_split(4), wanted.tensor_split(4), strict=True)):
        supernet.active = at(part)
        (language_loss(supernet(x), y) * len(x) / len(inputs)).backward()
        for name, gradient in gradients(supernet).items():
            summed[name] = summed.get(name, torch.zeros_like(gradient)) + gradient
    assert together.keys() == summed.keys()
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, summed[name], rtol=1e-4, atol=1e-6)
    supernet.active = Decision()
    language_loss(supernet(inputs), wanted).backward()
    whole = gradients(supernet)
    assert any(not torch.allclose(whole[name], together[name], atol=1e-4) for name in together)


def test_outputs_come_in_the_order_of_inputs_and_evaluation_is_the_supernets() -> None:
    supernet, _, _ = made(lifted(ARCHITECTURES["mlp"]))
    supernet.schedule = lambda step: Decision()
    x = torch.randn(7, 9)
    sampled = MultiSampled(supernet, parts=3)
    with torch.no_grad():
        torch.testing.assert_close(sampled.eval()(x), supernet(x))
    assert int(supernet.step) == 0
    net = lifted(ARCHITECTURES["decoder"])
    supernet, _, _ = made(net)
    supernet.schedule = lambda step: Decision()
    tokens = torch.randint(0, 64, (7, 12))
    with torch.no_grad():
        torch.testing.assert_close(MultiSampled(supernet, 3).train()(tokens), net(tokens), rtol=1e-4, atol=1e-5)


def test_a_short_batch_takes_a_whole_pass_of_the_schedule() -> None:
    supernet, _, _ = made(lifted(ARCHITECTURES["decoder"]))
    sampled = MultiSampled(supernet, parts=4).train()
    with torch.no_grad():
        assert sampled(torch.randint(0, 64, (2, 12))).shape == (2, 12, 64)
    assert int(supernet.step) == 4


@pytest.mark.parametrize("parts", [1, 4, 6])
def test_each_value_comes_equally_often_in_a_pass(parts: int) -> None:
    at = multi_sampling(SPACE, seed=2, parts=parts)
    for turn in range(40):
        drawn = [at(turn * parts + part) for part in range(parts)]
        for choice in SPACE:
            counts = Counter(decision.of(choice) for decision in drawn)
            assert {counts[v] for v in choice.values} <= {parts // len(choice.values), -(-parts // len(choice.values))}
    assert [at(step) for step in range(20)] == [multi_sampling(SPACE, 2, parts)(step) for step in range(20)]
    assert len({at(step) for step in range(600)}) == 18


def test_values_come_in_from_the_identity_outwards() -> None:
    at = multi_sampling(SPACE, parts=3, warm_up=4)
    seen = [{at(3 * turn + part).get("a:width", 1.0) for part in range(3)} for turn in range(6)]
    assert seen[:2] == [{1.0}, {1.0}]
    assert seen[2:4] == [{1.0, 0.5}, {1.0, 0.5}]
    assert seen[4:] == [{1.0, 0.5, 0.25}, {1.0, 0.5, 0.25}]


def test_it_trains_by_fit_as_any_module() -> None:
    net, width, run = perceptron()
    ((x, y),) = run.task.val
    space = width.space(net, run.target)
    supernet = Supernet(net, width, run, schedule=multi_sampling(space))
    fit(MultiSampled(supernet), run.task, recipe=Recipe(learning_rate=0.2, precision="f32"), epochs=200)
    assert int(supernet.step) == 800
    for decision in (Decision(), Decision({c.name: 0.25 for c in space})):
        assert whet.accuracy(supernet.extract(decision)(x), y) > 0.9


def test_no_parts_are_refused() -> None:
    with pytest.raises(SpecError, match="got 0"):
        multi_sampling(SPACE, parts=0)
    with pytest.raises(SpecError, match="got -1"):
        MultiSampled(made(lifted(ARCHITECTURES["mlp"]))[0], parts=-1)
