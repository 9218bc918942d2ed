"""`run.toml`: what a study was asked for, as the options of a command, so that one file repeats it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import whet
from whet.core.errors import StudyError
from whet.support.files import write_text

RUN = "run.toml"


def toml(values: Mapping[str, Any]) -> str:
    """Return a table of TOML with texts, numbers, truth values and lists of these; what is None is left out.

    >>> print(toml({"budget": "15min", "epochs": None, "training": False, "shape": ["x=1x3"]}), end="")
    budget = "15min"
    training = false
    shape = ["x=1x3"]
    """
    return "".join(f"{key} = {_value(value)}\n" for key, value in values.items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    # JSON's texts are TOML's but for one control character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def write_run(folder: Path, options: Mapping[str, Any]) -> None:
    """Write the options of a run into its folder, whole or not at all."""
    head = f"# whet {whet.__version__}: whet optimize --config {RUN} repeats this; what the command says comes first.\n"
    write_text(folder / RUN, head + toml(options))


def read_run(path: Path) -> dict[str, Any]:
    """Return the options in a file, or in the `run.toml` of a folder.

    Raises: StudyError where it is missing or damaged.
    """
    file = path / RUN if path.is_dir() else path
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(
            f"'{file}' cannot be read: {error.strerror}. `whet optimize` writes one beside every study; for one "
            "that was begun in Python call whet.optimize with again=FOLDER and another out."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"'{file}' is damaged: {error}") from error
