"""The examples of CONTRIBUTING.md, added to a copy of whet as they stand: three files each, and all see them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE = re.compile(r"^`([\w/]+\.py)`\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^```row\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END = "]  # fmt: skip\n"
"""Where the rows of the catalogue end."""
SEEN = """
import json, shlex, sys
import pytest
from typer.main import get_command
from typer.testing import CliRunner
import whet
from whet import catalogue
from whet.words import listed
from whet.cli.main import app
from whet.cli.shared import recipe_options
from whet.flow.optimize import by_phase, check_words
from whet.search import strategies
from whet.tasks import get
from whet.testing.strategies import SPACES

assert whet.__file__.startswith(sys.argv[1]), whet.__file__
assert pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[2:]]) == 0
reach = {m["name"]: m["reach"] for m in json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)}

def asked(words):
    command = get_command(app).commands["optimize"]
    return command.make_context("optimize", shlex.split(words)[2:]).params

given = asked(reach["search.local"])
check_words("cpu", "1%", "9s", given["strategy"], ())
assert type(strategies.get(given["strategy"], SPACES["ordered"])).__name__ == "Local"
given = asked(reach["compress.halves"])
early, late = by_phase(listed(given["passes"]))
assert not early and late == (catalogue.make("halves"),)
assert catalogue.make("halves(least=9)", "pass").least == 9
given = asked(reach["networks.patches"])
assert get("digits").knows(given["network"])
assert recipe_options(asked(reach["optimizers.signs"])["recipe"]) == {"optimizer": "signs"}
print("seen")
"""


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_each_example_is_three_files(page: str) -> None:
    examples = page.split("\n## ")[1:]
    assert [e.partition("\n")[0] for e in examples] == ["A strategy", "A pass", "A network", "An optimizer"]
    for example in examples:
        (method, _), (test, _) = FILE.findall(example)
        assert method.startswith("whet/") and test.startswith("tests/")
        assert Path(test).parent == Path("tests", *Path(method).parts[1:-1]) and len(ROW.findall(example)) == 1


def test_the_examples_work_and_are_seen(page: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "whet", tmp_path / "whet")  # with its bytecode: to compile all of it takes seconds
    table = tmp_path / "whet" / "method_rows.py"
    rows, text = "".join(ROW.findall(page)), table.read_text(encoding="utf-8")
    assert rows.count("\n") == 4 and text.count(END) == 1
    table.write_text(text.replace(END, rows + END), encoding="utf-8")
    for name, body in FILE.findall(page):
        assert not (ROOT / name).exists()
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(body, encoding="utf-8")
    tests = [name for name, _ in FILE.findall(page) if name.startswith("tests/")]
    done = subprocess.run(
        [sys.executable, "-c", SEEN, str(tmp_path), *tests], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.endswith("seen\n"), done.stdout + done.stderr
