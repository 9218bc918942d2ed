"""`whet eval FILE`: how good a finished file is, in its runtime."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from whet.cli.check import File, task_of
from whet.cli.own import takes_data
from whet.cli.shared import Data, Json, Shapes, Target, shapes_of


@takes_data
def evaluate(
    file: File,
    task: Annotated[str | None, typer.Option(help="Whose data and metric; default digits, or your own --data.")] = None,
    data: Data = None,
    original: Annotated[str | None, typer.Option(help="What a file agrees with where there are no labels.")] = None,
    target: Target = "cpu",
    shape: Shapes = None,
    as_json: Json = False,
    own: Any = None,
) -> None:
    """Score a file on validation and test data, in its runtime.

    A file of a front is scored in the runtime and precision that it was delivered for, others in each.
    """
    from whet.core.target import Artifact
    from whet.flow.original import kind
    from whet.hardware import targets
    from whet.hardware.guard import Guarded
    from whet.verdict.file_net import file_net
    from whet.verdict.located import located
    from whet.verdict.quality import score

    chosen = targets.get(target)
    subject, other = located(file, chosen), located(original, chosen) if original else None
    shapes = shapes_of(shape)
    # Outputs depend on runtime and precision, not on threads: one setting of each kind is enough.
    kinds = {kind(settings): settings for settings in reversed(subject.settings)}
    rows = []
    with closing(Guarded(chosen)) as guarded:
        bundle = task_of(task, data, own, lambda: subject.artifact, guarded, shapes)
        reference = file_net(other.exact, guarded, shapes) if other else None
        for name, settings in reversed(kinds.items()):
            artifact = Artifact(subject.path, settings)
            for part in ("val", "test") if bundle.task.test is not None else ("val",):
                found = score(artifact, guarded, bundle.task, part, reference, shapes)
                rows.append({"setting": name, "data": part, **vars(found)})
    if as_json:
        print(json.dumps({"file": str(subject.path), "task": bundle.task.name, "scores": rows}))
        return
    heads = "runtime / precision", "data", "samples", rows[0]["metric"]
    table = Table(*heads, title=str(subject.path), title_justify="left", box=None, header_style="underline")
    for row in rows:
        table.add_row(row["setting"], row["data"], f"{row['samples']:,}", f"{row['value']:.4f}")
    Console().print(table)
