"""The verbs of `whet bench` ask for what the words say."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from whet.bench import techniques
from whet.cli.bench import bench


@pytest.mark.parametrize("suite", ["techniques", "elastic"])
def test_the_command_names_its_suite(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(techniques, "run", lambda *given: asked.append(given[-1]) or {})
    assert CliRunner().invoke(bench, [suite, "--json"]).exit_code == 0
    assert asked == [suite]


@pytest.mark.parametrize("verb", ["techniques", "elastic", "latency", "quantize", "peers"])
def test_every_suite_explains_itself(verb: str) -> None:
    done = CliRunner().invoke(bench, [verb, "--help"])
    assert done.exit_code == 0 and "--task" in done.output and "--out" in done.output
