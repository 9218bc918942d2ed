"""The table of importances, and scores that are taken once."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import whet
from whet.compress.importances import IMPORTANCES, Frozen
from whet.compress.width import Width
from whet.graph.axes import analyze
from whet.testing.runs import planning_run


def test_every_importance_is_taken_by_width_and_scores_what_it_can() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)]
    net = whet.lift(nn.Sequential(*layers).eval(), torch.randn(2, 6))
    run, groups = planning_run(net), list(analyze(net).groups.values())
    for name, score in IMPORTANCES.items():
        found = score(net, groups, run, 16)
        assert Width(importance=name).importance == name
        assert {site: len(s) for site, s in found.items()} == {"0": 16} and np.isfinite(found["0"]).all(), name


def test_frozen_scores_stay_when_weights_change_and_fit_no_other_size() -> None:
    torch.manual_seed(0)
    net = whet.lift(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).eval(), torch.randn(2, 6))
    run = planning_run(net)
    frozen = Frozen.of(net, "weight_norm", run)
    before = frozen(net, list(analyze(net).groups.values()), run, 0)["0"]
    with torch.no_grad():
        net.layer("0").get_parameter("weight").neg_().mul_(torch.linspace(0, 1, 16)[:, None])
    groups = list(analyze(net).groups.values())
    assert np.array_equal(frozen(net, groups, run, 0)["0"], before)
    narrow = Width((0.5, 1.0)).apply(net, Width((0.5, 1.0)).obvious(net, run.target)[0], planning_run(net, 1)).net
    assert frozen(narrow, list(analyze(narrow).groups.values()), run, 0) == {}
