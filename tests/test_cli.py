from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from whet import catalogue, references
from whet.core.errors import UnknownNameError
from whet.search.strategies.optuna import SAMPLERS


def whet(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "whet", *words], capture_output=True, text=True, timeout=300)


def test_every_row_of_the_catalogue_loads_and_explains_itself() -> None:
    names = [m.name for m in catalogue.METHODS]
    assert len(set(names)) == len(names)
    for method in catalogue.METHODS:
        assert (method.load().__doc__ or "").strip(), method.name
        assert method.where.startswith("whet.")


def test_list_prints_json_by_family() -> None:
    done = whet("list", "--family", "strategy", "--json")
    assert done.returncode == 0
    assert {"search.random", "search.sensitivity"} <= {m["name"] for m in json.loads(done.stdout)}


def test_explain_prints_the_method_and_its_paper() -> None:
    done = whet("explain", "quantize.static")
    assert done.returncode == 0
    assert "int8" in done.stdout and "@inproceedings{jacob2018quantization," in done.stdout
    assert "observer" in done.stdout


def test_every_paper_that_is_named_is_in_the_bibliography_and_the_other_way_round() -> None:
    named = {m.paper for m in catalogue.METHODS} | {s.paper for s in SAMPLERS.values()}
    assert named - {""} == set(references.entries())


def test_an_unknown_reference_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'li2017filters'"):
        references.get("li2017filter")


def test_the_page_of_methods_is_the_catalogue() -> None:
    page = Path(__file__).parent.parent / "docs" / "methods.md"
    assert page.read_text(encoding="utf-8") == catalogue.markdown(), "run: whet list --markdown > docs/methods.md"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["explain", "quantize.statik"], "did you mean 'quantize.static'"),
        (["optimize", "--task", "digit"], "did you mean 'digits'"),
        (["optimize", "--budget", "soon"], "budget must be a duration"),
        (["optimize", "--max-drop", "much"], "max_drop must be a share"),
        (["optimize", "--target", "gpu"], "unknown target 'gpu'"),
        (["optimize", "--strategy", "sensitivty"], "did you mean 'sensitivity'"),
        (["optimize", "--passes", "depth,with"], "did you mean 'width'"),
        (["optimize", "absent.py:build"], "'absent.py' does not exist"),
        (["optimize", "weights.pth"], "nothing is unpickled"),
        (["optimize", "absent.onnx"], "'absent.onnx' does not exist"),
        (["measure", "absent.onnx"], "'absent.onnx' does not exist"),
        (["report", "nowhere"], "holds no study"),
        (["list", "--family", "passs"], "did you mean 'pass'"),
        (["bench", "latnecy"], "Did you mean 'latency'"),
    ],
)
def test_wrong_use_is_one_clear_line_and_exit_code_2(words: list[str], message: str, tmp_path: Path) -> None:
    done = whet(*words, *(["--out", str(tmp_path / "r")] if words[0] == "optimize" else []))
    assert done.returncode == 2, done.stderr
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert "left" not in done.stderr, "the network was begun with before the words were read"
