"""Which networks and data count as the same study."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import whet
from whet.flow.identity import described, digest, identity

X, Y = torch.randn(48, 4), torch.randint(0, 3, (48,))


def batches(x: Tensor = X) -> list[Any]:
    return [(x[i : i + 16], Y[i : i + 16]) for i in range(0, 48, 16)]


def task(**changes: Any) -> whet.Task:
    return replace(whet.Task("t", batches(), batches(), functional.cross_entropy, whet.accuracy), **changes)


@pytest.fixture(scope="module")
def net() -> whet.Net:
    return whet.lift(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).eval(), X[:2])


def differing(a: dict[str, str], b: dict[str, str]) -> list[str]:
    assert a.keys() == b.keys()
    return [name for name in a if a[name] != b[name]]


@pytest.mark.parametrize("name", ["0.weight", "1.running_mean", "2.bias"])
def test_any_changed_weight_or_buffer_is_another_network(net: whet.Net, name: str) -> None:
    other = net.copy()
    other.module.state_dict()[name].view(-1)[-1:] += 1e-6
    assert differing(identity(net, task()), identity(other, task())) == ["weights"]
    assert differing(identity(net, task()), identity(net.copy(), task())) == []


def test_what_of_the_task_changed_is_named(net: whet.Net) -> None:
    mine = identity(net, task())
    for changes, names in (
        ({"train": batches(X + 1)}, ["train data"]),
        ({"val": batches()[:2]}, ["val data"]),
        ({"test": batches()}, ["test data"]),
        ({"metric_name": "top1"}, ["metric"]),
        ({"direction": "min"}, ["metric"]),
        ({"metric": lambda outputs, targets: 0.0}, ["metric"]),
    ):
        assert differing(mine, identity(net, task(**changes))) == names


class Shuffled:
    """Batches in another order each time that they are gone through."""

    def __iter__(self) -> Iterator[Any]:
        found = batches()
        random.shuffle(found)
        return (tuple(t[torch.randperm(16)] for t in batch) for batch in found)

    def __len__(self) -> int:
        return 3


def test_shuffled_data_are_the_same_data_and_other_data_are_not() -> None:
    state = torch.get_rng_state()
    loaders = [DataLoader(TensorDataset(x, Y), batch_size=16, shuffle=True) for x in (X, X, X + 1)]
    same, again, other = map(described, loaders)
    assert same == again != other
    assert described(Shuffled()) == described(Shuffled()) == "3 batches, varying"
    assert torch.equal(torch.get_rng_state(), state), "the sample must not move the user's random numbers"


def test_a_generator_is_not_used_up() -> None:
    once = iter(batches())
    assert "not read" in described(once)
    assert len(list(once)) == 3


@pytest.mark.parametrize(
    "value",
    [
        {"input_ids": torch.ones(2, 3, dtype=torch.long), "labels": [1, 2]},
        (torch.ones(2, dtype=torch.bfloat16), None, {"boxes": [np.zeros((1, 4)), np.zeros((2, 4))]}),
        [torch.ones(()), "name", 3.5, np.float32(1)],
        (torch.zeros(0, 4), torch.zeros(4, 0)),
    ],
)
def test_any_batch_has_a_digest_of_its_values_and_shapes(value: Any) -> None:
    import copy

    assert digest(value) == digest(copy.deepcopy(value))
    assert digest(value) != digest([value])


def test_shape_and_type_count() -> None:
    assert len({digest(torch.zeros(s, dtype=t)) for s in ((2, 3), (3, 2)) for t in (torch.float32, torch.int32)}) == 4
