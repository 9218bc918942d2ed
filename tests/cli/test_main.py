from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from whet import catalogue, references
from whet.cli.main import main
from whet.core.errors import UnknownNameError
from whet.report.methods import markdown
from whet.search.strategies.optuna import SAMPLERS


def whet(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "whet", *words], capture_output=True, text=True, timeout=300)


def write_networks(folder: Path) -> None:
    """Write what is no network of the task: two files of Python that fail and a program with another example."""
    (folder / "raises.py").write_text("def build():\n    raise ValueError('no weights')\n")
    (folder / "broken.py").write_text("def build(:\n    pass\n")
    program = torch.export.export(torch.nn.Linear(5, 2).eval(), (torch.randn(2, 5),))
    torch.export.save(program, folder / "other.pt2")


@pytest.mark.parametrize("words", [["measure", "--seconds", "1"], ["optimize", "--budget", "9s", "--out", "r"]])
def test_an_unexpected_error_is_one_line_a_log_and_exit_code_3(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("whet.tasks.get", lambda *given: 1 / 0)
    (tmp_path / "r/.whet").mkdir(parents=True)
    code, told = in_process(words, monkeypatch, capsys)
    assert code == 3 and "ZeroDivisionError: division by zero" in told and "Traceback" not in told
    log = Path(re.findall(r"report it with '(.+)'", told)[0])
    assert "Traceback" in log.read_text(encoding="utf-8") and "lambda" in log.read_text(encoding="utf-8")
    assert (log.parent.name == ".whet") == (words[0] == "optimize")
    log.unlink()


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
    page = Path(__file__).parents[2] / "docs" / "methods.md"
    assert page.read_text(encoding="utf-8") == markdown(), "run: whet list --markdown > docs/methods.md"


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
def test_wrong_use_is_one_clear_line_and_exit_code_2(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, told = in_process(words, monkeypatch, capsys)
    assert code == 2 and message in told and "Traceback" not in told
    assert "left" not in told, "the network was begun with before the words were read"


def test_wrong_use_ends_a_process_of_its_own_so_too(tmp_path: Path) -> None:
    done = whet("optimize", "--passes", "depth,with", "--out", str(tmp_path / "r"))
    assert done.returncode == 2 and "did you mean 'width'" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimize", "--trials", "0"], "trials must be a whole number of at least 1; got 0"),
        (["optimize", "--epochs", "-1"], "epochs must be a number above 0; got -1"),
        (["optimize", "--seed", "-3"], "seed must be a whole number of at least 0; got -3"),
        (["measure", "--seconds", "0"], "seconds must be a number above 0; got 0"),
        (["bench", "techniques", "--max-drop", "much"], "max_drop must be a share"),
        (["optimize", "--out", "/dev/null"], "'/dev/null' is a file"),
        (["optimize", "--out", "/proc/whet"], "'/proc/whet' cannot be written to"),
        (["measure", "\udcff.onnx"], "is not UTF-8"),
        (["optimize", "raises.py:build"], "'raises.py', line 2 raised ValueError: no weights"),
        (["optimize", "broken.py:build"], "'broken.py', line 1 raised SyntaxError"),
        (["optimize", "other.pt2"], "exported with inputs of (2, 5), the task's are (2, 1, 8, 8)"),
    ],
)
def test_values_and_files_that_cannot_be_are_told_at_the_edge(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_networks(tmp_path)
    code, told = in_process(words, monkeypatch, capsys)
    assert code == 2 and message in told and "Traceback" not in told
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("__")) == NETWORKS


NETWORKS = ["broken.py", "other.pt2", "raises.py"]


def in_process(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int | str | None, str]:
    """Return the exit code of a command line and what it wrote to standard error, in one line."""
    monkeypatch.setattr(sys, "argv", ["whet", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, " ".join(capsys.readouterr().err.split())
