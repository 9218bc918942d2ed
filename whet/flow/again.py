"""`again`: another limit for a study that is there, delivered without searching."""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna

from whet.core.errors import StudyError
from whet.core.study import DATABASE, STUDY_NAME, Trial
from whet.core.target import Artifact
from whet.flow.evaluator import Evaluator
from whet.flow.failures import ends_the_run, reason
from whet.flow.folder import Folder
from whet.hardware.elsewhere import DEVICE
from whet.schedule.history import SCORED_NOTE

SAME = ("network", "parameters", "weights", "task", "val data", "test data", "metric", "objectives", "served", "target")
"""What a study must agree in to be delivered again; the limit may be another, and whet's own code."""
COPIED = ("uncompressed/*", "trials/*/model*")
"""The files of a study that a delivery takes from."""


def take_over(source: Path, folder: Folder, config: Mapping[str, Any]) -> None:
    """Take the record and the files of a study into an empty folder, for what `config` asks for now.

    The files are the same ones on disk where they can be.

    Raises: StudyError where there is no study, where the folder holds one, or where it was of another network, of other
    data, or served otherwise.
    """
    if not (source / DATABASE).exists():
        raise StudyError(f"'{source}' holds no study: '{source / DATABASE}' does not exist.")
    if (folder.path / DATABASE).exists():
        raise StudyError(f"'{folder.path}' holds a study: give another --out, or --restart.")
    names = [f.relative_to(source).as_posix() for each in COPIED for f in sorted(source.glob(each)) if f.is_file()]
    folder.claim(*names)
    for name in names:
        place = folder.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / name, place)
        except OSError:
            shutil.copy2(source / name, place)
    with closing(sqlite3.connect(source / DATABASE)) as old, closing(sqlite3.connect(folder.path / DATABASE)) as new:
        old.backup(new)
    try:
        agree(folder.path, config)
    except StudyError:
        folder.clear()
        raise


def agree(folder: Path, config: Mapping[str, Any]) -> None:
    """Write what a study is now asked for into its record.

    Raises: StudyError where it was of another network, of other data, or served otherwise.
    """
    study = optuna.load_study(study_name=STUDY_NAME, storage=f"sqlite:///{(folder / DATABASE).resolve()}")
    old = json.loads(study.user_attrs["config"])
    keys = [*SAME, *sorted(key for key in {**old, **config} if key.startswith(DEVICE))]
    others = [f"{key} was {old.get(key)!r}, now {config.get(key)!r}" for key in keys if old.get(key) != config.get(key)]
    if others:
        raise StudyError(f"this is no study of that network and task: {'; '.join(others)}.")
    study.set_user_attr("config", json.dumps(config, sort_keys=True))


def time_scored(evaluator: Evaluator) -> list[Trial]:
    """Time the files that were scored, found beyond the old limit, and are within the new one; return their trials."""
    study, found = evaluator.study, list[Trial]()
    known = {t.artifact for t in study.trials if t.stage == "full"}
    for trial in list(study.trials):
        scored = trial.artifact and trial.note == SCORED_NOTE and trial.artifact not in known
        if not scored or not evaluator.request.goal.feasible(replace(trial, speedup=math.inf)):
            continue
        try:
            found.append(_timed(evaluator, trial))
        except Exception as error:
            if ends_the_run(error):
                raise
            evaluator.recorder.note(f"trial {trial.number} was not timed: {reason(error)}")
    return found


def _timed(evaluator: Evaluator, trial: Trial) -> Trial:
    path = evaluator.request.out / str(trial.artifact)
    latency, settings = evaluator.files.time_file(path, brief=True)
    figures: dict[str, Any] = {"latency": latency, "settings": settings, "simulated": False}
    if evaluator.request.objectives.need_memory:
        figures["memory_bytes"] = evaluator.files.memory_of(Artifact(path, settings))
    kept = ("artifact", "size_bytes", "samples", "parent", "changed", "skipped")
    said = {name: getattr(trial, name) for name in kept}
    return evaluator.recorder.record("full", trial.decision, trial.quality, **figures, **said)
