"""`whet serve-check FOLDER`: a delivered folder's own `serve.py` gives what its manifest holds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from whet.cli.check import conclude, task_of
from whet.cli.own import takes_data
from whet.cli.shared import Data, Json


@takes_data
def serve_check(
    folder: Annotated[Path, typer.Argument(help="A folder of a front, or a copy of one: runs/a/front/0.")],
    task: Annotated[str | None, typer.Option(help="The task it was made for: its quality is computed, too.")] = None,
    data: Data = None,
    tolerance: Annotated[
        float | None, typer.Option(help="The largest relative error of an output; default by precision.")
    ] = None,
    original: Annotated[
        str | None, typer.Option(help="What it agrees with where there are no labels: runs/a/uncompressed/model.onnx.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write the verdict as JUnit XML, too.")] = None,
    as_json: Json = False,
    own: Any = None,
) -> None:
    """Run a folder's serve.py in a fresh process and compare its outputs with those that were kept at delivery.

    Every file must be that of the manifest. Exit code 1 where outputs or quality are others.
    """
    from whet.hardware import targets
    from whet.verdict.file_net import file_net
    from whet.verdict.located import located
    from whet.verdict.serve_check import serve_check as checked

    began = time.monotonic()
    target, given = targets.get("cpu"), None
    if task is not None or data is not None or own.synthetic:
        given = task_of(task, data, own, lambda: located(folder, target).artifact, target).task
    parts = ("val",) if given is None or given.test is None else ("val", "test")
    reference = file_net(located(original, target, own=False).exact, target) if original else None
    verdict = checked(folder, target, given, parts, tolerance, reference)  # type: ignore[arg-type]
    more = [f"{row.name}: {row.how}" for row in verdict.rows]
    conclude(verdict, junit, time.monotonic() - began, as_json, more)
