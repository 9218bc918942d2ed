"""What an optimization hands back."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from whet.core.errors import ArtifactError
from whet.core.target import Artifact
from whet.flow.delivered import UNITS, DeliveredFront, Member
from whet.verify.manifest import write_manifest

MEMBER = Member(
    3, "front/0/model.onnx", {"a:keep": False}, {"threads": 1}, "openvino/f32/1", 0.9, 0.01, None, 2.0, 1.9, 2.1, 0.5,
    100, {"top1_agreement": 0.98}, 0.1, 0.01, 50, "made up", gain=1.5,
)  # fmt: skip
SMALL = replace(MEMBER, number=4, speedup=1.2, size_bytes=40, gain=1.4)
BEST = replace(MEMBER, number=5, speedup=1.6, size_bytes=60, gain=1.6)


def front(*members: Member) -> DeliveredFront:
    return DeliveredFront(
        Path("r"), members, None, "openvino/f32/1", Artifact(Path("m"), {}), "accuracy", 0.91, None, "Good.",
        Path("r/report.html"), True,
    )  # fmt: skip


def test_the_fastest_the_smallest_and_the_best_are_found_on_the_front() -> None:
    found = front(MEMBER, SMALL, BEST)
    assert [found.fastest(), found.smallest(), found.best()] == [MEMBER, SMALL, BEST]
    assert front().fastest() is front().smallest() is front().best() is None


def test_all_of_it_is_plain_data_whose_figures_have_units() -> None:
    plain: Any = json.loads(json.dumps(front(MEMBER, SMALL).to_dict()))
    assert [m["number"] for m in plain["front"]] == [3, 4] and plain["nearest"] is None
    assert Member(**plain["front"][0]) == MEMBER
    assert plain["reference"] == {"val": 0.91, "test": None}
    assert plain["units"]["val"] == plain["units"]["test"] == "accuracy"
    assert set(UNITS) <= {field.name for field in fields(Member)}


def test_what_was_delivered_is_copied_whole_and_what_was_changed_since_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "r" / "front" / "0"
    source.mkdir(parents=True)
    (source / "model.onnx").write_bytes(b"graph")
    (source / "model.data").write_bytes(b"weights")
    write_manifest(source)
    member = replace(MEMBER, delivered=str(source))
    path = member.save(tmp_path / "new" / "folder")
    assert path == tmp_path / "new/folder/model.onnx" and path.read_bytes() == b"graph"
    assert {p.name for p in path.parent.iterdir()} == {p.name for p in source.iterdir()}
    (source / "model.data").write_bytes(b"WEIGHTS")
    with pytest.raises(ArtifactError, match=r"model\.data"):
        member.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_candidate_that_broke_a_limit_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="candidate 3 broke a limit"):
        MEMBER.save(tmp_path / "x")


def test_agreement_of_first_choices_is_there_where_outputs_are_logits() -> None:
    assert MEMBER.top1_agreement == 0.98 and replace(MEMBER, agreement={}).top1_agreement is None
