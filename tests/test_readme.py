from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from whet.cli.main import app

ROOT = Path(__file__).parents[1]


def test_the_python_of_the_readme_is_an_example_that_runs(tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    assert code == [(ROOT / "examples" / "quickstart.py").read_text()]
    brief, found = re.subn(r'budget="\w+"', 'budget="20s"', code[0])
    assert found == 1
    command = [sys.executable, "-c", brief]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env={**os.environ})
    assert done.returncode == 0, done.stderr[-2000:]
    assert "model.onnx" in done.stdout


def test_the_commands_of_the_readme_exist() -> None:
    text = "\n".join(re.findall(r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.S | re.M))
    verbs = set(re.findall(r"^(?:# )?whet ([a-z-]+)", text, flags=re.M))
    assert {"optimize", "measure", "bench", "report", "list"} <= verbs
    for verb in sorted(verbs):
        done = CliRunner().invoke(app, [verb, "--help"])
        assert done.exit_code == 0, (verb, done.output)


def test_every_target_of_make_that_people_are_told_of_exists() -> None:
    folders = (ROOT.glob("*.md"), (ROOT / "docs").rglob("*.md"), (ROOT / "tests").glob("*.py"))
    pages = [page for pages in folders for page in pages]
    word = re.compile(r"`make ([a-z-]+)|^ *make ([a-z-]+)(?: [A-Z].*)?$", re.MULTILINE)
    told = {quoted or alone for page in pages for quoted, alone in word.findall(page.read_text())}
    assert {"install", "test", "demo", "mutants", "docs"} <= told
    assert told <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))


def test_method_packages_import_core_and_never_each_other() -> None:
    """Tasks may train, reports and flows may use anything; the methods stand on `core` and `graph` alone."""
    shared = {"support", "graph", "data", "decisions"}
    allowed = {
        "support": set(), "core": {"support"}, "onnx_reader": {"support", "graph"}, "networks": set(),
        "graph": {"support"}, "decisions": set(), "data": {"support", "graph"},
        "tasks": {"support", "train", "networks", "data", "graph", "agents", "policies"},
        "device": {"hardware"}, "agents": {"support", "train", "policies"}, "policies": {"support"},
        "search": shared | {"policies"},
    }  # fmt: skip
    wrong = []
    names = "support core data decisions graph onnx_reader compress train search elastic hardware verify networks tasks"
    for package in (*names.split(), "device", "agents", "policies"):
        for path in (ROOT / "whet" / package).rglob("*.py"):
            for other in re.findall(r"^\s*(?:from|import) whet\.(\w+)", path.read_text(), flags=re.M):
                if other not in {"core", package, *allowed.get(package, shared)}:
                    wrong.append(f"{path.relative_to(ROOT)} imports whet.{other}")
    assert not wrong


def test_the_nouns_stay_short_enough_to_be_read_first() -> None:
    lines = {p.name: len(p.read_text().splitlines()) for p in (ROOT / "whet" / "core").glob("*.py")}
    assert sum(lines.values()) < 1500, lines


def test_importing_whet_loads_no_method() -> None:
    apart = "m.startswith('whet.') and not m.startswith(('whet.core', 'whet.support'))"
    code = f"import sys, whet; print([m for m in sys.modules if {apart}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_imports_torchvision() -> None:
    assert not [p for p in (ROOT / "whet").rglob("*.py") if re.search(r"(import|from) torchvision", p.read_text())]
