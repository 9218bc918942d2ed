"""What is delivered: nothing that loses against the uncompressed network, whatever else happens."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from quick import Falling, latency, search, untimed

from whet.core.objectives import Figures, Objectives
from whet.core.space import Decision
from whet.core.study import Trial
from whet.flow import deliver
from whet.flow.deliver import Delivery
from whet.report.report import ReportData
from whet.verify.manifest import check_files


@pytest.mark.parametrize(
    ("ratio", "spread", "drop", "stays"),
    [
        (0.92, 0.01, 0.005, False),  # slower and worse
        (0.92, 0.01, 0.001, False),  # slower and as good
        (0.92, 0.01, -0.01, True),  # slower, but better
        (1.01, 0.02, 0.005, False),  # no faster than the noise, and worse
        (1.01, 0.02, -0.01, True),
        (1.30, 0.02, 0.005, True),
    ],
)
def test_what_loses_against_the_uncompressed_network_is_not_on_the_front(
    ratio: float, spread: float, drop: float, stays: bool
) -> None:
    trial = Trial(4, "full", Decision({"a": 1}), quality=0.9, drop=drop, speedup=2.0, size_bytes=100)
    found = delivery(Objectives()).on_the_front([trial], {"4": latency("4", ratio, spread)}, original(0.001))
    assert found == [trial][: int(stays)]


def delivery(objectives: Objectives) -> Delivery:
    baseline = SimpleNamespace(figures=Figures(1.0, 100))
    return Delivery(SimpleNamespace(request=SimpleNamespace(objectives=objectives), baseline=baseline))  # type: ignore[arg-type]


def original(drop: float) -> Any:
    return SimpleNamespace(size_bytes=100, drop=drop, speedup=1.0, memory_bytes=0)


@pytest.mark.parametrize(
    ("size", "ratio", "drop", "stays", "beside"),
    [
        (50, 0.5, 0.005, True, True),  # smaller, slower and worse
        (50, 0.5, 0.0, True, False),  # smaller and no worse: the original is beaten
        (100, 2.0, 0.005, False, True),  # faster, which was not asked for
        (120, 2.0, -0.01, True, True),  # larger, but better
    ],
)
def test_for_size_bytes_decide_what_is_on_the_front(
    size: int, ratio: float, drop: float, stays: bool, beside: bool
) -> None:
    trial = Trial(4, "full", Decision({"a": 1}), quality=0.9, drop=drop, speedup=2.0, size_bytes=size)
    front = delivery(Objectives(("size",)))
    found = front.on_the_front([trial], {"4": latency("4", ratio)}, original(0.001))
    assert found == [trial][: int(stays)]
    chosen: Any = [SimpleNamespace(size_bytes=size, drop=drop, speedup=ratio)][: int(stays)]
    assert bool(front.kept(original(0.001), chosen)) is beside


def test_the_original_is_left_out_where_it_breaks_a_limit_that_others_meet() -> None:
    front = delivery(Objectives(("size",), most_bytes=60))
    small: Any = SimpleNamespace(size_bytes=50, drop=0.005, speedup=0.5)
    assert not front.kept(original(0.001), [small]) and front.kept(original(0.001), [])


def test_where_everything_is_slower_the_uncompressed_network_is_delivered(tmp_path: Path) -> None:
    with untimed(speedup=0.7):
        front = search(tmp_path / "r", passes=("quantize",))
    best = front.fastest()
    assert best is not None and (best.number, best.speedup, best.decision) == (-1, 1.0, {})
    assert [m.number for m in front.members] == [-1] and not front.met
    assert front.conclusion.startswith("Nothing helps")
    saved = best.save(tmp_path / "model")
    manifest = check_files(saved.parent)
    assert manifest["uncompressed"] and manifest["figures"]["speedup"]["value"] == 1.0
    assert saved.read_bytes() == (tmp_path / "r/uncompressed/model.onnx").read_bytes()


def test_a_faster_file_comes_first_and_the_original_stays_if_it_is_better(tmp_path: Path) -> None:
    with untimed():
        front = search(tmp_path / "r", Falling(0.1), passes=("quantize",))
    assert front.met and front.members[0].number >= 0 and front.members[-1].number == -1
    assert front.conclusion.startswith("x1.50 faster")
    assert [check_files(front.folder / "front" / str(i))["uncompressed"] for i in range(2)] == [False, True]


def test_where_no_candidate_is_within_the_limit_the_nearest_is_named_and_the_original_delivered(tmp_path: Path) -> None:
    with untimed():
        front = search(tmp_path / "r", Falling(0.4), passes=("quantize",))
    assert not front.met and [m.number for m in front.members] == [-1]
    assert front.nearest is not None and front.nearest.drop == pytest.approx(0.4) and not front.nearest.delivered
    assert "within a drop of 30%" in front.conclusion and "Nothing helps" in front.conclusion


@pytest.mark.parametrize("place", ["race", "_measured", "test"])
def test_ctrl_c_during_delivery_keeps_what_is_there(tmp_path: Path, place: str) -> None:
    pressed: list[int] = []

    def interrupt(*args: Any, **options: Any) -> Any:
        pressed.append(1)
        raise KeyboardInterrupt

    with untimed() as patch:
        kept = getattr(deliver if place == "race" else Delivery, place)

        def first(*args: Any, **options: Any) -> Any:
            return kept(*args, **options) if pressed else interrupt()

        patch.setattr(deliver if place == "race" else Delivery, place, first)
        front = search(tmp_path / "r", passes=("quantize",))
        assert pressed and front.report.exists() and "interrupted" in front.conclusion
        for rank, member in enumerate(front.members):
            figures = check_files(front.folder / "front" / str(rank))["figures"]
            assert figures["speedup"]["value"] == member.speedup >= 1.0
        again = search(tmp_path / "r", passes=("quantize",))
        assert all(m.test is not None and m.top1_agreement is not None for m in again.members)
    with untimed() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Delivery, "run", interrupt)
        search(tmp_path / "r", passes=("quantize",))


def test_the_table_of_settings_is_of_the_race_that_chose_the_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ReportData] = []
    monkeypatch.setattr("whet.flow.reporting.render", lambda data, path: seen.append(data) or path)
    with untimed(raced={0: 1.7}):
        front = search(tmp_path / "r", passes=("quantize",))
    [data] = seen
    own = {name: ms for name, ms in data.settings.items() if name not in data.outside}
    assert front.bar == data.bar == min(own, key=own.__getitem__)
    assert all(name.startswith("openvino") for name in data.outside)
    raced = next(t for t in data.trials if t["number"] == 0)
    assert (raced["speedup"], raced["speedup_then"]) == (1.7, 1.5)


def test_where_a_runtime_that_was_not_asked_for_is_faster_it_is_said(tmp_path: Path) -> None:
    with untimed() as patch:
        race = deliver.race

        def faster(*given: Any) -> Any:
            found = race(*given)
            for name in found.latencies:
                if name.startswith("openvino"):
                    found.latencies[name] = latency(name, 3.0)
            return found

        patch.setattr(deliver, "race", faster)
        front = search(tmp_path / "r", passes=("quantize",))
    assert front.bar.startswith("onnxruntime") and front.met
    assert "uncompressed setting of target onnxruntime-cpu" in front.conclusion
    assert "x3.00 faster than that in openvino/" in front.conclusion
    assert "which target onnxruntime-cpu leaves out" in front.conclusion
