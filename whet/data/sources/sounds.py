"""A folder of sounds (WAV) by class."""

from __future__ import annotations

import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whet.core.errors import TaskError
from whet.data.sources.by_class import files_by_class, without
from whet.data.sources.pictures import settings_of
from whet.data.sources.source import SOUNDS, Bad, Data, Options, Part
from whet.data.sources.splits import divided


class Sounds:
    """WAV files in a folder for each class, which may lie below train, val and test.

    Samples are floats in [-1, 1], the mean of the channels, cut or filled with zeros to one length: `--size`, or that
    of the files. A size such as 1x16000 says that the network takes (batch, 1, samples).
    """

    def load(self, path: Path, options: Options) -> Data:
        files = files_by_class(path, SOUNDS, options, "WAV files")
        waves: dict[str, tuple[int, np.ndarray[Any, Any]]] = {}
        bad = Bad("sounds")
        for one in (one for several in files.paths.values() for one in several):
            try:
                waves[str(one)] = read(one)
            except Exception as error:  # SciPy's reader raises whatever comes up in it
                bad.found[str(one)] = str(error).splitlines()[0] if str(error) else type(error).__name__
        rate = _rate({name: rate for name, (rate, _) in waves.items()}, options, bad)
        files = without(files, bad, options)
        shape = _shape([len(wave) for name, (_, wave) in waves.items() if name not in bad.found], options)
        wanted = settings_of(options.beside).get("do_normalize", False)
        fit = partial(fitted, shape=shape, normalized=wanted)
        given = {
            split: Part(
                {"input_values": torch.stack([fit(waves[str(one)][1]) for one in several])}, files.labels[split]
            )
            for split, several in files.paths.items()
            if several
        }
        parts, splits = divided(given, options, by_class=True, names=files.classes)
        notes = (*files.notes, f"{rate} samples a second, {shape[-1] / rate:g} s each, values in [-1, 1]")
        samples = tuple(f"{one.relative_to(path)}: {len(waves[str(one)][1]) / rate:g} s" for one in files.first())
        return Data("sounds by class", parts, "classes", splits, files.classes, notes, samples)


def read(path: Path) -> tuple[int, np.ndarray[Any, Any]]:
    """Return the samples a second of a WAV file and its samples in [-1, 1], shape (samples,), channels averaged."""
    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # chunks that are no sound
        rate, wave = wavfile.read(path)
    if not wave.size:
        raise ValueError("no samples")
    floats = wave.astype(np.float32)
    if wave.dtype.kind in "iu":
        half = float(2 ** (8 * wave.dtype.itemsize - 1))
        floats = floats / half - (1.0 if wave.dtype.kind == "u" else 0.0)
    return int(rate), floats.mean(1) if floats.ndim == 2 else floats


def fitted(wave: np.ndarray[Any, Any], shape: tuple[int, ...], normalized: bool) -> Tensor:
    """Return a sound, shape (samples,), in another shape whose last length it is cut or filled up to."""
    if normalized:
        wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    length = shape[-1]
    padded = np.pad(wave[:length], (0, max(0, length - len(wave)))).astype(np.float32)
    return torch.from_numpy(padded).reshape(shape)


def _rate(rates: dict[str, int], options: Options, bad: Bad) -> int:
    """Return the samples a second; files of another rate are bad, for another rate is another pitch."""
    if not rates:
        bad.settle(options, 0)
    wanted = settings_of(options.beside).get("sampling_rate") or Counter(rates.values()).most_common(1)[0][0]
    bad.found |= {name: f"{rate} samples a second, not {wanted}" for name, rate in rates.items() if rate != wanted}
    return int(wanted)


def _shape(lengths: list[int], options: Options) -> tuple[int, ...]:
    if options.size:
        return options.size
    if len(set(lengths)) > 1:
        raise TaskError(
            f"the sounds have {min(lengths)} to {max(lengths)} samples: say how many the network takes, "
            f"--size {max(lengths)}."
        )
    return (lengths[0],)
