"""What runs in a worker's process: the training of one candidate. It measures no latency and writes no study."""

from __future__ import annotations

import importlib
import os
import socket
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from whet.core.errors import WorkersError
from whet.core.run import Run
from whet.core.target import Target
from whet.data.memory import TeacherMemory
from whet.flow.identity import code
from whet.flow.request import Request
from whet.flow.scoring import Scores
from whet.flow.turns import Done
from whet.flow.work import Work
from whet.train.fit import fit


@dataclass(frozen=True)
class Shared:
    """What all trainings of a search have in common: the network, the task and its data; and the code that is run."""

    request: Request
    code: str


def shared(request: Request) -> Shared:
    """Return what workers need of a request; the target stays where it is, as nobody else measures."""
    bare = replace(request, target=cast(Target, None), passes=(), finishers=(), options=None, skipped={}, identity={})
    return Shared(bare, code())


class Desk:
    """Trains for one search; it keeps what is the same each time, the original's outputs among it.

    Raises: WorkersError where this machine has another whet.
    """

    def __init__(self, given: Shared) -> None:
        if given.code != code():
            raise WorkersError(
                f"worker {name()} has whet {code()}, the search runs {given.code}: install the same on every machine."
            )
        torch.set_num_threads(1)
        request = given.request
        memory = TeacherMemory(request.net)
        self.run = Run(request.task, request.target, request.net, request.seed, trainer=partial(fit, memory=memory))
        self.scores = Scores(request, Path(), lambda what: nullcontext())

    def do(self, work: Work) -> Done:
        """Train, score if that is asked for, and return report and weights."""
        report = work.done(self.run)
        scores = self.scores.net(work.net, work.most_drop) if work.scored else None
        state = {key: value.detach().contiguous() for key, value in work.net.module.state_dict().items()}
        return Done(report, scores, state)


class Board:
    """Who began which training: kept outside of the workers, so that one that died can be named."""

    def __init__(self) -> None:
        self.begun: dict[int, list[str]] = {}

    def began(self, number: int, who: str) -> None:
        """Take down that a worker begins a training."""
        self.begun.setdefault(number, []).append(who)

    def who(self, number: int) -> list[str]:
        """Return who began a training, in order: all but the last died over it."""
        return self.begun.get(number, [])


_desks: dict[str, Desk] = {}
"""The desk of the search that this process works for."""


def name() -> str:
    """Return how this process is called: its machine and its id."""
    return f"{socket.gethostname()}/{os.getpid()}"


def train(key: str, given: list[Any], board: Any, number: int, work: Work) -> Done:
    """Do a training of the search `key`; `given` holds the reference of its `Shared`, fetched once a process."""
    ray: Any = importlib.import_module("ray")
    ray.get(board.began.remote(number, name()))  # before anything can take this process down
    if key not in _desks:
        _desks.clear()
        _desks[key] = Desk(ray.get(given[0]))
    return _desks[key].do(work)
