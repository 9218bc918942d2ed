"""One virtual environment a peer: its pinned packages on top of those that whet runs with, never a second torch."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from whet.tasks.bundle import cache_folder

INSTALL_SECONDS = 1200
ALONE = "requirements-alone.txt"


@dataclass(frozen=True)
class Environment:
    """A Python to run a peer with, or the first line of why it could not be installed."""

    python: Path | None
    error: str = ""


def environment(folder: Path, fresh: bool = True) -> Environment:
    """Return the environment for the `requirements.txt` in `folder`, made where it is missing.

    Without requirements it is whet's own. `fresh` False makes nothing new. The environment sees whet's packages
    through a path file, so what is installed there is only what a peer adds or needs in another version; a half-made
    one is made again. What `requirements-alone.txt` names comes without what it depends on.
    """
    wanted = _wanted(folder)
    if not _packages(wanted):
        return Environment(Path(sys.executable))
    key = hashlib.sha256((wanted + sys.version).encode()).hexdigest()[:12]
    place = cache_folder() / "peers" / f"{folder.name}-{key}"
    python, done = place / "bin" / "python", place / ".done"
    if not done.exists():
        if not fresh:
            return Environment(None, "not installed")
        venv.create(place, clear=True, with_pip=True)
        _inherit(place)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        for requirements in _requirements(folder):
            alone = ["--no-deps"] if requirements.name == ALONE else []
            if error := _failure([*pip, "install", *alone, "-r", str(requirements)]):
                return Environment(None, error)
        done.touch()
    return Environment(python)


def versions(python: Path, folder: Path) -> dict[str, str]:
    """Return the version of each required package, as the environment has it."""
    names = _packages(_wanted(folder))
    code = "import sys, importlib.metadata as m\nfor n in sys.argv[1:]: print(n, m.version(n))"
    found = subprocess.run([str(python), "-c", code, *names], capture_output=True, text=True, check=False)
    return dict(line.split(" ", 1) for line in found.stdout.splitlines() if " " in line)


def _requirements(folder: Path) -> list[Path]:
    return [file for name in ("requirements.txt", ALONE) if (file := folder / name).exists()]


def _wanted(folder: Path) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in _requirements(folder))


def _packages(requirements: str) -> list[str]:
    lines = [line.split("#")[0].strip() for line in requirements.splitlines()]
    return [line.split("==")[0].strip() for line in lines if line and not line.startswith("-")]


def _inherit(place: Path) -> None:
    """Let the environment see the packages of this process, after its own; the standard library it has itself."""
    standard = Path(sysconfig.get_path("stdlib"))
    own = (standard, standard / "lib-dynload")
    others = [p for p in sys.path if p and Path(p).is_dir() and Path(p) not in own]
    site = next((place / "lib").glob("python*/site-packages"))
    (site / "whet-inherited.pth").write_text("\n".join(others) + "\n")


def _failure(command: list[str]) -> str:
    """Run pip; return the first line of its error, or nothing."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False,
            env={**os.environ, "PIP_NO_INPUT": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"installing took more than {INSTALL_SECONDS} s"
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    telling = [line for line in lines if line.lower().startswith("error")] or lines
    return "" if done.returncode == 0 else (telling or ["pip failed and said nothing"])[0][:200]
