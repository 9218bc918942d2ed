"""Small data sets as users have them, written to a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

PLAY = "Tell me, O Muse, of that ingenious hero\nwho travelled far and wide\nafter he had sacked the famous town\n"


def write_digits(folder: Path, count: int = 200, splits: tuple[str, ...] = ("",)) -> Path:
    """Write handwritten digits as grey 8x8 images, in a folder for each digit, in turn below each split."""
    table = load_digits()
    for row in range(count):
        place = folder / splits[row % len(splits)] / f"digit{table.target[row]}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((table.images[row] * 15.9375).astype(np.uint8)).save(place / f"{row}.png")
    return folder


def write_table(path: Path, name: str = "cancer") -> Path:
    """Write one of scikit-learn's tables: `cancer` has two classes, `diabetes` numbers, in the column `target`."""
    frame = {"cancer": load_breast_cancer, "diabetes": load_diabetes}[name](as_frame=True).frame
    (frame.to_parquet if path.suffix == ".parquet" else frame.to_csv)(path, index=False)
    return path


def write_tones(folder: Path, each: int = 6, samples: int = 200, rate: int = 8000) -> Path:
    """Write tones of two pitches as 16-bit WAV files, those of a class in a folder."""
    from scipy.io import wavfile

    for name, pitch in (("high", 880), ("low", 220)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            wave = 0.5 * np.sin(2 * np.pi * pitch * np.arange(samples) / rate + number)
            wavfile.write(folder / name / f"{number}.wav", rate, (wave * 32767).astype(np.int16))
    return folder


def write_tokenizer(path: Path, text: str = PLAY) -> Path:
    """Write a tokenizer whose tokens are the characters of a text, in their order."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    characters = sorted(set(text))
    made = Tokenizer(models.WordLevel({c: n for n, c in enumerate(characters)}, unk_token=characters[0]))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.save(str(path))
    return path


def write_lines(path: Path, records: list[object]) -> Path:
    """Write JSON lines; text stays as it is."""
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records), encoding="utf-8")
    return path
