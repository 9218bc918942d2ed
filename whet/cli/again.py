"""`whet again FOLDER --max-drop 2%`: another limit for a study that is there, without searching."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from whet.cli.shared import Json

Again = Annotated[Path | None, typer.Option(hidden=True, help="Deliver a study of another folder without searching.")]


def again(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder of a study, e.g. runs/a.")],
    max_drop: Annotated[str | None, typer.Option(help="The quality that may be lost now, e.g. 2%.")] = None,
    max_size: Annotated[str | None, typer.Option(help="What a file may take on disk now, e.g. 500kB.")] = None,
    max_memory: Annotated[str | None, typer.Option(help="What a process that serves a file may hold now.")] = None,
    min_speedup: Annotated[float | None, typer.Option(help="Ratio to the fastest uncompressed setting.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the new front goes; default: beside the study.")] = None,
    as_json: Json = False,
) -> None:
    """Deliver what a study found under other limits, without searching; the study itself stays as it is.

    What is within the new limits is timed anew, in one race, also what was found beyond the old ones: some seconds a
    file. `whet optimize --config OUT/run.toml` goes on searching from there.
    """
    from whet.flow.run_file import read_run

    options = read_run(folder)
    limits = {"max_drop": max_drop, "max_size": max_size, "max_memory": max_memory, "min_speedup": min_speedup}
    given = {name: value for name, value in limits.items() if value is not None}
    place = out or beside(folder, given)
    options |= given | {"out": str(place), "again": str(folder.absolute())}
    run(context, [*(["--json"] if as_json else [])], options)


def beside(folder: Path, limits: dict[str, Any]) -> Path:
    """Return a folder beside a study's, named by the limits that are others.

    >>> beside(Path("runs/a"), {"max_drop": "2%", "max_size": "500 kB"}).as_posix()
    'runs/a-2pct-500kB'
    """
    words = [str(value).replace("%", "pct").replace(" ", "") for value in limits.values()]
    return folder.with_name("-".join([folder.absolute().name, *(words or ["again"])]))


def run(context: typer.Context, words: list[str], options: dict[str, Any]) -> None:
    """Run `whet optimize` with words of its command line, which come before options by name."""
    assert context.parent is not None
    group: Any = context.parent.command
    group.commands["optimize"].main(words, prog_name="whet optimize", standalone_mode=True, default_map=options)
