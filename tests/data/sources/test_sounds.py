from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from own_files import write_tones
from scipy.io import wavfile

from whet.core.errors import TaskError
from whet.data.sources import Options, understood
from whet.data.sources.sounds import fitted, read


def test_sounds_are_floats_with_the_class_of_their_folder(tmp_path: Path) -> None:
    data = understood(write_tones(tmp_path, each=10))
    assert data.classes == ("high", "low") and [len(part) for part in data.parts.values()] == [16, 2, 2]
    part = data.parts["train"]
    waves, labels = part.inputs["input_values"][:], part.targets
    assert labels is not None and waves.shape == (16, 200) and 0.49 < float(waves.abs().max()) <= 0.5
    strongest = torch.fft.rfft(waves).abs().argmax(1) * 8000 / 200
    assert torch.equal((strongest > 500).long(), 1 - labels), "high tones are class 0"


def test_kinds_of_samples_and_channels(tmp_path: Path) -> None:
    for kind, values in ((np.uint8, [0, 128, 255]), (np.int16, [-32768, 0, 32767]), (np.float32, [-1, 0, 1])):
        wavfile.write(tmp_path / "a.wav", 100, np.array(values, kind))
        rate, wave = read(tmp_path / "a.wav")
        assert rate == 100 and np.allclose(wave, [-1, 0, 1], atol=0.01), kind
    wavfile.write(tmp_path / "a.wav", 100, np.array([[-1, 1], [1, 0.5]], np.float32))
    assert read(tmp_path / "a.wav")[1].tolist() == [0, 0.75]


def test_lengths_are_cut_or_filled_up_to_the_one_that_is_named(tmp_path: Path) -> None:
    write_tones(tmp_path)
    write_tones(tmp_path / "low", 1, 150)  # files further down count too
    with pytest.raises(TaskError, match=r"150 to 200 samples.*--size 200"):
        understood(tmp_path)
    data = understood(tmp_path, Options(size=(1, 180)))
    assert data.parts["train"].inputs["input_values"][:].shape[1:] == (1, 180)
    assert fitted(np.array([1.0, 3.0]), (3,), False).tolist() == [1, 3, 0]
    assert fitted(np.array([1.0, 3.0]), (2,), True).tolist() == pytest.approx([-1, 1], abs=1e-4)


def test_other_rates_and_broken_files_are_named(tmp_path: Path) -> None:
    write_tones(tmp_path)
    wavfile.write(tmp_path / "low" / "slow.wav", 4000, np.zeros(200, np.int16))
    (tmp_path / "low" / "text.wav").write_text("text")
    with pytest.raises(TaskError, match=r"2 sounds .*text.wav.*slow.wav \(4000 samples a second, not 8000\)"):
        understood(tmp_path)
    assert sum(map(len, understood(tmp_path, Options(skip_bad=True)).parts.values())) == 12
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 16000}))
    with pytest.raises(TaskError, match="not 16000"):
        understood(tmp_path, Options(beside=tmp_path))
