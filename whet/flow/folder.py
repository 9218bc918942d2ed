"""`Folder`: where a study lies; it lists what whet wrote, and one process at a time writes to it."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from sqlalchemy.exc import DatabaseError, OperationalError

from whet.core.errors import StudyError
from whet.core.study import DATABASE, STUDY_NAME
from whet.support.files import part_of

OWN = ".whet"
WRITTEN = (DATABASE, "run.toml", "report.html", "front", "trials", "uncompressed")
"""What a study puts into its folder. A new one is not begun beside something of these names."""


class Folder:
    """The folder of one study, locked until `close`.

    `.whet/files` names, a line each and before it is written, every file that whet writes there, relative to the
    folder; nothing else is ever overwritten or removed. `.whet/scratch` is for what is soon removed again.

    Raises: StudyError if the folder cannot be written to, is another process's, or holds what a study would overwrite.
    """

    def __init__(self, path: Path) -> None:
        check_writable(path)
        self.path, self.own = path, path / OWN
        self._refuse_strangers()
        try:
            self.own.mkdir(parents=True, exist_ok=True)
            self.lock = FileLock(self.own / "lock")
            self.lock.acquire(timeout=0)
        except Timeout:
            raise StudyError(
                f"'{path}' is in use by process {self._owner()}: wait until that is done, or give another --out."
            ) from None
        except OSError as error:
            raise StudyError(_unwritable(path, error)) from None
        (self.own / "pid").write_text(str(os.getpid()), encoding="utf-8")
        (self.own / "files").touch()

    @property
    def scratch(self) -> Path:
        """Where files lie that are soon removed again; it is not made here."""
        return self.own / "scratch"

    def _owner(self) -> str:
        with suppress(OSError):
            return (self.own / "pid").read_text(encoding="utf-8")
        return "(unknown)"

    def _refuse_strangers(self) -> None:
        """In a folder without a list demand that nothing lies where a study will write."""
        if (self.own / "files").exists():
            return
        for name in WRITTEN:
            if (self.path / name).exists():
                raise StudyError(
                    f"'{self.path}' holds '{name}', of which no '{OWN}/files' there says that whet wrote it: "
                    "give another --out, or move it away."
                )

    def files(self) -> list[str]:
        """Return the listed names, in the order in which they were first written."""
        return list(dict.fromkeys((self.own / "files").read_text(encoding="utf-8").splitlines()))

    def claim(self, *names: str) -> None:
        """List files that are about to be written. Raises: StudyError if one is there that is not listed."""
        new = [name for name in names if name not in set(self.files())]
        for name in new:
            if (self.path / name).exists():
                raise StudyError(
                    f"'{self.path / name}' is in the way: whet did not write it. Move it away, or give another --out."
                )
        if new:
            with (self.own / "files").open("a", encoding="utf-8") as listed:
                listed.write("".join(f"{name}\n" for name in new))

    def remove(self, below: str = "") -> None:
        """Remove the listed files, or those in a folder `below`, and the folders that this leaves empty."""
        for name in self.files():
            if not name.startswith(below) or not self._inside(name):
                continue
            file = self.path / name
            for each in (file, part_of(file)):
                each.unlink(missing_ok=True)
            with suppress(OSError):  # what is not empty stays
                for parent in file.relative_to(self.path).parents:
                    if parent.name:
                        (self.path / parent).rmdir()

    def clear(self) -> None:
        """Remove all that whet wrote, so that a study can begin anew."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.remove()
        (self.own / "files").write_text("", encoding="utf-8")

    def _inside(self, name: str) -> bool:
        """Say whether a listed name lies in the folder, whatever someone wrote into the list or linked elsewhere."""
        return (self.path / name).parent.resolve().is_relative_to(self.path.resolve())

    def close(self) -> None:
        """Let others use the folder."""
        self.lock.release()


def check_writable(path: Path) -> None:
    """Raise StudyError if `path` can be no folder of a study; nothing is written."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise StudyError(f"the name of the folder {str(path)!a} is not UTF-8: give another --out.") from None
    if "\n" in str(path) or not str(path).strip():
        raise StudyError(f"the folder's name {str(path)!r} is empty or has a line break: give another --out.")
    try:
        there = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    except OSError as error:
        raise StudyError(_unwritable(path, error)) from None
    if not there.is_dir():
        raise StudyError(f"'{path}' cannot be a folder: '{there}' is a file. Give another --out.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StudyError(f"'{path}' cannot be written to: no permission for '{there}'. Give another --out.")


def _unwritable(path: Path, error: OSError) -> str:
    return f"'{path}' cannot be written to: {error.strerror or error}. Give another --out."


def recorded(folder: Path, key: str) -> Any:
    """Return what a study in `folder` remembers under `key`, without beginning or changing one."""
    path = folder / DATABASE
    if not path.exists():
        raise StudyError(f"'{folder}' holds no study: '{path}' does not exist.")
    try:
        study = optuna.load_study(study_name=STUDY_NAME, storage=f"sqlite:///{path.resolve()}")
        text = study.user_attrs[f"memo:{key}"]
    except KeyError:
        raise StudyError(f"the study in '{folder}' has no {key} yet: it was not finished.") from None
    except (DatabaseError, OperationalError, RuntimeError) as error:
        raise StudyError(f"study '{path}' cannot be opened: {str(error).splitlines()[0]}") from error
    return json.loads(text)
