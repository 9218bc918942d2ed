"""`whet check FILE`: a verdict that a build can fail on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.table import Column, Table

from whet.cli.device import DeviceWait, TokenFile, use_device
from whet.cli.own import refuse_own, takes_data
from whet.cli.shared import Data, Fixed, Json, Shapes, Target, Threads, shapes_of, values_of
from whet.core.checks import positive, whole
from whet.core.errors import WhetError, unknown

if TYPE_CHECKING:
    from whet.core.target import Artifact
    from whet.data.sources import Options
    from whet.verdict.check import Limits
    from whet.verdict.limits import Verdict

File = Annotated[str, typer.Argument(help="FILE.onnx, FILE.xml, FILE.whet, or a folder of a front: runs/a/front/0.")]
Seconds = Annotated[float, typer.Option(help="How long latency is measured.")]
Duration = Annotated[str | None, typer.Option(help="The most that so many of 100 calls may take, e.g. 2ms.")]


@takes_data
def check(
    file: File,
    baseline: Annotated[str | None, typer.Option(help="A file or folder to compare with.")] = None,
    max_latency_ratio: Annotated[
        float | None, typer.Option(help="The most that its latency may be, as a ratio to the baseline's, e.g. 1.05.")
    ] = None,
    p50: Duration = None,
    p95: Duration = None,
    p99: Duration = None,
    max_size: Annotated[str | None, typer.Option(help="What it may take on disk, e.g. 5MB.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="What a process that serves it may hold.")] = None,
    max_cold_start: Annotated[
        str | None, typer.Option(help="From opening it in a fresh process to the first answer, e.g. 2s.")
    ] = None,
    min_accuracy: Annotated[
        float | None,
        typer.Option("--min-accuracy", "--quality", help="The worst value of the task's metric, whatever that is."),
    ] = None,
    max_drop: Annotated[str | None, typer.Option(help="How much worse than the baseline it may be, e.g. 1%.")] = None,
    task: Annotated[str | None, typer.Option(help="Whose data and metric.")] = None,
    data: Data = None,
    on: Annotated[str, typer.Option(help="On which of the task's data quality is taken: val or test.")] = "val",
    target: Target = "cpu",
    threads: Threads = None,
    batch: Annotated[int | None, typer.Option(help="How many samples a call; default 1, or as measured.")] = None,
    seconds: Seconds = 10.0,
    shape: Shapes = None,
    fix: Fixed = None,
    junit: Annotated[Path | None, typer.Option(help="Write the verdict as JUnit XML, too.")] = None,
    token_file: TokenFile = None,
    device_wait: DeviceWait = None,
    as_json: Json = False,
    own: Any = None,
) -> None:
    """Measure a finished file against limits; exit code 1 and the names of what broke where one is not kept.

    A file of a front is served as its settings.json says, another one in the setting of the target that is fastest.
    """
    from whet.hardware import targets
    from whet.hardware.guard import Guarded
    from whet.verdict.check import Subject, limits_of
    from whet.verdict.check import check as verdict_of
    from whet.verdict.located import located

    limits = limits_of(
        latency_ratio=max_latency_ratio, p50=p50, p95=p95, p99=p99, size=max_size, memory=max_memory,
        cold_start=max_cold_start, quality=min_accuracy, drop=max_drop,
    )  # fmt: skip
    refuse_incomplete(limits, baseline, task is not None or data is not None, on)
    use_device(token_file, device_wait)
    chosen, began = targets.get(target, threads), time.monotonic()
    subject = located(file, chosen, threads)
    other = located(baseline, chosen, threads) if baseline else None
    scored = limits.quality is not None or limits.drop is not None
    served = whole("batch", batch) if batch is not None else subject.batch or 1
    with closing(Guarded(chosen)) as guarded:
        bundle = task_of(task, data, own, lambda: subject.artifact, guarded, shapes_of(shape)) if scored else None
        verdict = verdict_of(
            Subject(
                subject, guarded, other, served, positive("seconds", seconds), bundle and bundle.task, on,  # type: ignore[arg-type]
                shapes_of(shape), values_of(fix),
            ),
            limits,
        )  # fmt: skip
    conclude(verdict, junit, time.monotonic() - began, as_json)


def refuse_incomplete(limits: Limits, baseline: str | None, has_task: bool, on: str) -> None:
    """Raise CheckError for no limit, and for one that lacks what it is compared with or computed on."""
    if not limits.asked:
        raise CheckError("there is nothing to check: give a limit, e.g. --p99 2ms or --max-size 5MB.")
    if on not in ("val", "test"):
        raise unknown("part of the data", on, ("val", "test"))
    for name, option in (("latency_ratio", "--max-latency-ratio"), ("drop", "--max-drop")):
        if name in limits.asked and baseline is None:
            raise CheckError(f"{option} compares with another file: give --baseline FILE.")
    for name, option in (("quality", "--min-accuracy"), ("drop", "--max-drop")):
        if name in limits.asked and not has_task:
            raise CheckError(f"{option} needs data and a metric: give --task NAME or --data PATH.")


def task_of(
    task: str | None, data: Path | None, own: Options, artifact: Callable[[], Artifact], target: Any, shapes: Any = None
) -> Any:
    """Return the bundle that a command line names: a task's, or for a file that of a user's own data."""
    from whet import tasks

    if task is None and (data is not None or own.synthetic):
        from whet.cli.own_network import bundle_of_file
        from whet.tasks.own import synthetic
        from whet.verdict.file_net import file_net

        file = artifact()
        net = file_net(file, target, shapes)
        return synthetic(net) if data is None else bundle_of_file(net, data, own, file.path.parent)
    refuse_own(own, task or "digits")
    return tasks.get(task or "digits", data)


def conclude(verdict: Verdict, junit: Path | None, seconds: float, as_json: bool, more: Iterable[str] = ()) -> None:
    """Print a verdict, and `more` below its table; write it as JUnit XML where that is wanted; exit by it."""
    if junit is not None:
        from whet.verdict.junit import write_junit

        write_junit(verdict, junit, seconds)
    if as_json:
        print(json.dumps(verdict.to_dict()))
    else:
        Console().print(verdict_table(verdict))
        for line in more:
            print(line)
    raise typer.Exit(0 if verdict.passed else 1)


def verdict_table(verdict: Verdict) -> Group:
    """Return the verdict, a line a limit, and below it in words what broke."""
    where = f"{verdict.file} in {verdict.setting}" if verdict.setting else verdict.file
    titles = [Column("limit", no_wrap=True), Column("allowed", no_wrap=True), Column("measured", no_wrap=True)]
    table = Table(*titles, "spread", "verdict", title=where, title_justify="left", box=None, header_style="underline")
    for row in verdict.rows:
        sign = "at least" if row.least else "at most"
        spread = f"{row.text(row.low)} to {row.text(row.high)}" if row.low < row.high else ""
        style = "green" if row.passed else "bold red"
        allowed = f"{sign} {row.text(row.allowed)}"
        table.add_row(row.name, allowed, row.text(row.measured), spread, f"[{style}]{row.verdict}[/]")
    broken = [f"BROKEN: {row.sentence}." for row in verdict.broken]
    return Group(
        table, *(broken or [f"All {len(verdict.rows)} limits are kept." if len(verdict.rows) > 1 else "Kept."])
    )


class CheckError(WhetError):
    """A check that lacks a limit, or what a limit needs."""
