"""`--config run.toml`: options from a file, and what a command was asked for, to be written into one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from whet.core.errors import unknown

UNRECORDED = ("config", "effort", "as_json", "restart", "again", "storage")
"""Options that are about a call, not about what is searched, or may hold a password."""


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make what a file says the defaults of a command, below what its own words say.

    Raises: StudyError for a file that cannot be read; UnknownNameError for an option that the command does not have.
    """
    if path is not None and not context.resilient_parsing:
        from whet.flow.run_file import read_run

        options = read_run(path)
        known = {str(parameter.name) for parameter in context.command.params} - {*UNRECORDED}
        for name in options:
            if name not in known:
                raise unknown(f"option in '{path}'", name, known)
        context.default_map = {**(context.default_map or {}), **options}
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        help="Take options from a file, such as the run.toml of a study; those given here come first.",
        is_eager=True, callback=read_config,
    ),
]  # fmt: skip


EFFORTS = {"quick": "2min", "normal": "15min", "thorough": "1h"}
"""Budgets by name: a first look; what most networks gain most in; what a night may begin with."""


def set_effort(context: typer.Context, effort: str | None) -> str | None:
    """Make a preset's budget the default of a command; a budget that is given comes first.

    Raises: UnknownNameError for a preset that there is not.
    """
    if effort is not None and not context.resilient_parsing:
        if effort not in EFFORTS:
            raise unknown("effort", effort, EFFORTS)
        context.default_map = {**(context.default_map or {}), "budget": EFFORTS[effort]}
    return effort


Effort = Annotated[
    str | None,
    typer.Option(
        help=f"A budget by name: {', '.join(f'{name} ({budget})' for name, budget in EFFORTS.items())}.",
        is_eager=True, callback=set_effort,
    ),
]  # fmt: skip


def recordable(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a file can hold: files and folders by their whole paths, without what was not given.

    >>> recordable({"out": Path("/runs/a"), "epochs": None, "restart": True, "shape": ("x=1",), "seed": 3})
    {'out': '/runs/a', 'shape': ['x=1'], 'seed': 3}
    """
    given = {name: value for name, value in params.items() if value is not None and name not in UNRECORDED}
    return {name: _plain(name, value) for name, value in given.items()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.absolute())
    if name == "network":  # FILE or FILE.py:FUNCTION, or a name
        file, colon, function = str(value).partition(".py:")
        there = Path(file + colon.rstrip(":"))
        return f"{there.absolute()}{':' if colon else ''}{function}" if there.is_file() else value
    return list(value) if isinstance(value, list | tuple) else value
