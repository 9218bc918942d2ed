"""A training does no harm, whoever does it."""

from __future__ import annotations

from typing import Any

import torch
from quick import made

from whet.core.run import Run
from whet.flow.work import Work
from whet.train.fit import fit
from whet.train.recipe import Recipe

NOWHERE: Any = None


def test_the_weights_from_before_come_back_where_training_made_them_worse() -> None:
    net, task = made()
    found = {}
    for rate in (1e-4, 30.0):
        work = Work(net.copy(), Recipe(learning_rate=rate), {"samples": 256}, 0.01, "short", "short", 1.0)
        report = work.done(Run(task, NOWHERE, net, trainer=fit))
        same = all(map(torch.equal, work.net.module.state_dict().values(), net.module.state_dict().values()))
        found[rate] = report.kept, same, report.held_after >= report.held_before - 0.01
    assert found == {1e-4: ("after", False, True), 30.0: ("before", True, False)}
