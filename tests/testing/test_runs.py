"""A run without a device: data shaped as a net's example, and a target that passes can plan with."""

import pytest
import torch
from torch import nn

import whet
from whet.testing.runs import AlignedTarget, classification, planning_run


@pytest.fixture(scope="module")
def net() -> whet.Net:
    return whet.lift(nn.Linear(6, 4), torch.randn(2, 6))


def test_data_are_shaped_as_the_example_with_labels_of_the_first_output(net: whet.Net) -> None:
    task = classification(net, batches=3, batch=5)
    batches = list(task.val)
    assert len(batches) == 3
    inputs, targets = batches[0]
    assert inputs[0].shape == (5, 6) and targets.shape == (5,) and 0 <= int(targets.min()) <= int(targets.max()) < 4
    again = list(classification(net, batches=3, batch=5).val)
    assert torch.equal(again[0][0][0], inputs[0])


def test_a_target_to_plan_with_has_an_alignment_and_kernels(net: whet.Net) -> None:
    run = planning_run(net, alignment=4)
    assert run.target.alignment == 4 and AlignedTarget(8).alignment == 8
    assert run.target.kernels()
