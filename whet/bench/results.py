"""Results of benchmarks: written twice, with the commit that made them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whet.support.files import write_text


def commit() -> str:
    """Return the commit of the code that runs, `and changes` where it has some; of an installed package its version."""
    from whet import __version__

    folder = Path(__file__).parent
    words = [["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no", "--", ".."]]
    try:
        found, changed = (
            subprocess.run(["git", "-C", str(folder), *one], capture_output=True, text=True, check=True).stdout.strip()
            for one in words
        )
    except (OSError, subprocess.CalledProcessError):
        return f"whet {__version__}"
    return f"{found} and changes" if changed else found


def made_by(figures: Mapping[str, Any]) -> str:
    """Return the sentence that names the commit of a result, or says that none was written down.

    >>> made_by({"commit": "0123456789ab"}), made_by({})
    ('Made by commit 0123456789ab.', 'Made by code that did not write down its commit.')
    """
    known = figures.get("commit")
    return f"Made by commit {known}." if known else "Made by code that did not write down its commit."


def device_line(device: Any) -> str:
    """Return a device, as `Device.to_dict` gave it, with the flags that decide what is fast; others as they are.

    >>> device_line({"cpu": "AMD EPYC", "cores": 2, "flags": ["avx2"]}), device_line("a board")
    ('AMD EPYC, 2 cores, avx2', 'a board')
    """
    if not isinstance(device, Mapping) or "cpu" not in device:
        return str(device)
    cores = f"{device['cores']} cores" if "cores" in device else ""
    return ", ".join(filter(None, (device["cpu"], cores, " ".join(device.get("flags", ())))))


def origin(figures: Mapping[str, Any]) -> str:
    """Return the sentences that end a table: the device and the commit that it was made with.

    >>> origin({"commit": "0123456789ab", "device": {"cpu": "AMD EPYC", "cores": 2, "flags": ["avx2"]}})
    'Device: AMD EPYC, 2 cores, avx2. Made by commit 0123456789ab.'
    """
    return f"Device: {device_line(figures['device'])}. {made_by(figures)}"


def write_result(stem: Path, figures: Mapping[str, Any], text: str) -> None:
    """Write the result of a benchmark twice: STEM.json for programs, with its commit, STEM.md for people."""
    write_text(Path(f"{stem}.json"), json.dumps({"commit": commit(), **figures}, indent=1) + "\n")
    write_text(Path(f"{stem}.md"), text)
