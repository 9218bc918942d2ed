"""The verbs of `whet bench` ask for what the words say."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from whet.bench import code, quantize, smaller, techniques, tickets
from whet.cli.bench import bench


@pytest.mark.parametrize("suite", ["techniques", "elastic"])
def test_the_command_names_its_suite(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(techniques, "run", lambda *given: asked.append(given[-1]) or {})
    assert CliRunner().invoke(bench, [suite, "--json"]).exit_code == 0
    assert asked == [suite]


@pytest.mark.parametrize("suite", ["prune", "factorize"])
def test_smaller_networks_are_trained_as_long_as_is_said(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(smaller, "run", lambda *given: asked.append(given) or {})
    assert CliRunner().invoke(bench, [suite, "--json", "--epochs", "0.5", "--validation", "9"]).exit_code == 0
    assert (asked[0][2], *asked[0][-2:]) == (suite, 0.5, 9)
    wrong = CliRunner().invoke(bench, [suite, "--epochs", "-1"])
    assert wrong.exit_code and "epochs" in str(wrong.exception)


def test_tickets_are_drawn_of_an_untrained_network_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(tickets, "run", lambda *given: asked.append(given) or {})
    words = ["tickets", "--json", "--rounds", "2", "--gone", "0.5", "--epochs", "0.5", "--together",
             "--activating", "0.1"]  # fmt: skip
    assert CliRunner().invoke(bench, words).exit_code == 0
    assert asked[0][1:3] == ("digits_cnn", tickets.Drawing(2, 0.5, 0.5, each=False, activating=0.1))
    wrong = CliRunner().invoke(bench, ["tickets", "--epochs", "0"])
    assert wrong.exit_code and "epochs" in str(wrong.exception)


@pytest.mark.parametrize(("verb", "module"), [("code", code), ("quantize", quantize)])
def test_files_are_made_by_the_suite_that_is_named(verb: str, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(module, "run", lambda *given, **more: asked.append(more["validation"]) or {})
    assert CliRunner().invoke(bench, [verb, "--json", "--validation", "7"]).exit_code == 0 and asked == [7]


@pytest.mark.parametrize(
    "verb", ["techniques", "elastic", "latency", "quantize", "prune", "factorize", "tickets", "code", "peers"]
)
def test_every_suite_explains_itself(verb: str) -> None:
    done = CliRunner().invoke(bench, [verb, "--help"])
    assert done.exit_code == 0 and "--task" in done.output and "--out" in done.output
