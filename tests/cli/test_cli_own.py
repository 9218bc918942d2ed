"""The options of a user's own data: what they say, and how verbs come by them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from whet.cli.own import data_options, refuse_own, takes_data
from whet.core.errors import TaskError
from whet.data.sources import Options


def test_options_become_numbers_and_shares() -> None:
    said = data_options(
        "y", Path("t.json"), "3x32x24", "0.5,0.25,0", "1", True, "6/2/2", True, "accuracy", "cross_entropy", False
    )
    assert said == Options(
        "y", Path("t.json"), (3, 32, 24), (0.5, 0.25, 0.0), (1.0,), (0.6, 0.2, 0.2), True, True, "accuracy",
        "cross_entropy", "classes",
    )  # fmt: skip
    assert data_options() == Options()


def test_a_verb_gets_them_as_one_value_beside_its_own() -> None:
    got: list[Any] = []
    app = typer.Typer()

    @app.command()
    @takes_data
    def verb(path: Path, own: Any = None) -> None:
        got.extend((path, own))

    done = CliRunner().invoke(app, ["here", "--size", "8", "--metric", "rmse", "--skip-bad"])
    assert done.exit_code == 0, done.output
    assert got == [Path("here"), Options(size=(8,), metric="rmse", skip_bad=True, aim="numbers")]
    names = list(inspect.signature(verb).parameters)
    assert names[0] == "path" and "own" not in names and "skip_bad" in names


def test_a_task_of_whets_takes_none_of_them() -> None:
    refuse_own(Options(), "digits")
    with pytest.raises(TaskError, match=r"--target-column, --metric: these are for your own data.*task 'digits'"):
        refuse_own(Options("y", metric="rmse", aim="numbers"), "digits")
