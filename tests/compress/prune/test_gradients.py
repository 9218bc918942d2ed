"""Rows are gradients of single samples, as many as there is memory for; vectors come back as weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

import whet
from whet.compress.prune.gradients import flat, gradients, unflat
from whet.core.errors import CalibrationError
from whet.core.net import Net
from whet.core.run import Run
from whet.core.task import Task
from whet.data.bind import bind
from whet.testing.runs import planning_run


def given() -> tuple[Net, Run]:
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 3)).eval(), torch.randn(2, 6))
    return net, planning_run(net)


def test_rows_are_the_gradients_of_single_samples() -> None:
    net, run = given()
    rows = gradients(net, ["0", "2"], run, 11)
    assert rows.shape == (11, 6 * 40 + 40 * 3)
    assert run.task.train is not None
    (inputs, targets), *_ = run.task.train
    weights = [net.layer(name).get_parameter("weight") for name in ("0", "2")]
    assert len(set(targets.tolist())) > 1
    for i in range(8):
        loss = functional.cross_entropy(net(inputs[0][i : i + 1]), targets[i : i + 1])
        wanted = torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])
        assert torch.allclose(rows[i], wanted, atol=1e-7)
    assert all(p.grad is None and p.requires_grad for p in net.module.parameters()), "the net is as it was"


def test_fewer_rows_come_where_memory_or_samples_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    net, run = given()
    assert len(gradients(net, ["0"], run, 1000)) == 32, "all that there are"
    monkeypatch.setattr("whet.compress.prune.gradients.MEMORY_BYTES", 4 * 240 * 5 + 7)
    assert len(gradients(net, ["0"], run, 1000)) == 5
    nothing = replace(run, task=Task("none", None, [torch.zeros(1, 6)]))
    with pytest.raises(CalibrationError, match="no calibration or training batches"):
        gradients(net, ["0"], nothing, 4)


def test_without_labels_rows_are_of_what_stands_for_a_loss() -> None:
    net, run = given()
    x = torch.randn(8, 6)
    run.task = bind(whet.Task("unlabelled", [x], [x], kinds="logits"), net)  # type: ignore[arg-type]
    rows = gradients(net, ["2"], run, 8)
    outputs = net(x[5:6])
    loss = functional.cross_entropy(outputs, outputs.argmax(-1))
    (wanted,) = torch.autograd.grad(loss, [net.layer("2").get_parameter("weight")])
    assert torch.allclose(rows[5], wanted.flatten(), atol=1e-7)


def test_vectors_come_back_as_weights() -> None:
    some = {"a": torch.randn(3, 2), "b": torch.randn(4, 1, 2)}
    assert all(torch.equal(w, some[name]) for name, w in unflat(flat(some), some).items())
