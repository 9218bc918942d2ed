"""What a worker does is what the search's own process would have done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from own_search import made, request

from whet.core.errors import WorkersError
from whet.core.run import Run
from whet.flow.work import Work
from whet.train.fit import fit
from whet.train.recipe import Recipe
from whet.workers.worker import Board, Desk, shared

RECIPE = Recipe(learning_rate=0.01)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_weights_report_and_score_are_the_same_to_the_bit(tmp_path: Path) -> None:
    net, task = made()
    nowhere: Any = None
    own = Work(net.copy(), RECIPE, {"samples": 200}, 1.0, "short", "short", 1.0)
    desk = Desk(shared(request(tmp_path)))
    done = desk.do(replace(own, net=net.copy(), scored=True, most_drop=0.1))
    report = own.done(Run(task, nowhere, net, trainer=fit))
    assert list(done.state) == list(own.net.module.state_dict())
    assert all(map(torch.equal, done.state.values(), own.net.module.state_dict().values()))
    assert (done.report.samples, done.report.losses) == (report.samples, report.losses)
    with torch.no_grad():
        outputs = torch.cat([own.net(x) for x, _ in task.val])
    assert done.scores == (task.score(outputs, torch.cat([y for _, y in task.val])), 1.0)


def test_a_worker_with_another_whet_refuses(tmp_path: Path) -> None:
    with pytest.raises(WorkersError, match=r"runs 0\.0\.1: install the same on every machine"):
        Desk(replace(shared(request(tmp_path)), code="0.0.1"))


def test_nothing_is_scored_that_was_not_asked_for_and_the_target_stays_at_home(tmp_path: Path) -> None:
    given = shared(request(tmp_path))
    assert given.request.target is None
    assert Desk(given).do(Work(made()[0].copy(), RECIPE, {"samples": 8}, 1.0, "short", "short", 1.0)).scores is None


def test_the_board_names_all_that_began_a_training() -> None:
    board = Board()
    board.began(1, "a/1")
    board.began(1, "b/2")
    assert board.who(1) == ["a/1", "b/2"] and board.who(2) == []
