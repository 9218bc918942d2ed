"""Options from a file: below those of the command line, above what is usual."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from whet.cli.config import EFFORTS, Config, Effort, recordable
from whet.core.errors import StudyError, UnknownNameError
from whet.flow.run_file import write_run

seen: list[dict[str, Any]] = []
app = typer.Typer()


@app.command()
def act(
    context: typer.Context,
    network: Annotated[str | None, typer.Argument()] = None,
    budget: str = "15min",
    objectives: Annotated[str, typer.Option("--optimize")] = "speed",
    training: Annotated[bool, typer.Option("--training/--no-training")] = True,
    out: Path = Path("runs"),
    shape: list[str] | None = None,
    restart: bool = False,
    config: Config = None,
    effort: Effort = None,
) -> None:
    """Keep what it was asked for."""
    seen.append(recordable(context.params))


def asked(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, list(words))
    if done.exception is not None and done.exit_code:
        raise done.exception
    return seen[-1]


def test_a_run_comes_back_from_its_file_and_words_of_the_command_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("")
    first = asked(
        "net.py:build",
        "--budget",
        "9s",
        "--optimize",
        "size",
        "--no-training",
        "--out",
        "r",
        "--shape",
        "x=1",
        "--restart",
    )
    assert first["network"] == f"{tmp_path}/net.py:build" and first["out"] == f"{tmp_path}/r"
    assert first["training"] is False and first["shape"] == ["x=1"] and not {"restart", "config"} & set(first)
    write_run(tmp_path / "r", first)
    monkeypatch.chdir("/")
    for place in (tmp_path / "r", tmp_path / "r" / "run.toml"):
        assert asked("--config", str(place)) == first
    other = asked("--config", str(tmp_path / "r"), "--budget", "1min", "--training", "resnet20")
    assert other == first | {"budget": "1min", "training": True, "network": "resnet20"}


def test_a_file_with_an_option_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    write_run(tmp_path, {"budgt": "9s"})
    with pytest.raises(UnknownNameError, match=r"option in '.*'; |did you mean 'budget'"):
        asked("--config", str(tmp_path))
    with pytest.raises(StudyError, match="cannot be read"):
        asked("--config", str(tmp_path / "absent.toml"))


def test_a_budget_may_be_asked_for_by_name_and_one_that_is_given_comes_first(tmp_path: Path) -> None:
    assert asked("--effort", "quick")["budget"] == EFFORTS["quick"] and "effort" not in asked("--effort", "quick")
    assert asked("--effort", "thorough", "--budget", "5min")["budget"] == "5min"
    write_run(tmp_path, asked("--budget", "9s"))
    assert asked("--config", str(tmp_path), "--effort", "normal")["budget"] == "15min"
    with pytest.raises(UnknownNameError, match="did you mean 'thorough'"):
        asked("--effort", "thoroug")
