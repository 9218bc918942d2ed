"""A folder of images by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from whet.data.sources.by_class import files_by_class, without
from whet.data.sources.pictures import Raw, decoded, look_of, why_unreadable
from whet.data.sources.source import IMAGES, Bad, Data, Options, Part
from whet.data.sources.splits import divided


class Images:
    """Images in a folder for each class, which may lie below train, val and test."""

    def load(self, path: Path, options: Options) -> Data:
        files = files_by_class(path, IMAGES, options, "images")
        bad = Bad("images")
        for several in files.paths.values():
            bad.found |= {str(one): why for one in several if (why := why_unreadable(one))}
        files = without(files, bad, options)
        first = tuple(str(one.relative_to(path)) for one in files.first())
        return image_data("images by class", files.paths, files.labels, files.classes, files.notes, first, options)


def image_data(
    kind: str, raws: Mapping[str, Sequence[Raw]], labels: Mapping[str, Tensor | None], classes: tuple[str, ...],
    notes: tuple[str, ...], samples: tuple[str, ...], options: Options,
) -> Data:  # fmt: skip
    """Return images of each split, files or their bytes, with class numbers of shape (rows,), or without labels."""
    look = look_of([raw for several in raws.values() for raw in several], options)
    given = {
        split: Part({"pixel_values": decoded(several, look)}, labels[split])
        for split, several in raws.items()
        if several
    }
    parts, splits = divided(given, options, bool(classes), classes)
    notes = (*notes, f"values are {look}")
    return Data(kind, parts, "classes" if classes else "agreement", splits, classes, notes, samples, look.prepare)
