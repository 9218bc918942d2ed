"""What is published: a source distribution, the wheel made of it, and whet where nothing else of it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import whet

ROOT = Path(__file__).parents[1]
SOURCES = (
    "whet", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md",
    "constraints.txt",
)  # fmt: skip
Whet = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a source distribution and the wheel that was built from it."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(source)])
    return dist


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a new environment with the wheel, and with what whet depends on as it is installed here.

    A path file is enough for that: an editable installation there is one of its own, and such are not followed.
    """
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)])
    own = Path(run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).stdout.strip())
    inherited = dict.fromkeys([sysconfig.get_path("purelib"), *(p for p in sys.path if p.endswith("site-packages"))])
    (own / "dependencies.pth").write_text("\n".join(inherited) + "\n", encoding="utf-8")
    return python


@pytest.fixture
def command(installed: Path, tmp_path: Path) -> Whet:
    """Return what runs the installed command in an empty folder."""
    return lambda *words: run([str(installed.parent / "whet"), *words], tmp_path)


def run(words: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command without what this process has on its path; fail with what it said."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def write_network(path: Path) -> None:
    """Write a file of one matrix product and a ReLU, without torch's exporter, which takes seconds."""
    weight = onnx.numpy_helper.from_array(np.ones((8, 3), np.float32), "weight")
    nodes = [onnx.helper.make_node("MatMul", ["x", "weight"], ["y"]), onnx.helper.make_node("Relu", ["y"], ["z"])]
    ends = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, (1, s)) for n, s in (("x", 8), ("z", 3))]
    graph = onnx.helper.make_graph(nodes, "net", ends[:1], ends[1:], [weight])
    opset = onnx.helper.make_opsetid("", 20)
    onnx.save(onnx.helper.make_model(graph, ir_version=10, opset_imports=[opset]), path)


def test_the_wheel_holds_the_data_that_the_package_reads(built: Path) -> None:
    (wheel,), (archive,) = built.glob("whet_nn-*.whl"), built.glob("whet_nn-*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    tracked = [p for p in (ROOT / "whet").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {p.relative_to(ROOT).as_posix() for p in tracked} <= set(names)
    assert {"whet/py.typed", "whet/references.bib", "whet/report/report.html.jinja"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"whet", f"whet_nn-{whet.__version__}.dist-info"}
    top = f"whet_nn-{whet.__version__}"
    with tarfile.open(archive) as file:
        assert {f"{top}/{name}" for name in ("LICENSE", "README.md", "constraints.txt")} <= set(file.getnames())


def test_its_metadata_are_those_of_the_package(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    text = zipfile.ZipFile(wheel).read(f"whet_nn-{whet.__version__}.dist-info/METADATA").decode()
    version = f"Version: {whet.__version__}"
    for line in ("Name: whet-nn", version, "License-Expression: Apache-2.0", "Provides-Extra: data"):
        assert f"\n{line}\n" in text, line
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f'\nversion: "{whet.__version__}"\n' in citation


def test_it_runs_where_nothing_else_of_whet_is(installed: Path, command: Whet, tmp_path: Path) -> None:
    place = run([str(installed), "-c", "import whet; print(whet.__file__)"], tmp_path).stdout.strip()
    assert Path(place).is_relative_to(installed.parents[1])
    assert command("--version").stdout == f"whet {whet.__version__}\n"
    assert "quantize.static" in command("list").stdout
    assert "@inproceedings{li2017filters," in command("explain", "compress.width").stdout


def test_it_measures_a_file_from_an_empty_folder(command: Whet, tmp_path: Path) -> None:
    write_network(tmp_path / "net.onnx")
    told = json.loads(command("measure", "net.onnx", "--seconds", "1", "--json").stdout)
    assert told["settings"] and all(0 < row["latency_ms"] < 1000 for row in told["settings"])
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
