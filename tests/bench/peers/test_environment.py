"""One environment a peer: whet's own where nothing more is asked for, and the first line of why pip failed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from whet.bench.peers import environment as environments
from whet.bench.peers.environment import environment, versions


def test_without_requirements_it_is_whets_own(tmp_path: Path) -> None:
    assert environment(tmp_path).python == Path(sys.executable)
    (tmp_path / "requirements.txt").write_text("# nothing\n--extra-index-url x\n")
    assert environment(tmp_path).python == Path(sys.executable)


def test_nothing_is_made_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    (tmp_path / "requirements.txt").write_text("torch-pruning==1.6.0  # the last\n")
    found = environment(tmp_path, fresh=False)
    assert found.python is None and found.error == "not installed" and not (tmp_path / "cache").exists()


def test_names_of_packages_are_read_without_versions_and_comments() -> None:
    assert environments._packages("a==1.0\n# no\nb == 2 # c\n\n--find-links x\n") == ["a", "b"]


@pytest.mark.parametrize(
    ("stderr", "told"),
    [
        ("WARNING: old pip\nCollecting\nERROR: No matching distribution\nmore", "ERROR: No matching distribution"),
        ("WARNING: old pip\nno space left", "no space left"), ("", "pip failed and said nothing"),
    ],
)  # fmt: skip
def test_the_line_that_tells_why_pip_failed(stderr: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(command: Any, **options: Any) -> Any:
        return subprocess.CompletedProcess(command, 1, "", stderr)

    monkeypatch.setattr(subprocess, "run", fails)
    assert environments._failure(["pip"]) == told


def test_versions_are_those_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pytest\n")
    assert versions(Path(sys.executable), tmp_path) == {"pytest": pytest.__version__}
