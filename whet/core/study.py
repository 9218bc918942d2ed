"""`Trial` and `Study`: the append-only record of what was tried, kept in an Optuna storage."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

from whet.core.errors import StudyError
from whet.core.objectives import METRICS, Objectives
from whet.core.passes import Change
from whet.core.space import Decision, Space
from whet.support.storage import failing, shown, storage_at, unwarned

Stage = Literal["probe", "predicted", "short", "full", "failed"]
STUDY_NAME = "whet"
DATABASE = "study.db"
STATES = {"failed": TrialState.FAIL, "predicted": TrialState.PRUNED}
"""The stages that are no measurements, and what they are to Optuna: its Pareto front takes none of these."""


@dataclass(frozen=True)
class Trial:
    """One candidate as far as it got.

    `quality` is the task's metric on validation data, `drop` the loss against the reference in the unit of the
    limit, `speedup` the measured ratio to the best uncompressed setting (`speedup_low`, `speedup_high` its
    quartiles), `gain` what the search makes large (`Objectives.gain`), the speed-up where nothing else is wanted.
    `memory_bytes` is the peak of a process that serves it, 0 where that was not measured.
    `simulated` says that the quality was computed in torch and not in the runtime. `state` names the file with the
    trained weights, relative to the study's folder; `parent` the trial it continues. A trial of the stage `predicted`
    has a forecast for its gain, and NaN for a speed-up that was not forecast; one of the stage `failed` has no figures,
    the reason in `note` and in `attempted` what stage it would have been.
    """

    number: int
    stage: Stage
    decision: Decision
    quality: float
    drop: float
    speedup: float
    speedup_low: float = 0.0
    speedup_high: float = 0.0
    latency_ms: float = 0.0
    size_bytes: int = 0
    memory_bytes: int = 0
    gain: float = math.nan
    simulated: bool = True
    samples: int = 0
    parent: int | None = None
    state: str | None = None
    artifact: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    changed: tuple[Change, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    note: str = ""
    attempted: str = ""
    spent_seconds: float = 0.0
    device: str = ""
    protocol: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.gain):
            object.__setattr__(self, "gain", self.speedup)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict_shallow(self), "decision": dict(self.decision), "changed": [asdict(c) for c in self.changed]}


def asdict_shallow(trial: Trial) -> dict[str, Any]:
    """Return the fields of `trial` without descending into the decision, which is no dataclass."""
    return {f.name: getattr(trial, f.name) for f in fields(trial)}


class Study:
    """A folder's record, `study.db`: SQLite by default, any Optuna storage by its address.

    A trial is one insert, so a process killed at any instant leaves whole trials only. `config` holds what must
    not change between a study and its resumption.
    """

    def __init__(
        self, storage: str, config: dict[str, Any], space: Space, objectives: Objectives | None = None,
        name: str = STUDY_NAME,
    ) -> None:  # fmt: skip
        self.space, self.storage = space, storage
        self.objectives = objectives or Objectives()
        wanted = self.objectives.wanted
        with failing(storage, "opened", StudyError):
            self._study = optuna.create_study(
                study_name=name,
                storage=storage_at(storage),
                directions=[*("maximize" if each == "speed" else "minimize" for each in wanted), "minimize"],
                load_if_exists=True,
            )
            self._agree("config", config)
            self._agree("space", space.describe())
            with unwarned():
                self._study.set_metric_names([*(METRICS[each] for each in wanted), "drop"])
            self.trials = [self._load(t) for t in self._study.get_trials(deepcopy=False)]

    @classmethod
    def in_folder(
        cls, folder: Path, config: dict[str, Any], space: Space, objectives: Objectives | None = None
    ) -> Study:
        """Open the folder's `study.db`, or begin one; the folder is made where it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{(folder / DATABASE).resolve()}", config, space, objectives)

    def _agree(self, key: str, value: Any) -> None:
        """Write `value` into a new study; in an old one demand that it is the same, naming what differs."""
        text = json.dumps(value, sort_keys=True)
        attrs = self._study.user_attrs
        if key not in attrs:
            self._study.set_user_attr(key, text)
            return
        if attrs[key] == text:
            return
        old = json.loads(attrs[key])
        if isinstance(old, dict) and isinstance(value, dict):
            names = [k for k in sorted({*old, *value}) if old.get(k) != value.get(k)]
            what = "; ".join(f"{k} was {old.get(k)!r}, now {value.get(k)!r}" for k in names)
        else:
            before, now = ({c["name"]: c for c in side} for side in (old, value))
            names = [n for n in sorted({*before, *now}) if before.get(n) != now.get(n)]
            what = f"choices that differ: {', '.join(names[:5])}"
        raise StudyError(
            f"study '{shown(self.storage)}' was begun with another {key}: {what}. "
            "Begin anew there with --restart, or give another --out."
        )

    def _load(self, frozen: optuna.trial.FrozenTrial) -> Trial:
        record = json.loads(frozen.user_attrs["trial"])
        record["decision"] = Decision(record["decision"])
        record["changed"] = tuple(Change(**change) for change in record["changed"])
        return Trial(**record)

    @property
    def next_number(self) -> int:
        return len(self.trials)

    def add(self, trial: Trial) -> Trial:
        """Append a finished trial in one transaction."""
        params = {name: value for name, value in trial.decision.items() if name in self.space.choices}
        distributions = {n: CategoricalDistribution(self.space.choices[n].values) for n in params}
        with failing(self.storage, "written", StudyError):
            self._study.add_trial(
                create_trial(
                    state=STATES.get(trial.stage, TrialState.COMPLETE),
                    params=params,
                    distributions=distributions,
                    values=None if trial.stage in STATES else self._values(trial),
                    user_attrs={"trial": json.dumps(trial.to_dict()), "stage": trial.stage},
                )
            )
        self.trials.append(trial)
        return trial

    def _values(self, trial: Trial) -> list[float]:
        return [float(getattr(trial, METRICS[name])) for name in self.objectives.wanted] + [trial.drop]

    def remember(self, key: str, value: Any) -> None:
        """Keep a JSON value beside the trials (the bar, the reference, the spent seconds)."""
        with failing(self.storage, "written", StudyError):
            self._study.set_user_attr(f"memo:{key}", json.dumps(value))

    def recall(self, key: str) -> Any:
        """Return what `remember` kept, or None."""
        text = self._study.user_attrs.get(f"memo:{key}")
        return None if text is None else json.loads(text)

    @property
    def spent_seconds(self) -> float:
        """Seconds of budget that earlier sessions used, up to their last finished trial."""
        return max([t.spent_seconds for t in self.trials] + [float(self.recall("spent_seconds") or 0.0)])
