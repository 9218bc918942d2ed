"""What a former search measured, of whatever network: its space and its observations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy.exc import DatabaseError, OperationalError

from whet.core.errors import StudyError
from whet.core.space import Choice, Decision, Space
from whet.core.strategy import Observation
from whet.core.study import DATABASE, STUDY_NAME

MEASURED = ("short", "full")
"""Stages whose trials were trained and timed; a decision's last one counts."""


def former(folder: Path) -> tuple[Space, list[Observation]]:
    """Return the space of the study in a folder, and of each decision that was measured its gain and drop, in order.

    The study is read, never begun or changed. Its limits do not count: no observation breaks one.

    Raises: StudyError where there is no study, or it cannot be read.
    """
    path = folder / DATABASE
    if not path.is_file():
        raise StudyError(f"'{folder}' holds no study to learn from: '{path}' does not exist.")
    try:
        study = optuna.load_study(study_name=STUDY_NAME, storage=f"sqlite:///{path.resolve()}")
        space = Space([choice_of(record) for record in json.loads(study.user_attrs["space"])])
        trials = [json.loads(t.user_attrs["trial"]) for t in study.get_trials(deepcopy=False)]
    except (DatabaseError, OperationalError, RuntimeError, KeyError) as error:
        raise StudyError(f"study '{path}' cannot be learned from: {str(error).splitlines()[0]}") from error
    found: dict[Decision, Observation] = {}
    for trial in trials:
        if trial["stage"] in MEASURED:
            decision = space.canonical(Decision(trial["decision"]))
            found[decision] = Observation(decision, (trial["gain"], trial["drop"]))
    return space, list(found.values())


def choice_of(record: Mapping[str, Any]) -> Choice:
    """Return a choice as `Space` or a table told it: its name, values, identity and `when`, its condition."""
    when = record["when"]
    return Choice(
        record["name"], tuple(record["values"]), record["identity"], (when[0], tuple(when[1])) if when else None
    )
