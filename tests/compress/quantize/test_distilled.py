"""Distilled calibration data: statistics that norms hold, networks that tell nothing, passes that ask for no data."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import whet
from whet.compress.quantize.distilled import calibrated, distilled, far
from whet.compress.quantize.rounding import input_moments
from whet.compress.quantize.static import StaticQuantization
from whet.compress.quantize.weight_only import NETWORK, WeightOnly
from whet.core.errors import CalibrationError, UnknownNameError
from whet.core.net import Net
from whet.core.space import Decision
from whet.testing.passes import fingerprint, outputs, same
from whet.testing.runs import planning_run


def trained() -> tuple[Net, torch.Tensor]:
    """Return a network whose norms have seen data of means and deviations that differ by channel, and these data."""
    torch.manual_seed(0)
    mixing = torch.randn(3, 3)
    x = (torch.randn(256, 3, 8, 8).movedim(1, -1) @ mixing).movedim(-1, 1) + torch.tensor([2.0, -1.0, 0.5]).view(
        3, 1, 1
    )
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
    module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 5))
    with torch.no_grad():
        for _ in range(60):
            module.train()(x)
    return whet.lift(module.eval(), (x[:2],)), x


def statistics(net: Net, x: torch.Tensor) -> float:
    """Return how far the statistics in front of the norms are from those that they hold."""
    total, value = 0.0, x
    for layer in net.layers().values():
        if isinstance(layer, nn.BatchNorm2d):
            rows = value.movedim(1, -1).flatten(0, -2)
            held = [layer.running_mean, layer.running_var.sqrt()]
            total += float(far([rows.mean(0), rows.std(0)], held))  # type: ignore[arg-type]
        if not isinstance(layer, nn.Linear):
            value = layer(value).relu() if isinstance(layer, nn.BatchNorm2d) else layer(value)
    return total


def test_the_data_have_the_statistics_that_norms_hold() -> None:
    net, x = trained()
    before = fingerprint(net)
    with torch.no_grad():
        drawn, made, real = (
            statistics(net, given) for given in (distilled(net, 64, 0)[0][0], distilled(net, 64)[0][0], x)
        )
    assert made < 0.1 * drawn and real < 0.1 * drawn
    assert same(fingerprint(net), before) and all(p.requires_grad for p in net.module.parameters())
    assert torch.equal(distilled(net, 16, 5, seed=3)[0][0], distilled(net, 16, 5, seed=3)[0][0])


def test_a_pass_that_is_given_them_asks_for_no_data_and_ranges_are_those_of_real_ones() -> None:
    """Noise does not show the ranges that activations have: what is distilled does."""
    net, x = trained()
    run, whole = planning_run(net), Decision({"network:int8": "all"})
    none = replace(run, task=replace(run.task, calibration=None, train=None))
    noise = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    (wanted,), errors = outputs(net, x), []
    for item, data in (
        (StaticQuantization(), x),
        (StaticQuantization(calibration="distilled"), None),
        (StaticQuantization(), noise),
    ):
        given = none if data is None else replace(none, task=replace(run.task, calibration=[((data,), None)]))
        (found,) = outputs(item.apply(net, whole, given).net, x)
        errors.append(float((found - wanted).square().mean() / wanted.var()))
    real, made, drawn = errors
    assert real <= made < 0.5 * drawn and made < 0.01
    rounded = WeightOnly(calibration="distilled").apply(net, Decision({NETWORK: "int4"}), none)
    assert rounded.texts["0"] == "int4", "by moments of what was distilled"
    with pytest.raises(CalibrationError):
        StaticQuantization().apply(net, whole, none)


def test_they_are_made_once_for_a_network_and_known_by_the_task_itself() -> None:
    net, _ = trained()
    run = planning_run(net)
    once = calibrated(run, net, "distilled")
    assert calibrated(run, net, "distilled").task is once.task and calibrated(run, net, "task") is run
    assert input_moments(net, once)[0]["0"] is input_moments(net, once)[0]["0"]
    other = planning_run(net)
    assert calibrated(other, net, "distilled").task is not once.task
    assert not torch.equal(input_moments(net, run)[0]["0"], input_moments(net, once)[0]["0"])


def test_networks_that_tell_nothing_and_words_that_mean_nothing() -> None:
    plain = whet.lift(nn.Sequential(nn.Linear(4, 2)).eval(), (torch.randn(2, 4),))
    with pytest.raises(
        CalibrationError, match="cannot be distilled from 'sequential': it has no batch norm with statistics"
    ):
        distilled(plain)
    tokens = whet.lift(
        nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2)).eval(), (torch.zeros(2, 3, dtype=torch.int64),)
    )
    with pytest.raises(CalibrationError, match="it does not read one tensor of floats"):
        distilled(tokens)
    with pytest.raises(UnknownNameError, match="unknown calibration 'distiled'; did you mean 'distilled'"):
        WeightOnly(calibration="distiled")
