"""`load`: the front of a study that was finished earlier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from whet.core.target import Artifact
from whet.flow.delivered import DeliveredFront, Member
from whet.flow.folder import recorded
from whet.pack.serving import is_packed, load_packed

FRONT = "front"
"""Under what name a study remembers what was delivered last."""


def load(folder: str | Path) -> Any:
    """Return the front that a study in `folder` delivered last, a `DeliveredFront`, wherever the folder lies now.

    Of a packed file, `model.whet`, it is a `PackedModel`, which has a `session()` as the members of a front have.

    Raises: StudyError where there is no study, or one that was not finished; ArtifactError where there is no packed
    file of that name.
    """
    place = Path(folder)
    if is_packed(place):
        return load_packed(place)
    data = recorded(place, FRONT)
    members = [Member(**m) for m in data["front"]]
    members = [replace(m, delivered=str(place / "front" / str(i))) for i, m in enumerate(members)]
    return DeliveredFront(
        folder=place,
        members=tuple(members),
        nearest=data["nearest"] and Member(**data["nearest"]),
        bar=data["bar"],
        bar_artifact=Artifact(place / "uncompressed" / "model.onnx", data["bar_settings"]),
        metric=data["metric"],
        reference=data["reference"]["val"],
        reference_test=data["reference"]["test"],
        conclusion=data["conclusion"],
        report=place / "report.html",
        met=data["met"],
        drop_unit=(float(data["drop_unit"][0]), str(data["drop_unit"][1])),
        objectives=tuple(data["objectives"]),
        device=data["device"],
    )


def remembered(front: DeliveredFront) -> dict[str, Any]:
    """Return what a study keeps of a front, plain values."""
    return {**front.to_dict(), "bar_settings": front.bar_artifact.settings}
