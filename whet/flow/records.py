"""The record of a study that several processes can read and write, and its copy in the study's folder."""

from __future__ import annotations

import uuid

import optuna

from whet.core.errors import StudyError
from whet.core.study import DATABASE, STUDY_NAME
from whet.flow.folder import OWN, Folder
from whet.support.storage import check_address, failing, storage_at

NAME = "study"
"""The file, beside those that are listed, that keeps the name of the study in another storage."""


def check_storage(address: str | None) -> None:
    """Raise StudyError for what is no address of a storage."""
    try:
        if address is not None:
            check_address(address)
    except ValueError as error:
        raise StudyError(str(error)) from None


def study_name(folder: Folder) -> str:
    """Return the name of a folder's study in a storage that holds others as well: drawn once, until it begins anew."""
    path = folder.own / NAME
    if not path.exists():
        folder.claim(f"{OWN}/{NAME}")
        path.write_text(f"{STUDY_NAME} {folder.path.resolve().name} {uuid.uuid4().hex[:8]}", encoding="utf-8")
    return path.read_text(encoding="utf-8")


def copy_record(address: str, folder: Folder) -> None:
    """Write a study of another storage into the folder's own file, which all that reads a folder reads.

    Raises: StudyError where either cannot be read or written.
    """
    part = folder.path / f"{DATABASE}.part"
    part.unlink(missing_ok=True)
    own = f"sqlite:///{part.resolve()}"
    with failing(address, "copied", StudyError):
        optuna.copy_study(
            from_study_name=study_name(folder), from_storage=storage_at(address), to_storage=storage_at(own),
            to_study_name=STUDY_NAME,
        )  # fmt: skip
    part.replace(folder.path / DATABASE)
