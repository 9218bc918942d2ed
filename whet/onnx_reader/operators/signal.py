"""Rows of windows, Fourier transforms and the mel scale."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from whet.onnx_reader.table import Attributes, Call, Row, Rows
from whet.onnx_reader.values import Value, at, claim, numpy_dtype, optional_tensor, scalar, tensor

WINDOWS = {
    "HannWindow": (0.5, 0.5, 0.0),
    "HammingWindow": (25 / 46, 21 / 46, 0.0),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}
"""a0, a1, a2 of w(n) = a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N)."""


def window(call: Call, x: list[Value], a: Attributes) -> Value:
    """A window of so many samples, (samples,), as `WINDOWS` has its cosines."""
    count = int(scalar(x[0]))
    claim([count])
    turn = np.arange(count) * 2 * np.pi / (count if a.get("periodic", 1) else count - 1)
    first, second, third = WINDOWS[call.op]
    values = first - second * np.cos(turn) + third * np.cos(2 * turn)
    return values.astype(numpy_dtype(a.get("output_datatype", 1)))


def as_complex(value: Tensor) -> Tensor:
    """Return a tensor whose last dimension is (real) or (real, imaginary) without it."""
    # Not a view: a traced graph asks for the strides of the day it was traced.
    return value.squeeze(-1) if value.shape[-1] == 1 else torch.complex(value[..., 0], value[..., 1])


def fourier(call: Call, x: list[Value], a: Attributes) -> Value:
    """The discrete Fourier transform along an axis; `onesided` leaves out or expects no mirrored half."""
    value = tensor(x[0])
    stated = a.get("axis", 1 if call.opset < 20 else -2)
    axis = (stated if at(x, 2) is None else int(scalar(x[2]))) % value.dim()
    inverse, half = bool(a.get("inverse")), bool(a.get("onesided"))
    usual = 2 * (value.shape[axis] - 1) if inverse and half else value.shape[axis]
    length = int(scalar(x[1])) if at(x, 1) is not None else usual
    claim([length])
    signal = as_complex(value)
    if inverse and half:
        return torch.fft.irfft(signal, length, axis)[..., None]
    found = (torch.fft.ifft if inverse else torch.fft.fft)(signal, length, axis)
    if half:
        found = found.narrow(axis, 0, length // 2 + 1)
    return torch.view_as_real(found)


def short_fourier(call: Call, x: list[Value], a: Attributes) -> Value:
    """The transforms of overlapping frames: (N, T, 1 or 2) to (N, frames, bins, 2)."""
    value, step, shape = tensor(x[0]), int(scalar(x[1])), optional_tensor(x, 2)
    if at(x, 3) is not None:
        length = int(scalar(x[3]))
    else:
        length = int(value.shape[1]) if shape is None else int(shape.shape[0])
    claim([max(0, (value.shape[1] - length) // step + 1), length])
    signal = as_complex(value) if value.dim() == 3 else value
    frames = signal.unfold(1, length, step)
    frames = frames if shape is None else frames * shape
    found = torch.fft.fft(frames)
    return torch.view_as_real(found[..., : length // 2 + 1] if a.get("onesided", 1) else found)


def mel_weights(call: Call, x: list[Value], a: Attributes) -> Value:
    """The matrix (bins of the spectrum, mel bins) of triangles that follow each other on the mel scale."""
    bins, length, rate, low, high = (scalar(v) for v in x[:5])
    rows = int(length) // 2 + 1
    claim([rows, int(bins)])
    bottom, top = (2595 * math.log1p(float(edge) / 700) / math.log(10) for edge in (low, high))
    edges = np.arange(int(bins) + 2) * (top - bottom) / (int(bins) + 2) + bottom
    hertz = 700 * np.expm1(edges / 2595 * math.log(10))
    places = ((int(length) + 1) * hertz // int(rate)).astype(np.int64)
    found = np.zeros((rows, int(bins)))
    for i in range(int(bins)):
        left, centre, right = (int(p) for p in places[i : i + 3])
        if left == centre:
            found[centre, i] = 1
        else:
            found[left : centre + 1, i] = np.arange(centre + 1 - left) / (centre - left)
        if right > centre:
            found[centre:right, i] = (right - np.arange(centre, right)) / (right - centre)
    return found.astype(numpy_dtype(a.get("output_datatype", 1)))


ROWS: Rows = {
    **{name: Row(window, known=(0,)) for name in WINDOWS},
    "DFT": Row(fourier, known=(1, 2)),
    "STFT": Row(short_fourier, known=(1, 3)),
    "MelWeightMatrix": Row(mel_weights, known=(0, 1, 2, 3, 4)),
}
