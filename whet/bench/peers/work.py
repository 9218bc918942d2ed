"""`Work`: what every peer is given, and how it hands its files back; adapters import nothing else of the harness."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whet import tasks
from whet.core.errors import TaskError
from whet.core.net import Net
from whet.core.task import Task, split
from whet.graph.lift import lift
from whet.networks.mobilenetv2 import MobileNetV2
from whet.networks.transformer import Encoder
from whet.tasks.bundle import Bundle
from whet.train.fit import fit

DELIVERED = "artifacts.jsonl"
RANDOM: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "mobilenetv2": (lambda: MobileNetV2(), lambda: torch.randn(2, 3, 224, 224)),
    "encoder": (lambda: Encoder(), lambda: torch.randn(2, 128, 64)),
}
"""Networks with random weights, for latency alone."""


@dataclass(frozen=True)
class Delivered:
    """A file that a peer hands back, `seconds` after the clock started.

    `runtime` opens it; `precision` is its hint (None: all that are legal). `stored` is what is kept on disk where that
    is another file, from which this one is made.
    """

    name: str
    path: str
    runtime: str
    precision: str | None = None
    note: str = ""
    stored: str = ""
    seconds: float = 0.0


@dataclass
class Work:
    """The task, the network, the budget; `task` is one of whet's or `latency`, where the network is random.

    The clock starts when the data and the network are loaded: everybody's budget counts what comes after.
    """

    task: str
    network: str
    data: str
    out: str
    seconds: float
    max_drop: float
    threads: int
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._bundle: Bundle | None = None
        self.started = time.monotonic()

    @classmethod
    def ordered(cls) -> Work:
        """Return the work whose JSON file is this process's first argument, loaded, its clock started."""
        work = cls(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
        torch.set_num_threads(work.threads)
        torch.manual_seed(work.seed)
        work.module()
        Path(work.out).mkdir(parents=True, exist_ok=True)
        work.started = time.monotonic()
        return work

    def write(self, path: Path) -> Path:
        """Write the order as JSON and return its path."""
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        return path

    # -- what there is to work on --

    @property
    def latency_only(self) -> bool:
        """Whether the network has random weights, so that only its latency counts."""
        return self.task == "latency"

    @property
    def bundle(self) -> Bundle:
        """The task with its data and networks. Raises: TaskError where only latency counts."""
        if self.latency_only:
            raise TaskError("latency-only work has random weights: there is nothing to train or to score.")
        if self._bundle is None:
            self._bundle = tasks.get(self.task, Path(self.data) if self.data else None)
        return self._bundle

    def module(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """Return a fresh copy of the trained network in eval mode, as its author wrote it, and inputs `(rows, ...)`."""
        if not self.latency_only:
            return self.bundle.trained(self.network)
        torch.manual_seed(0)
        build, example = RANDOM[self.network]
        return build().eval(), (example(),)

    def net(self) -> Net:
        """Return the trained network as whet's own `Net`."""
        module, example = self.module()
        return lift(module, example, name=self.network)

    @property
    def is_transformer(self) -> bool:
        """Whether the network has layer norms, by which transformers are told here."""
        module, _ = self.module()
        return any(isinstance(m, nn.LayerNorm) for m in module.modules())

    def calibration(self, samples: int = 300) -> Iterator[tuple[Tensor, ...]]:
        """Yield inputs of single calibration samples (batch of one), the same ones for everybody. Shapes (1, ...)."""
        if self.latency_only:
            for row in self.module()[1][0]:
                yield (row[None],)
            return
        given, count = self.bundle.task.calibration or self.bundle.task.train or (), 0
        for batch in given:
            inputs, targets = split(batch)
            for index in range(len(targets)):
                if count == samples:
                    return
                yield tuple(x[index : index + 1] for x in inputs)
                count += 1

    def score(self, run: Callable[..., Tensor], batches: Any = None) -> float:
        """Return the task's metric of `run` over `batches`, by default the validation data: a scalar, larger is better.

        An error is returned as its reciprocal: peers compare by ratios, whose sense a sign would turn round.
        """
        task: Task = self.bundle.task
        if task.played is not None:
            raise TaskError(f"task '{task.name}' is played, and peers score outputs.")
        outputs, targets = [], []
        with torch.no_grad():
            for batch in batches if batches is not None else task.val:
                inputs, target = split(batch)
                outputs.append(run(*inputs))
                targets.append(target)
        value = task.score(torch.cat(outputs), torch.cat(targets))
        return value if task.direction == "max" else 1 / value

    def fine_tune(self, module: nn.Module, seconds: float, pace: float = 1.0) -> None:
        """Train `module` in place with whet's own loop and the task's recipe, the original as its teacher.

        `pace` multiplies the learning rate.
        """
        teacher, _ = self.module()
        recipe = replace(self.bundle.recipe, learning_rate=pace * self.bundle.recipe.learning_rate)
        fit(module, self.bundle.task, teacher=teacher, recipe=recipe, seconds=seconds, seed=self.seed)

    # -- the clock, and the result --

    @property
    def seconds_left(self) -> float:
        """Seconds until the budget is used up, below 0 after that."""
        return self.seconds - (time.monotonic() - self.started)

    def place(self, name: str, suffix: str) -> Path:
        """Return where to write a file called `name`; each has a folder of its own for its side files."""
        folder = Path(self.out) / "files" / name.replace(" ", "-").replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"model{suffix}"

    def deliver(
        self, name: str, path: Path, runtime: str, precision: str | None = None, note: str = "", stored: Path | str = ""
    ) -> None:
        """Hand a file in; what is in when the time is up counts."""
        seconds = time.monotonic() - self.started
        line = json.dumps(asdict(Delivered(name, str(path), runtime, precision, note, str(stored), seconds)))
        with (Path(self.out) / DELIVERED).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def delivered(self) -> list[Delivered]:
        """Return the files that were handed in, in that order."""
        path = Path(self.out) / DELIVERED
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [Delivered(**json.loads(line)) for line in lines]


def as_arrays(inputs: tuple[Tensor, ...]) -> list[np.ndarray[Any, Any]]:
    """Return inputs as a runtime takes them. Of the same shapes."""
    return [x.contiguous().numpy() for x in inputs]
