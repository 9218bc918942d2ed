"""The mutations are those of today's code, and the instrument tells a test that fails from everything else."""

from __future__ import annotations

import json
from pathlib import Path

import mutants
import pytest

from whet import catalogue

ROWS = {row.name: row for row in mutants.read(mutants.ROOT / mutants.CATALOGUE)}
LEAST = 3


def test_every_row_of_the_catalogue_is_here_in_its_order() -> None:
    assert list(ROWS) == [m.name for m in catalogue.METHODS if m.family not in catalogue.PARTS]


@pytest.mark.parametrize("name", ROWS)
def test_every_mutation_of_a_row_is_one_of_todays_code(name: str) -> None:
    row = ROWS[name]
    assert len(row.mutations) >= LEAST and len(set(row.mutations)) == len(row.mutations)
    assert row.tests and all((mutants.ROOT / test).is_file() for test in row.tests)
    for mutation in row.mutations:
        assert mutation.why
        mutation.mutated((mutants.ROOT / mutation.file).read_text(encoding="utf-8"))


PROJECT = {
    "whet/__init__.py": "",
    "whet/one.py": "def double(x):\n    return x + x\n\n\ndef half(x):\n    return x / 2\n",
    "tests/test_one.py": "from whet.one import double\n\n\ndef test_double():\n    assert double(3) == 6\n",
    "tests/test_wrong.py": "def test_wrong():\n    assert False\n",
}


CHANGES = [
    ("x + x", "x - x", "caught", "test_double"),
    ("x / 2", "x * 2", "SURVIVED", ""),
    ("return", "yield", "broken", "occurs 2 times"),
    ("x + x", "x +", "broken", "no valid Python"),
    ("def double", "def triple", "broken", "ERROR"),
]


def test_only_a_test_that_fails_catches_a_mutation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutants, "PRELOADED", ())
    changes = [f'{{file = "whet/one.py", find = "{f}", replace = "{r}", why = "{v}"}}' for f, r, v, _ in CHANGES]
    tables = [
        f'["{name}"]\ntests = ["tests/{test}.py"]\nmutations = [{", ".join(changes)}]\n'
        for name, test in (("sound", "test_one"), ("wrong", "test_wrong"))
    ]
    for name, text in {**PROJECT, "tests/mutations.toml": "\n".join(tables)}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert mutants.main(["--json", "--jobs", "1"], tmp_path) == 1
    begun, *found, wrong = map(json.loads, capsys.readouterr().out.splitlines())
    assert (begun["verdict"], wrong["verdict"]) == ("passed", "broken") and "test_wrong" in wrong["note"]
    assert len(found) == len(CHANGES)
    for one, (_, _, verdict, note) in zip(found, CHANGES, strict=True):
        assert one["verdict"] == verdict and note in one["note"]
    assert (tmp_path / "whet/one.py").read_text(encoding="utf-8") == PROJECT["whet/one.py"]


def test_a_row_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        mutants.main(["--only", "search.tre"])
    assert "no row search.tre" in capsys.readouterr().err
