"""The folder of a study: what is removed from it, what is refused, who may write to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from whet.core.errors import StudyError
from whet.core.study import Study
from whet.flow.folder import Folder, check_writable

HOLD = """
import sys, time
from pathlib import Path
from whet.flow.folder import Folder
folder = Folder(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""
MINE = ("study.db.backup", "front/0/model.int8.onnx", "front/notes.md", "trials/mine/weights.bin", "src/model.onnx")


def write(path: Path, text: str = "mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_beginning_anew_removes_what_was_listed_and_nothing_of_the_users(tmp_path: Path) -> None:
    with closing(Folder(tmp_path)) as folder:
        for name in ("trials/0.safetensors", "trials/3/model.onnx", "front/0/model.onnx"):
            folder.claim(name)
            write(tmp_path / name, "whet's")
        write(tmp_path / "trials/3/.model.part.onnx", "left by a kill")
        mine = [write(tmp_path / name) for name in MINE]
        folder.clear()
        assert all(path.read_text() == "mine" for path in mine)
        left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
        assert [name for name in left if not name.startswith(".whet/")] == sorted(MINE)
        assert not (tmp_path / "trials/3").exists()
    with closing(Folder(tmp_path)) as folder:  # what the user keeps there does not keep a study from beginning
        folder.claim("front/1/model.onnx")


STRANGERS = ("study.db", "report.html", "front/index.html", "trials/a.csv", "uncompressed/model.onnx")


@pytest.mark.parametrize("name", STRANGERS)
def test_a_study_is_not_begun_over_the_files_of_others(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    with pytest.raises(StudyError, match=f"holds '{name.partition('/')[0]}'.*give another --out"):
        Folder(tmp_path)
    assert path.read_text() == "mine" and not (tmp_path / ".whet").exists()


def test_a_file_that_appeared_where_whet_will_write_is_not_overwritten(tmp_path: Path) -> None:
    with closing(Folder(tmp_path)) as folder:
        write(tmp_path / "report.html")
        with pytest.raises(StudyError, match="whet did not write it"):
            folder.claim("report.html")
        folder.clear()
    assert (tmp_path / "report.html").read_text() == "mine"


@pytest.mark.parametrize("line", ["../outside.txt", "linked/outside.txt", "{outside}"])
def test_a_list_never_reaches_beyond_the_folder(tmp_path: Path, line: str) -> None:
    outside = write(tmp_path / "outside.txt")
    with closing(Folder(tmp_path / "run")) as folder:
        (tmp_path / "run" / "linked").symlink_to(tmp_path)
        write(tmp_path / "run/.whet/files", line.format(outside=outside) + "\n")
        folder.clear()
    assert outside.read_text() == "mine"


def test_a_folder_is_one_process_s_until_that_is_gone_however_it_ends(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(StudyError, match=f"in use by process {holder.pid}"):
        Folder(tmp_path)
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    Folder(tmp_path).close()


def test_folders_that_cannot_be_are_told_before_anything_is_written(tmp_path: Path) -> None:
    file = write(tmp_path / "file")
    for path, message in (
        (file, "is a file"),
        (file / "below" / "it", "is a file"),
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")), "not UTF-8"),
        (Path("/proc/nowhere/run"), "cannot be written to"),
        (tmp_path / ("x" * 300), "cannot be written to"),
    ):
        with pytest.raises(StudyError, match=message):
            check_writable(path)
            Folder(path)
    assert sorted(tmp_path.iterdir()) == [file]


def test_a_folder_and_its_study_open_again(tmp_path: Path) -> None:
    for before in (None, 1):
        with closing(Folder(tmp_path)) as folder:
            folder.claim("study.db")
            study = Study.in_folder(tmp_path, {}, space())
            assert study.recall("a") == before
            study.remember("a", 1)


def space():  # type: ignore[no-untyped-def]
    from whet.core.space import Space

    return Space()
