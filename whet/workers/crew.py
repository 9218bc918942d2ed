"""`Crew`: the workers of a search. Ray places trainings, carries networks, and gives again what a worker took down."""

from __future__ import annotations

import importlib
import logging
import os
import socket
import sys
import sysconfig
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from whet.core.errors import TrainingError, WorkersError
from whet.flow.request import Request
from whet.flow.turns import Done
from whet.flow.work import Work
from whet.workers.where import Where

RETRIES = 3
"""How many times a training is given again whose worker died; then it is its candidate that is given up."""
CONNECT_SECONDS = 5.0
INSTALLED = {"site-packages", "dist-packages"}
"""The folders of what is installed, which workers are to have as well."""
WAIT_SECONDS = 15.0
"""After how long the user is told that no worker is there, or another one is waited for."""


@dataclass
class _Job:
    number: int
    work: Work
    reference: Any = None


class Crew:
    """Has trainings done by the workers that there are; `tell` hears of those that died.

    Where workers share this machine's processors, trainings that are given are begun together when the first is waited
    for, and all of them are over before `give`'s waiting returns: what this process does in between, measuring among
    it, it does alone. Where all workers are on other machines they begin at once, and nobody waits for the others.
    """

    def __init__(self, ray: Any, place: Where, request: Request, tell: Callable[[str], None]) -> None:
        from whet.workers import worker

        self.ray, self.place, self.tell = ray, place, tell
        for module in own_modules():
            ray.cloudpickle.register_pickle_by_value(module)
        self.key = uuid.uuid4().hex
        self.number = 0
        self.jobs: list[_Job] = []
        self.trained: Counter[str] = Counter()
        self.there: dict[str, str] = {}
        try:
            self.shared = [ray.put(worker.shared(request))]
        except (TypeError, AttributeError, ImportError, ValueError) as error:
            raise WorkersError(f"network and task cannot be sent to workers: {str(error).splitlines()[0]}") from error
        # The machine that it is on may go: then it begins anew on another, without the names so far.
        self.board = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(worker.Board).remote()
        self.train = ray.remote(num_cpus=1, max_retries=RETRIES)(worker.train)

    def size(self) -> int:
        """Return how many trainings are done at once by now: one a processor of the cluster, at least one."""
        return max(1, int(sum(node["Resources"].get("CPU", 0) for node in self._nodes())))

    @property
    def beside(self) -> bool:
        """Whether a worker is on this machine."""
        return self.place.count is not None or any(
            node["NodeManagerHostname"] == socket.gethostname() for node in self._nodes()
        )

    def _nodes(self) -> list[dict[str, Any]]:
        """Return the machines that train by now; say of one that was among them and is gone."""
        with self._lost_is_said():
            nodes = [n for n in self.ray.nodes() if n["Alive"] and n["Resources"].get("CPU", 0) >= 1]
        now = {node["NodeID"]: node["NodeManagerHostname"] for node in nodes}
        for gone in self.there.keys() - now.keys():
            self.tell(f"machine {self.there[gone]} left: what it trained is given to another")
        self.there = now
        return nodes

    def give(self, work: Work) -> Callable[[], Done]:
        """Have a training done; what is returned waits for it."""
        self.number += 1
        job = _Job(self.number, work)
        self.jobs.append(job)
        if not self.beside:
            with self._lost_is_said():
                self._send(job)
        return partial(self._wait, job)

    def _send(self, job: _Job) -> None:
        job.reference = self.train.remote(self.key, self.shared, self.board, job.number, job.work)

    def _wait(self, job: _Job) -> Done:
        try:
            with self._lost_is_said():
                for each in self.jobs:
                    if each.reference is None:
                        self._send(each)
                self._until_over([each.reference for each in self.jobs] if self.beside else [job.reference])
                return self._result(job)
        except (KeyboardInterrupt, WorkersError):
            self.cancel()
            raise
        finally:
            self.jobs = [each for each in self.jobs if each is not job]

    def _until_over(self, references: list[Any]) -> None:
        while self.ray.wait(references, num_returns=len(references), timeout=WAIT_SECONDS)[1]:
            if not self._nodes():
                self.tell(f"no worker is there: waiting for one to join {self.place}")

    def _result(self, job: _Job) -> Done:
        """Return what came of a training that is over; name the workers that died over it."""
        exceptions = self.ray.exceptions
        try:
            done: Done = self.ray.get(job.reference)
        except exceptions.RayTaskError as error:
            raise error.cause from error
        except (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.OutOfMemoryError) as error:
            died = ", ".join(self._who(job))
            raise TrainingError(f"every worker that trained this candidate died: {died}") from error
        names = self._who(job) or ["(unknown)"]
        for who in names[:-1]:
            self.tell(f"worker {who} died: its training was given to another")
        self.trained[names[-1].partition("/")[0]] += 1
        return done

    def machines(self) -> str:
        """Say which machine did how many of the trainings."""
        each = ", ".join(f"{machine} {count}" for machine, count in sorted(self.trained.items()))
        return f"trainings were done by workers: {each}"

    def _who(self, job: _Job) -> list[str]:
        with suppress(Exception):  # whoever kept the names died as well
            return list(self.ray.get(self.board.who.remote(job.number), timeout=CONNECT_SECONDS))
        return []

    def cancel(self) -> None:
        """Stop all trainings that are not over."""
        for job in self.jobs:
            if job.reference is not None:
                with suppress(Exception):  # it is over, or its worker is gone
                    self.ray.cancel(job.reference, force=True)
        with suppress(Exception):
            sent = [job.reference for job in self.jobs if job.reference is not None]
            self.ray.wait(sent, num_returns=len(sent), timeout=CONNECT_SECONDS)
        self.jobs.clear()

    @contextmanager
    def _lost_is_said(self) -> Iterator[None]:
        """Say of a cluster that is gone what can be done; the study has all but what was being trained."""
        try:
            yield
        except Exception as error:
            if not self._is_lost(error):
                raise
            first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".!")
            raise WorkersError(
                f"the workers at {self.place} are lost: {first}. What was finished is safe: the same command goes on."
            ) from error

    def _is_lost(self, error: Exception) -> bool:
        """Say whether an error is the cluster's; of a channel that is closed gRPC raises a plain ValueError."""
        gone = (ConnectionError, self.ray.exceptions.RaySystemError, self.ray.exceptions.RpcError)
        return (
            isinstance(error, gone)
            or type(error).__module__.partition(".")[0] == "grpc"
            or (isinstance(error, ValueError) and "closed channel" in str(error))
        )


