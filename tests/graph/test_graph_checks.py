"""What lifting compares: every output in every run of the source, and every tensor that an output depends on."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

import whet
from whet.core.errors import LiftError
from whet.graph.calls import outputs_of
from whet.graph.checks import buffers_of, compare, results_are_tensors
from whet.graph.probe import Probe


def test_a_net_that_computes_something_else_is_refused_by_output_and_batch() -> None:
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    net = whet.lift(module, torch.randn(2, 3))
    x = torch.randn(3, 3)
    probe = Probe((0,), (0,), {(0, 1, 2): ((x,), outputs_of(module(x).detach()))})
    compare(net, probe, None)
    with torch.no_grad():
        net.layer("").bias.add_(0.1) if net.layers() == {"": module} else net.module.get_parameter("bias").add_(0.1)
    with pytest.raises(LiftError, match=r"output 'output' of the lifted network differs .* at a batch of 3"):
        compare(net, probe, None)
    more = Probe((0,), (0,), {(0, 1, 2): ((x,), outputs_of((x, x)))})
    with pytest.raises(LiftError, match="gives 1 tensors; its source gives 2"):
        compare(net, more, None)


def test_buffers_are_copied_before_a_run_changes_them() -> None:
    norm = nn.BatchNorm1d(2)
    before = buffers_of(norm)
    norm(torch.randn(8, 2))
    assert before["running_mean"].abs().max() == 0 < norm.running_mean.abs().max()


def test_outputs_that_are_no_tensors_are_counted() -> None:
    with pytest.raises(LiftError, match="1 of 2 outputs do not export as tensors"):
        results_are_tensors([fx.Graph().placeholder("x")], 2)
