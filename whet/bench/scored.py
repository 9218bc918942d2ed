"""`Scored`: what suites of files share: one setting, one validation set, rows that are kept, one race at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from whet.bench.lines import Lines
from whet.bench.results import commit, write_result
from whet.core.errors import TaskError
from whet.core.net import Net
from whet.core.run import Progress, Run
from whet.core.target import Artifact, Target
from whet.core.task import Batches, Task, rows_of, split
from whet.data.bind import bind
from whet.data.rows import first_rows
from whet.hardware import targets
from whet.hardware.device import fingerprint
from whet.hardware.race import race
from whet.hardware.targets import Settings, inputs_of, setting_name
from whet.train.fit import fit
from whet.verdict.file_net import BATCH
from whet.verify.equivalence import evaluate


@dataclass(frozen=True)
class Scored:
    """One suite on one network: files are scored in one f32 setting, on the first `validation` samples.

    Rows are kept in `lines` under the commit that made them, so that a killed run goes on where it was.
    """

    suite: str
    net: Net
    task: Task
    run: Run
    setting: Settings
    val: list[Any]
    out: Path
    made: str

    @classmethod
    def of(cls, suite: str, net: Net, task: Task, target: str, out: Path, validation: int) -> Scored:
        """Return what a suite begins with; the network is the teacher of every training.

        Raises: TaskError for a task whose quality is no score of outputs.
        """
        if task.played is not None:
            raise TaskError(
                f"task '{task.name}' is played, and this table scores outputs: whet optimize plays its files."
            )
        task, chosen = bind(task, net), targets.get(target)
        setting = next(s for s in chosen.all_settings() if s["precision"] == "f32")
        run = Run(task, chosen, net, trainer=fit)
        return cls(suite, net, task, run, setting, samples(task.val, validation), out, commit())

    @property
    def stem(self) -> str:
        """The name of the table's files."""
        return f"{self.suite}-{self.task.name}-{self.net.name}"

    @property
    def target(self) -> Target:
        """What files are made for."""
        return self.run.target

    @property
    def validation_samples(self) -> int:
        """On how many samples files are scored."""
        return sum(rows_of(x) for x, _ in self.val)

    def rows(self, keys: Iterable[str], make: Callable[[str], dict[str, Any]], progress: Progress) -> list[Any]:
        """Return a row for each key; those that the same code made before, scored alike, are not made again."""
        lines, found = Lines(self.out / f"{self.stem}.jsonl"), []
        known = lines.read()
        for key in keys:
            name = f"{self.made}: {key}, {self.validation_samples}"
            if name not in known:
                progress({"stage": key})
                known[name] = make(key)
                lines.append(name, known[name])
            found.append(known[name])
        return found

    def place(self, key: str) -> Path:
        """Return the folder of a row's file."""
        return self.out / self.stem / key.translate(str.maketrans(" /", "--", ",()'"))

    def save(self, net: Net, key: str) -> Path:
        """Write a network's file."""
        return self.target.save(net.eval(), self.place(key))

    def score(self, path: Path) -> tuple[float, int]:
        """Return the metric of a file in its runtime, and the bytes of the file."""
        artifact = Artifact(path, dict(self.setting))
        outputs, wanted = evaluate(partial(self.target.open, artifact), self.val, BATCH, self.net)
        return self.task.score(outputs, wanted), artifact.size_bytes

    def race(self, files: Mapping[str, Path], original: str, seconds_each: float) -> dict[str, dict[str, Any]]:
        """Return by file how many times as fast as the original it is, each in its fastest of all settings."""
        settings = self.target.all_settings()
        every = {name: (path, settings) for name, path in files.items()}
        found = race(self.target, inputs_of(self.net), every, [original], seconds_each)
        return {
            name: {
                "speedup": x.ratio, "speedup_low": x.ratio_low, "speedup_high": x.ratio_high,
                "fastest_in": setting_name(found.settings[name]),
            }
            for name, x in found.latencies.items()
        }  # fmt: skip

    def write(
        self, results: Path, rows: list[dict[str, Any]], text: Callable[[dict[str, Any]], str], **more: Any
    ) -> dict[str, Any]:
        """Write the table for programs and, by `text`, for people; return it."""
        table = {
            "task": self.task.name, "network": self.net.name, "metric": self.task.metric_name,
            "direction": self.task.direction, "setting": setting_name(self.setting),
            "validation_samples": self.validation_samples, "rows": rows, "device": fingerprint().to_dict(),
            "commit": self.made, **more,
        }  # fmt: skip
        write_result(results / self.stem, table, text(table))
        return table


def samples(batches: Batches, count: int) -> list[Any]:
    """Return the first `count` samples of batches, as batches `(inputs, targets)`."""
    found: list[Any] = []
    for inputs, wanted in map(split, batches):
        if count <= 0:
            break
        size = rows_of(inputs)
        found.append((tuple(x[:count] for x in inputs), first_rows(wanted, count, size)))
        count -= size
    return found


def speed_text(row: Mapping[str, Any]) -> str:
    """Return the speed of a row's file with its spread and setting, or nothing where it was not timed.

    >>> speed_text({"speedup": 1.5, "speedup_low": 1.4, "speedup_high": 1.6, "fastest_in": "openvino/f32/1"})
    'x1.50 (1.40-1.60), openvino/f32/1'
    """
    if "speedup" not in row:
        return ""
    return f"x{row['speedup']:.2f} ({row['speedup_low']:.2f}-{row['speedup_high']:.2f}), {row['fastest_in']}"


def best_of(rows: Iterable[Mapping[str, Any]], figure: str, direction: str) -> float | None:
    """Return the best of a figure among the rows that have it, None where none has.

    >>> best_of([{"quality": 0.5}, {"quality": 0.25}, {}], "quality", "min")
    0.25
    """
    found = [float(row[figure]) for row in rows if row.get(figure) is not None]
    return (max(found) if direction == "max" else min(found)) if found else None
