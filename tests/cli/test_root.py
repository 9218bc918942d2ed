"""What stands before every command."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

import whet
from whet.cli.main import app


def test_the_version_is_printed() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0 and done.output == f"whet {whet.__version__}\n"


@pytest.mark.parametrize("words", [["-h"], ["optimize", "-h"], ["bench", "-h"], ["bench", "peers", "-h"]])
def test_every_command_takes_a_short_help(words: list[str]) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "Usage" in done.output


def test_a_shell_can_complete_its_words() -> None:
    complete = {"_WHET_COMPLETE": "complete_bash", "COMP_WORDS": "whet che", "COMP_CWORD": "1"}
    done = CliRunner().invoke(app, [], prog_name="whet", env=complete)
    assert done.output.split() == ["check"]
