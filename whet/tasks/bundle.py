"""`Bundle`: a task with its networks; what the loaders of all tasks share."""

from __future__ import annotations

import copy
import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whet import catalogue
from whet.core.errors import MethodError, TaskError, unknown
from whet.core.task import Batch, Task
from whet.train.fit import fit
from whet.train.recipe import Recipe
from whet.train.state import load_state, save_state

Augment = Callable[[Tensor, torch.Generator], Tensor]
Builder = Callable[[], nn.Module]


class TensorBatches:
    """Batches of tensors in memory; epoch e is shuffled and augmented by a generator of (seed, e) alone."""

    def __init__(
        self, inputs: Tensor, targets: Tensor, batch_size: int, *, shuffle: bool = False,
        augment: Augment | None = None, prepare: Callable[[Tensor], Tensor] | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.inputs, self.targets, self.batch_size = inputs, targets, batch_size
        self.shuffle, self.augment, self.prepare, self.seed = shuffle, augment, prepare, seed

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.targets)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.targets), self.batch_size)
        return whole + (rest > 0 and not (self.shuffle and whole))

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.at_epoch(0))

    def at_epoch(self, epoch: int) -> _Epoch:
        """Return the batches of one epoch; a shuffled epoch leaves an incomplete last batch out."""
        return _Epoch(self, epoch)


class _Epoch:
    def __init__(self, owner: TensorBatches, epoch: int) -> None:
        self.owner, self.epoch = owner, epoch

    def __len__(self) -> int:
        return len(self.owner)

    def __iter__(self) -> Iterator[Batch]:
        o = self.owner
        generator = torch.Generator().manual_seed(o.seed * 100_003 + self.epoch)
        order = torch.randperm(len(o.targets), generator=generator) if o.shuffle else torch.arange(len(o.targets))
        for index in range(len(o)):
            picked = order[index * o.batch_size : (index + 1) * o.batch_size]
            inputs = o.inputs[picked]
            if o.augment is not None:
                inputs = o.augment(inputs, generator)
            yield (o.prepare(inputs) if o.prepare is not None else inputs), o.targets[picked]


@dataclass(frozen=True)
class Bundle:
    """A task, the networks that it knows (the first is its own), and how to fine-tune them.

    `weights` names a file of given weights for a network; the others are trained once by `pretraining` and kept in
    the cache folder.
    """

    task: Task
    builders: dict[str, Builder]
    example: tuple[Tensor, ...]
    recipe: Recipe = field(default_factory=Recipe)
    pretraining: Recipe = field(default_factory=Recipe)
    pretraining_epochs: float = 1.0
    weights: dict[str, Path] = field(default_factory=dict)
    cache_key: str = ""
    """What trained networks are kept under; by default the task's name."""
    finds_recipe: bool = False
    """Whether the way of training is looked for, beginning with `recipe`, where the user says nothing of it."""

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of the networks that the task knows, its own first."""
        return tuple(self.builders)

    def knows(self, name: str) -> bool:
        """Say whether a name is one of the task's networks, or of the catalogue's with options: `mlp(features=9)`."""
        return name in self.builders or name.partition("(")[0].strip() in catalogue.names("network")

    def built(self, name: str) -> nn.Module:
        """Return a network by its name, or by words of the catalogue, untrained.

        Raises: UnknownNameError for the name; TaskError where it does not take the task's inputs, or needs an option.
        """
        if name in self.builders:
            return self.builders[name]()
        if not self.knows(name):
            raise unknown(f"network of task '{self.task.name}'", name, [*self.builders, *catalogue.names("network")])
        try:
            module: nn.Module = catalogue.make(name, "network")
        except MethodError as error:
            own = ", ".join(self.builders)
            raise TaskError(
                f"network '{name}': {error} Task '{self.task.name}' has networks of its own: {own}."
            ) from error
        try:
            with torch.no_grad():
                copy.deepcopy(module).eval()(*self.example)
        except Exception as error:
            raise TaskError(f"network '{name}' does not take the inputs of task '{self.task.name}': {error}") from error
        return module

    def trained(
        self, name: str | None = None, progress: Callable[[dict[str, Any]], None] = lambda event: None
    ) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """Return a trained network in eval mode and example inputs. Each input has the shape (2, ...).

        What is trained from scratch and killed goes on from where it was half a minute before.
        """
        chosen = name or self.networks[0]
        torch.manual_seed(0)
        module = self.built(chosen)
        if chosen in self.weights:
            load_given(self.weights[chosen], module)
            return module.eval(), self.example
        cached = (
            cache_folder()
            / f"{self.cache_key or self.task.name}-{file_name(chosen)}-{self.pretraining_epochs:g}.safetensors"
        )
        if cached.exists():
            load_state(cached, module)
            return module.eval(), self.example
        cached.parent.mkdir(parents=True, exist_ok=True)
        report = fit(
            module, self.task, recipe=self.pretraining, epochs=self.pretraining_epochs,
            checkpoint=cached.with_suffix(".part"),
            progress=lambda event: progress({**event, "stage": f"training {chosen} from scratch"}),
        )  # fmt: skip
        save_state(module, cached, {"samples": report.samples, "seconds": report.seconds})
        return module.eval(), self.example


def file_name(network: str) -> str:
    """Return a network's name as part of a file's; words with options by their checksum.

    >>> file_name("resnet20"), file_name("mlp(features=9)")
    ('resnet20', 'mlp-37c8a550')
    """
    name, *options = network.partition("(")
    return name.strip() + (f"-{zlib.crc32(network.encode()):08x}" if options[0] else "")


def load_given(path: Path, module: nn.Module) -> None:
    """Load given weights, saying where they belong if they are not there."""
    if not path.is_file():
        raise TaskError(f"weights '{path}' are not there: put {path.name} into '{path.parent}'.")
    load_state(path, module)


def cache_folder() -> Path:
    """Return where trained networks and decoded data are kept: `$WHET_CACHE`, or whet in the user's cache."""
    given = os.environ.get("WHET_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "whet"


def data_folder(task: str, data: Path | None, needs: tuple[str, ...]) -> Path:
    """Return the folder that holds the files `needs`, or say what to put where."""
    given = data or (Path(os.environ["WHET_DATA"]) if "WHET_DATA" in os.environ else Path("../shared/data"))
    missing = [n for n in needs if not (given / n).is_file()]
    if missing:
        raise TaskError(
            f"task '{task}' needs {', '.join(needs)} in its data folder; '{given}' lacks {', '.join(missing)}. "
            "Name the folder with --data or the variable WHET_DATA."
        )
    return given


def read_table(path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the numbers of a gzipped comma-separated table."""
    try:
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.float32, ndmin=2)
    except (EOFError, OSError, ValueError) as error:
        raise TaskError(f"'{path}' is truncated or no gzipped table of numbers: {error}") from error
    return table
