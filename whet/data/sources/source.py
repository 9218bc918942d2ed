"""What every source of data gives and takes: `Options` in, `Data` out, split by split in `Part`s."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import Tensor

from whet.core.errors import TaskError

Aim = Literal["classes", "numbers", "tokens", "boxes", "agreement"]
"""What the targets are: class numbers, plain numbers, the next tokens, boxes, or none: the original is the target."""
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
SOUNDS = (".wav",)
ARRAYS = (".npz", ".npy", ".pt", ".safetensors")
TABLES = (".csv", ".tsv", ".csv.gz", ".parquet")
TEXTS = (".txt", ".jsonl")
"""How the names of files of each kind end."""
NAMED = 5
"""How many bad files or rows an error names; of the others it tells the number."""


class Indexed(Protocol):
    """Rows that are picked by their numbers: a tensor, or files that are read when they are asked for."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: Any) -> Tensor:
        """Return the rows of those numbers, the batch first, as a tensor of the shape (rows, ...)."""


@dataclass(frozen=True)
class Options:
    """What a user says of data, all of it optional. Shapes are those of one sample, without the batch.

    `beside` is the folder of the network: a `preprocessor_config.json`, `config.json` or `tokenizer.json` there counts
    where nothing else is said. `aim` is what a metric or loss given by name asks of the targets. `synthetic` asks for
    inputs that are made up.
    """

    target_column: str | None = None
    tokenizer: Path | None = None
    size: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    skip_bad: bool = False
    standardize: bool = False
    metric: str | None = None
    loss: str | None = None
    aim: Aim | None = None
    beside: Path | None = None
    synthetic: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Part:
    """The samples of one split: inputs by name, rows first, and targets, (rows, ...), or None without labels."""

    inputs: Mapping[str, Indexed]
    targets: Tensor | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def at(self, rows: Tensor) -> Part:
        """Return the samples of some row numbers, shape (n,)."""
        inputs = {name: picked(values, rows) for name, values in self.inputs.items()}
        return Part(inputs, None if self.targets is None else self.targets[rows])


@dataclass(frozen=True)
class Picked:
    """Some rows of what is read when it is asked for."""

    rows: Indexed
    chosen: Tensor

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, rows: Any) -> Tensor:
        return self.rows[self.chosen[rows]]


def picked(values: Indexed, rows: Tensor) -> Indexed:
    """Return some rows, whose numbers have the shape (n,): those of a tensor at once, others when they are read."""
    return values[rows] if isinstance(values, Tensor) else Picked(values, rows)


@dataclass(frozen=True)
class Data:
    """What was understood of a path.

    `kind` says what it is, `splits` how its parts were made, `notes` what else a user should know. `prepare` makes a
    batch of raw inputs what a network takes. Where a text may be read token by token as well as line by line,
    `next_token` is the first of these. `made` is what a user's own function returned, a task or a bundle.
    """

    kind: str
    parts: Mapping[str, Part]
    aim: Aim
    splits: str = ""
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    prepare: Callable[[Tensor], Tensor] | None = None
    vocabulary: int = 0
    next_token: Data | None = None
    made: Any = None


class Source(Protocol):
    """One kind of data."""

    def load(self, path: Path, options: Options) -> Data:
        """Return what is at a path; raise TaskError that says what is wrong with it."""


@dataclass
class Bad:
    """Files or rows that cannot be used: gathered, then refused or left out together."""

    what: str
    found: dict[str, str] = field(default_factory=dict)

    def settle(self, options: Options, left: int) -> tuple[str, ...]:
        """Return the note of what was left out; raise TaskError where nothing may be left out, or nothing is left."""
        if not self.found:
            return ()
        named = ", ".join(f"{name} ({why})" for name, why in list(self.found.items())[:NAMED])
        more = f" and {len(self.found) - NAMED} more" if len(self.found) > NAMED else ""
        text = f"{len(self.found)} {self.what} cannot be used: {named}{more}"
        if not options.skip_bad:
            raise TaskError(f"{text}. Mend them, or leave them out with --skip-bad.")
        if not left:
            raise TaskError(f"{text}, and nothing else is there.")
        return (f"left out: {text}.",)


def need(module: str, what: str) -> Any:
    """Return a module of the extra `data`, or say how to install it."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise TaskError(f"{what} needs the package '{module}': pip install 'whet-nn[data]' ({error}).") from None
