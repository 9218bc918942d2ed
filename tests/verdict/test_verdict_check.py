"""Each limit is kept and broken as it should be, by what is measured for it alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from files import SETTINGS, network, saved, task

from whet.core.checks import ValueRangeError
from whet.flow.quantities import LimitError
from whet.hardware.targets import get, measure_settings
from whet.verdict.check import Limits, Subject, check, limits_of
from whet.verdict.limits import Row
from whet.verdict.located import located

TARGET = get("onnxruntime-cpu")


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Return a file that gets 80 of 100 right, beside a much larger one that gets others right."""
    folder = tmp_path_factory.mktemp("checked")
    file = located(saved(folder / "file", network(), settings=SETTINGS).parent, TARGET)
    other = located(saved(folder / "other", network(30_000)), TARGET)
    return Subject(file, TARGET, other, seconds=1.0, task=task(network(), 0.8))


LIMITS = [
    ("latency_ratio", 0.9, 1e-6), ("p50", "1s", "1us"), ("p95", "1s", "1us"), ("p99", "1s", "1us"),
    ("size", "1MB", "100"), ("memory", "1GB", "1MB"), ("cold_start", "10s", "10us"), ("quality", 0.8, 0.81),
    ("drop", "50%", "0%"),
]  # fmt: skip


@pytest.mark.alone
@pytest.mark.parametrize(("name", "kept", "broken"), LIMITS)
def test_each_limit_passes_and_fails_as_it_should(subject: Subject, name: str, kept: Any, broken: Any) -> None:
    subject.task = task(network(30_000 if name == "drop" else 16), 0.8)
    vars(subject).pop("own_quality", None)
    passed = check(subject, limits_of(**{name: kept}))
    failed = check(subject, limits_of(**{name: broken}))
    assert passed.passed and not failed.passed
    assert len(failed.broken) == len(failed.rows) == 1
    (row,) = failed.rows
    assert row.low <= row.measured <= row.high and row.how


@pytest.mark.alone
def test_figures_are_those_of_measure(subject: Subject) -> None:
    assert subject.baseline
    # The larger file: a call of ten microseconds takes twice as long now and then, whatever is measured.
    subject = Subject(replace(subject.baseline, settings=(SETTINGS,)), TARGET, subject.file, seconds=1.0)
    verdict = check(subject, limits_of(p50="1s", latency_ratio=1e6, size="1GB"))
    ratio, p50, size = (row(verdict.rows, name) for name in ("latency ratio", "p50", "size"))
    inputs = list(subject.inputs.values())
    own = measure_settings(TARGET, subject.file.path, [SETTINGS], inputs, seconds=1.0)["onnxruntime/f32/1"]
    # Medians of calls one after the other and of bursts; on a machine that others use they drift.
    assert p50.measured == pytest.approx(own.latency_ms, rel=0.5)
    assert size.measured == subject.file.artifact.size_bytes
    latency, other = subject.race.latencies["file"], subject.race.latencies["baseline"]
    assert ratio.measured == 1 / latency.ratio == pytest.approx(latency.latency_ms / other.latency_ms, rel=0.5)
    assert ratio.low == 1 / latency.ratio_high
    assert verdict.setting == "onnxruntime/f32/1" and verdict.baseline_setting.startswith("onnxruntime/f32/")


def row(rows: tuple[Row, ...], name: str) -> Row:
    return next(each for each in rows if each.name == name)


def test_what_is_not_asked_for_is_not_measured(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whet.verdict.check.served_fresh", lambda *given: 1 / 0)
    monkeypatch.setattr("whet.verdict.check.single_calls", lambda *given: 1 / 0)
    monkeypatch.setattr("whet.verdict.check.raced", lambda *given: 1 / 0)
    alone = Subject(subject.file, TARGET, task=subject.task)
    assert [r.name for r in check(alone, limits_of(size="1MB")).rows] == ["size"]
    several = Subject(located(subject.file.path, TARGET, own=False), TARGET)
    assert check(several, limits_of(size="1MB")).setting == "", "no setting was chosen"


@pytest.mark.alone
def test_a_file_without_settings_is_served_in_its_fastest(subject: Subject) -> None:
    several = Subject(located(subject.file.path, TARGET, own=False), TARGET, seconds=0.5)
    verdict = check(several, limits_of(p50="1s"))
    best = max(several.file.settings, key=lambda s: several.race.settings["file"] == s)
    assert verdict.setting == f"onnxruntime/f32/{best['threads']}"


def test_an_error_has_a_largest_value(subject: Subject) -> None:
    worse = Subject(subject.file, TARGET, task=task(network(), 0.8, metric_name="score", direction="min"))
    assert check(worse, Limits(quality=0.9)).passed and not check(worse, Limits(quality=0.7)).passed


def test_limits_are_read_as_people_write_them() -> None:
    found = limits_of(
        p99="2ms", size="5MB", memory="300MB", cold_start="2 s", quality=0.9, latency_ratio=1.05, drop=None
    )
    assert (found.p99, found.size, found.memory, found.cold_start) == (0.002, 5e6, 3e8, 2.0)
    assert found.asked == ["latency_ratio", "p99", "size", "memory", "cold_start", "quality"]
    for words, message in (
        ({"p99": "soon"}, "p99 must be a duration"),
        ({"memory": "much"}, "max_memory must be a size"),
    ):
        with pytest.raises(LimitError, match=message):
            limits_of(**words)
    with pytest.raises(ValueRangeError, match="max_latency_ratio must be a number above 0"):
        limits_of(latency_ratio=-1.0)
