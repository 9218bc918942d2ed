"""Workers of a real Ray on this machine: what they do, who dies, who comes late."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
import torch
from own_search import made, request

from whet.cli import main
from whet.core.errors import TrainingError, WorkersError
from whet.core.run import Run
from whet.flow.work import Work
from whet.train.fit import fit
from whet.train.recipe import Recipe
from whet.workers.crew import Crew, crew
from whet.workers.where import Where

ray = pytest.importorskip("ray", reason="trainings are spread by Ray: pip install 'whet-nn[distributed]'")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(found.address, log_to_driver=False, logging_level="ERROR")
    yield found
    ray.shutdown()
    found.shutdown()


def work(seed: int, rate: float = 0.01, samples: int = 200) -> Work:
    net, noise = made()[0].copy(), torch.randn(32, 8, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        next(net.module.parameters()).add_(0.1 * noise)
    return Work(net, Recipe(learning_rate=rate), {"samples": samples}, 1.0, "short", "short", 1.0)


def test_trainings_in_workers_are_those_of_this_process(cluster: Any, tmp_path: Path) -> None:
    nowhere: Any = None
    team = Crew(ray, Where(1), request(tmp_path), print)
    waiting = [team.give(work(seed)) for seed in (1, 2)]
    for seed, done in zip((1, 2), [each() for each in waiting], strict=True):
        own = work(seed)
        own.done(Run(made()[1], nowhere, made()[0], trainer=fit))
        assert all(map(torch.equal, done.state.values(), own.net.module.state_dict().values()))
    assert not team.jobs


def test_nobody_trains_here_once_one_training_was_waited_for(cluster: Any, tmp_path: Path) -> None:
    team = Crew(ray, Where(1), request(tmp_path), print)
    first, second = team.give(work(1)), team.give(work(2, samples=4000))
    assert all(job.reference is None for job in team.jobs)
    first()
    [job] = team.jobs
    assert ray.wait([job.reference], timeout=0)[0] and second().report.samples == 4000


def test_a_worker_that_died_is_named_and_its_work_is_done_again(cluster: Any, tmp_path: Path) -> None:
    told: list[str] = []
    team = Crew(ray, Where(1), request(tmp_path, tmp_path), told.append)
    (tmp_path / "kill-1").touch()
    assert team.give(work(1))().report.samples == 224
    [line] = told
    assert line.startswith(f"worker {socket.gethostname()}/") and "its training was given to another" in line


def test_who_keeps_the_names_may_die_without_harm(cluster: Any, tmp_path: Path) -> None:
    team = Crew(ray, Where(1), request(tmp_path), print)
    team.give(work(1))()
    ray.kill(team.board, no_restart=False)
    assert team.give(work(2))().report.samples == 224


def test_a_training_that_takes_every_worker_down_is_given_up(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whet.workers.crew.RETRIES", 1)
    team = Crew(ray, Where(1), request(tmp_path, tmp_path), print)
    for number in range(2):
        (tmp_path / f"kill-{number}").touch()
    with pytest.raises(TrainingError, match=rf"every worker .* died: ({socket.gethostname()}/\d+(, )?){{2}}$"):
        team.give(work(1))()


def test_a_training_that_fails_is_the_same_error_here(cluster: Any, tmp_path: Path) -> None:
    bad = work(1)
    with torch.no_grad():
        next(bad.net.module.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="the loss was nan at step 1"):
        Crew(ray, Where(1), request(tmp_path), print).give(bad)()


def test_a_machine_that_joins_late_is_used_and_one_that_leaves_is_named(cluster: Any, tmp_path: Path) -> None:
    told: list[str] = []
    team = Crew(ray, Where(None, "ray://here:1"), request(tmp_path), told.append)
    assert team.size() == 1 and team.beside
    node = cluster.add_node(num_cpus=1)
    while team.size() < 2:
        time.sleep(0.1)
    waiting = [team.give(work(seed, samples=60_000)) for seed in range(2)]
    for each in waiting:
        each()
    begun = [ray.get(team.board.who.remote(number)) for number in (1, 2)]
    assert len({who for names in begun for who in names}) == 2
    assert not told
    cluster.remove_node(node)
    while team.size() > 1:
        time.sleep(0.1)
    assert told == [f"machine {socket.gethostname()} left: what it trained is given to another"]
    assert team.size() == 1 and len(told) == 1


def test_what_cannot_be_sent_is_said_at_once(cluster: Any, tmp_path: Path) -> None:
    whole = request(tmp_path)
    with pytest.raises(WorkersError, match=r"cannot be sent to workers: .*lock"):
        Crew(ray, Where(1), replace(whole, task=replace(whole.task, train=[Lock()])), print)


def test_ray_that_is_in_use_and_a_cluster_that_does_not_answer_are_errors(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(WorkersError, match="uses Ray already"), crew(Where(1), request(tmp_path), print):
        pass


def test_a_cluster_that_does_not_answer_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"ray://127.0.0.1:{free.getsockname()[1]}"
    words = ["whet", "optimize", "--task", "digits", "--workers", place, "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"no Ray cluster answers at {place}: " in " ".join(capsys.readouterr().err.split())
