"""`manifest.json`: what a delivered file is, what was measured from it and how, and the hash of each file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whet.core.errors import ArtifactError
from whet.support.files import write_text

NAME = "manifest.json"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def number(value: float | None, unit: str, protocol: str, device: str, measured: bool = True) -> dict[str, Any]:
    """Return one figure with all that it needs to be understood."""
    how = "measured" if measured else "predicted"
    return {"value": value, "unit": unit, "protocol": protocol, "device": device, "how": how}


UNITS = {
    "top1_agreement": "share of rows",
    "equal_share": "share of values",
    "cosine_similarity": "mean cosine of rows",
    "relative_error": "|a - b| / |b|",
    "correlation": "Pearson's r",
}


def unit_of(figure: str) -> str:
    """Return the unit of a figure of agreement, of one output (`loc.relative_error`) or of all.

    >>> unit_of("loc.relative_error")
    '|a - b| / |b|'
    """
    return UNITS[figure.rpartition(".")[2]]


def write_manifest(folder: Path, **values: Any) -> Path:
    """Write `values` and the size and SHA-256 of every other file of `folder`, whole or not at all."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != NAME)
    hashes = {p.name: {"sha256": sha256(p), "size_bytes": p.stat().st_size} for p in files}
    write_text(folder / NAME, json.dumps({**values, "files": hashes}, indent=1) + "\n")
    return folder / NAME


def read_delivered(path: Path) -> Any:
    """Return what a JSON file in a delivered network's folder holds.

    Raises: ArtifactError where it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"'{path}' does not exist: '{path.parent}' is no delivered network.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"'{path}' is damaged: {error}") from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of `folder`, or raise `ArtifactError`."""
    path = folder / NAME
    manifest = read_delivered(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), Mapping):
        raise ArtifactError(f"'{path}' is no manifest: it lists no files.")
    return manifest


def check_files(folder: Path) -> dict[str, Any]:
    """Return the manifest if every file is there and is what the manifest says, else raise `ArtifactError`."""
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        path = folder / name
        if Path(name).name != name:
            raise ArtifactError(f"'{folder / NAME}' names '{name}', which is outside its folder.")
        if not path.is_file():
            raise ArtifactError(f"'{path}' is missing.")
        if path.stat().st_size != expected["size_bytes"]:
            size = path.stat().st_size
            raise ArtifactError(f"'{path}' has {size} bytes; its manifest says {expected['size_bytes']}.")
        if sha256(path) != expected["sha256"]:
            raise ArtifactError(f"'{path}' is not the file of its manifest: its SHA-256 differs.")
    return manifest
