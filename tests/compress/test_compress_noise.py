"""Importance without data: noise in place of inputs, on every kind of network, and that no data are touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from shared_nets import shared_net
from torch import nn

import whet
from whet.compress.importance import solved_rises
from whet.compress.noise import noise, noise_rise
from whet.compress.width import Width
from whet.core.run import Run
from whet.core.task import Task
from whet.graph.axes import analyze
from whet.testing.networks import NETWORKS
from whet.testing.runs import planning_run


class Closed:
    """Data that must not be looked at."""

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("looked at")


def closed(net: whet.Net) -> Run:
    run = planning_run(net)
    return replace(run, task=Task("closed", Closed(), Closed(), calibration=Closed()))


def perceptron() -> whet.Net:
    torch.manual_seed(0)
    return whet.lift(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).eval(), torch.randn(2, 6))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_group_of_every_network_has_scores_and_no_data_are_looked_at(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet.compress.noise.enough", lambda net, samples: samples)
    net = shared_net(name)
    groups = list(analyze(net).groups.values())
    found = noise_rise(net, groups, closed(net), 4)
    assert set(found) == {g.site for g in groups}
    assert all(len(found[g.site]) == g.size and np.isfinite(found[g.site]).all() for g in groups)


def test_scores_are_the_rises_on_that_noise() -> None:
    net = perceptron()
    groups = list(analyze(net).groups.values())
    given = noise(net, 300)
    assert sum(len(x[0]) for x, _ in given) == 300
    run = replace(planning_run(net), task=Task("same", given, given[:1]))
    wanted, found = solved_rises(net, groups, run, 300), noise_rise(net, groups, closed(net), 300)
    assert wanted and all(np.allclose(found[site], scores) for site, scores in wanted.items())


def test_of_two_equal_neurons_one_costs_nothing_and_goes_first() -> None:
    net = perceptron()
    first = net.layer("0")
    with torch.no_grad():
        for name in ("weight", "bias"):
            first.get_parameter(name)[9] = first.get_parameter(name)[4]
    scores = noise_rise(net, list(analyze(net).groups.values()), closed(net), 256)["0"]
    cheapest = int(scores.argmin())
    assert cheapest in (4, 9) and scores[cheapest] < 0.02 * np.sort(scores)[1:].mean()


def test_noise_is_standard_and_tokens_are_those_of_the_embedding() -> None:
    (inputs, _), *_ = noise(shared_net("unet"), 16)
    assert abs(float(inputs[0].mean())) < 0.1 and abs(float(inputs[0].std()) - 1) < 0.1
    tokens = shared_net("encoder")
    drawn = torch.cat([x[0].flatten() for x, _ in noise(tokens, 128)])
    size = next(m.num_embeddings for m in tokens.layers().values() if isinstance(m, nn.Embedding))
    assert int(drawn.min()) == 0 and int(drawn.max()) == size - 1


def test_width_takes_it_by_name() -> None:
    net = perceptron()
    width = Width((0.5, 1.0), importance="noise_rise", tie="network")
    result = width.apply(net, width.obvious(net, planning_run(net, 1).target)[0], closed(net))
    assert result.changed and not any("importance" in why for why in result.skipped.values())
