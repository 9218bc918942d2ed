"""Only the channels with the largest weights train; the others stay to the bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from toy_training import F32, network, task

from whet.core.checks import ValueRangeError
from whet.core.errors import UnknownNameError
from whet.train.critical_channels import BY, By, CriticalChannels, chosen
from whet.train.fit import fit

DECAYING = replace(F32, weight_decay=0.1, momentum=0.9, clip_norm=0.0, warmup=0.0, schedule="constant")


def trained(technique: CriticalChannels, steps: int) -> tuple[nn.Sequential, nn.Sequential]:
    before, module = network(), network()
    fit(module, task(), recipe=DECAYING, samples=32 * steps, techniques=(technique,))
    return before, module


def rows(module: nn.Sequential) -> dict[str, torch.Tensor]:
    return {name: layer.weight.detach() for name, layer in module.named_children() if isinstance(layer, nn.Linear)}


def moved(before: nn.Sequential, after: nn.Sequential) -> dict[str, torch.Tensor]:
    return {name: (weight != rows(before)[name]).any(1) for name, weight in rows(after).items()}


@pytest.mark.parametrize("by", BY)
def test_in_a_step_the_largest_train_and_the_others_do_not_move(by: By) -> None:
    before, after = trained(CriticalChannels(0.25, by), steps=1)
    wanted = chosen(rows(before), 0.25, by)
    assert all(torch.equal(found, wanted[name]) for name, found in moved(before, after).items())
    biases = [(a.bias, b.bias) for a, b in zip(before, after, strict=True) if isinstance(a, nn.Linear)]
    assert all(not torch.equal(a, b) for a, b in biases)
    assert all(p.requires_grad for p in after.parameters())


def test_the_ranks_are_of_mean_magnitudes_within_what_is_asked() -> None:
    weights = {"a": torch.tensor([[0.1, -0.1], [-3.0, 2.0], [0.2, 0.9]]), "b": torch.tensor([[1.0], [-1.5], [0.3]])}
    assert chosen(weights, 1 / 3)["a"].tolist() == [False, True, False]
    assert chosen(weights, 1 / 3)["b"].tolist() == [False, True, False]
    assert chosen(weights, 2 / 3, "layer")["b"].tolist() == [True, True, False]
    far = {"a": torch.tensor([[0.1], [3.0]]), "b": torch.tensor([[10.0], [20.0]])}
    assert chosen(far, 0.5, "layer")["a"].tolist() == [False, True]
    whole = chosen(weights, 0.5, "layers")
    assert whole["a"].all() and not whole["b"].any()
    assert sum(int(found.sum()) for found in chosen(weights, 0.01).values()) == 1


def test_what_was_chosen_once_and_no_more_rests_whatever_its_momentum() -> None:
    """Ten steps choose nearly the same channels each time: the others are where they were to the bit."""
    first, last = trained(CriticalChannels(0.1), steps=10)
    still = sum(int((~found).sum()) for found in moved(first, last).values())
    assert 25 <= still < 35


def test_all_channels_are_training_as_it_is_without() -> None:
    plain = network()
    fit(plain, task(), recipe=DECAYING, samples=160)
    _, whole = trained(CriticalChannels(1.0), steps=5)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), whole.parameters(), strict=True))


def test_layers_that_do_not_train_have_no_gradient_taken() -> None:
    module = network()
    taken: list[bool] = []
    seen = lambda *_: taken.extend(module[i].weight.requires_grad for i in (0, 2))  # noqa: E731
    module[2].register_full_backward_hook(seen)
    fit(module, task(), recipe=DECAYING, samples=32, techniques=(CriticalChannels(0.5, "layers"),))
    largest = max(rows(network()), key=lambda name: float(rows(network())[name].abs().mean()))
    assert taken == [largest == "0", largest == "2"]


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValueRangeError, match="nothing would train"):
        CriticalChannels(0.0)
    with pytest.raises(UnknownNameError, match="did you mean 'layers'"):
        CriticalChannels(by="layerss")  # type: ignore[arg-type]
