"""`whet --version` and `whet -h`."""

from __future__ import annotations

from typing import Annotated

import typer

import whet

HELP = {"help_option_names": ["-h", "--help"]}
"""What makes every command take `-h`."""


def told(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        print(f"whet {whet.__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=told)]


def root(version: Version = False) -> None:
    """Stand before every command."""
