"""Every error whet raises on purpose: what was given, what is allowed, and the nearest spelling."""

from __future__ import annotations

from collections.abc import Iterable

from whet.support.names import listed, nearest


class WhetError(Exception):
    """The root of all errors that are the user's to mend."""


class LiftError(WhetError):
    """A network cannot become a `Net`."""


class SpecError(WhetError):
    """A `Net` breaks the specification in `core/spec.py`."""


class AxesError(WhetError):
    """A cut was asked for that the axes do not allow."""


class DecisionError(WhetError):
    """A decision does not fit its space."""


class TaskError(WhetError):
    """Data, loss or metric cannot be used as given."""


class TrainingError(WhetError):
    """Training cannot go on."""


class CalibrationError(WhetError):
    """Quantization lacks calibration data."""


class TargetError(WhetError):
    """A runtime cannot compile, load or run what it was given."""


class ArtifactError(WhetError):
    """A file is missing, truncated, of a wrong kind, or not what its manifest says."""


class StudyError(WhetError):
    """A study cannot be opened, resumed or written."""


class WorkersError(WhetError):
    """Workers cannot be reached, or are lost."""


class MethodError(WhetError):
    """A method is asked for in words that cannot be read, or with an option that it does not have."""


class UnknownNameError(WhetError):
    """A name that nothing answers to."""


def unknown(kind: str, given: str, allowed: Iterable[str]) -> UnknownNameError:
    """Return the error for a misspelt name, with the nearest allowed one.

    >>> str(unknown("target", "openvin-cpu", ["openvino-cpu", "cpu"]))
    "unknown target 'openvin-cpu'; did you mean 'openvino-cpu'? Allowed: cpu, openvino-cpu."
    """
    names = sorted(allowed)
    near = nearest(given, names)
    hint = f"; did you mean '{near}'?" if near else "."
    return UnknownNameError(f"unknown {kind} '{given}'{hint} Allowed: {listed(given, names)}.")
