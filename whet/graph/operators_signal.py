"""Rows of the operators that see a dimension as a signal: transforms to frequencies, sliding windows, patches."""

from __future__ import annotations

import numpy as np

from whet.graph.rows import Call, Row, Value


def spectrum(call: Call) -> Value:
    """A Fourier transform mixes all elements of the dimensions it runs along: those are frozen, the others pass."""
    x, given = call.first, call.get("dim")
    along = [given] if isinstance(given, int) else range(len(x)) if given is None else given
    call.labels.freeze(*[x[d] for d in along])
    return [dim if len(dim) == size else call.zeros(size) for dim, size in zip(x, call.shape, strict=True)]


def frames(call: Call) -> Value:
    """A short-time transform of (signals, time), or of (signals, frequency, frames) back; the window is frozen."""
    x = call.first
    signals = x[: -1 if call.name == "stft" else -2]
    call.labels.freeze(*x[len(signals) :], *[dim for dims in list(call.tensors())[1:] for dim in dims])
    return [*signals, *call.opaque(len(signals))]


def patches(call: Call) -> Value:
    """`unfold` of (..., C, H, W) to (..., C x kh x kw, places): every channel becomes kh x kw in a row."""
    x = call.first
    call.labels.freeze(*x[-2:])
    channels = np.repeat(x[-3], call.shape[-2] // len(x[-3]))
    return [*x[:-3], channels, call.zeros(call.shape[-1])]


def folded(call: Call) -> Value:
    """`fold` of (..., C x kh x kw, places) to (..., C, H, W): the places of a window are added up."""
    x, channels = call.first, call.shape[-3]
    out, window = call.labels.reshape([x[-2]], (channels, len(x[-2]) // channels))
    call.labels.freeze(window, x[-1])
    return [*x[:-2], out, *call.opaque(len(x) - 1)]


def windows(call: Call) -> Value:
    """`Tensor.unfold`: windows of one dimension, laid out along a new last one."""
    x, axis = list(call.first), call["dimension"]
    call.labels.freeze(x[axis])
    x[axis] = call.zeros(call.shape[axis])
    return [*x, call.zeros(call.shape[-1])]


def as_pairs(call: Call) -> Value:
    """A complex tensor as (..., 2)."""
    return [*call.first, call.zeros(2)]


def from_pairs(call: Call) -> Value:
    """(..., 2) as a complex tensor."""
    call.labels.freeze(call.first[-1])
    return call.first[:-1]


FOURIER = (
    *(f"fft_{inverse}{kind}fft{n}" for inverse in ("", "i") for kind in ("", "r", "h") for n in ("", "2", "n")),
    *("fft_fftshift", "fft_ifftshift", "_fft_r2c", "_fft_c2r", "_fft_c2c"),
)
"""Every transform of `torch.fft`, and the operators that they decompose into."""

SIGNAL_ROWS: dict[str, Row] = {
    **dict.fromkeys(FOURIER, Row(spectrum)),
    **dict.fromkeys(("stft", "istft"), Row(frames)),
    "im2col": Row(patches),
    "col2im": Row(folded),
    "unfold": Row(windows),
    "view_as_real": Row(as_pairs),
    "view_as_complex": Row(from_pairs),
}