def own_modules() -> list[ModuleType]:
    """Return the modules that are loaded from the user's own files: workers get their code, as they lack the files."""
    roots = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib"))
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        own = isinstance(file, str) and not file.startswith(roots) and not INSTALLED & {*Path(file).parts}
        if own and name.partition(".")[0] not in ("whet", "__main__", "__mp_main__"):
            found.append(module)
    return found


@contextmanager
def crew(place: Where, request: Request, tell: Callable[[str], None]) -> Iterator[Crew]:
    """Hold the workers of a search; those on this machine end with it.

    Raises: WorkersError where Ray is not installed or the cluster does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise WorkersError("--workers needs Ray: pip install 'whet-nn[distributed]'.") from error
    if ray.is_initialized():
        raise WorkersError("this process uses Ray already: end that with ray.shutdown(), or run whet in its own.")
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if place.count is not None:
        ray.init(num_cpus=place.count, include_dashboard=False, **quiet)
    else:
        _join(ray, place.address, quiet)
    try:
        found = Crew(ray, place, request, tell)
        try:
            yield found
        finally:
            found.cancel()
            if found.trained:
                tell(found.machines())
    finally:
        ray.shutdown()


def _join(ray: Any, address: str, quiet: dict[str, Any]) -> None:
    """Become a driver of the cluster at an address."""
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), CONNECT_SECONDS).close()
        ray.init(address, **quiet)
    except (OSError, RuntimeError, ImportError) as error:
        first = str(error).strip().splitlines()[0]
        raise WorkersError(
            f"no Ray cluster answers at {address}: {first}. Begin one there: ray start --head --ray-client-server-port "
            f"{parts.port}; where it wants a token, RAY_AUTH_MODE=token and ~/.ray/auth_token are needed here as well."
        ) from error
