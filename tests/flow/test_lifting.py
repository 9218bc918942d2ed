"""A module is lifted by the data of its task, however a batch holds the inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import whet
from whet.core.errors import TaskError
from whet.flow.lifting import lifted

X, Y = torch.randn(5, 8), torch.zeros(5, dtype=torch.long)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.layer(first + second)


@pytest.mark.parametrize(
    ("module", "batch", "inputs"),
    [
        (nn.Linear(8, 3), (X, Y), 1),
        (nn.Linear(8, 3), [X.double().numpy(), Y], 1),
        (nn.Linear(8, 3), X, 1),
        (nn.Linear(8, 3), [X], 1),
        (nn.Linear(8, 3), (X, Y, np.arange(5)), 1),
        (Two(), (X, X, Y), 2),
        (Two(), ((X, X), Y), 2),
        (Two(), {"second": X, "labels": Y, "first": X}, 2),
        (Two(), ({"first": X, "second": X}, Y), 2),
        (nn.Linear(8, 3), {"pixels": X, "labels": Y}, 1),
    ],
)
def test_inputs_are_found_in_the_first_batch(module: nn.Module, batch: Any, inputs: int) -> None:
    net = lifted(module.train(), whet.Task("mine", None, [batch], metric=whet.accuracy))
    assert module.training, "the module is as it was"
    assert len(net.inputs) == inputs and all(x.shape == (2, 8) and x.dtype == torch.float32 for x in net.example)
    assert net.name == type(module).__name__.lower()
    given = tuple(torch.randn(4, 8) for _ in range(inputs))
    torch.testing.assert_close(net(*given), module(*given))


def test_a_net_stays_as_it_is_and_data_that_do_not_fit_are_told() -> None:
    net = whet.lift(nn.Linear(8, 3), (X[:2],))
    assert lifted(net, whet.Task("mine", None, [X])) is net
    with pytest.raises(TaskError, match=r"is not what Linear takes \(RuntimeError: .*give whet\.lift"):
        lifted(nn.Linear(9, 3), whet.Task("mine", None, [(X, Y)], metric=whet.accuracy))
