"""The operator table: one row an operator of ONNX, by its name; those of `com.microsoft` have that before it.

Rows stand in files by theme. `REFUSED` says why an operator has none.
"""

from __future__ import annotations

from whet.onnx_reader.operators import (
    activations,
    attention,
    casts,
    control,
    convolution,
    create,
    detection,
    elementwise,
    index,
    losses,
    matrices,
    norms,
    pooling,
    quantized,
    recurrent,
    reduce,
    resize,
    sampling,
    sequence,
    shape,
    signal,
)
from whet.onnx_reader.table import Rows

TABLE: Rows = {
    **elementwise.ROWS,
    **activations.ROWS,
    **casts.ROWS,
    **reduce.ROWS,
    **shape.ROWS,
    **create.ROWS,
    **index.ROWS,
    **matrices.ROWS,
    **convolution.ROWS,
    **pooling.ROWS,
    **norms.ROWS,
    **resize.ROWS,
    **sampling.ROWS,
    **signal.ROWS,
    **recurrent.ROWS,
    **attention.ROWS,
    **detection.ROWS,
    **losses.ROWS,
    **quantized.ROWS,
    **sequence.ROWS,
    **control.ROWS,
}

RANDOM = "it is random, and a network that is measured must give the same result twice"
STRINGS = "it works on strings, which no tensor holds"
TRAINING = "it trains"

REFUSED: dict[str, str] = {
    **dict.fromkeys(
        ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"), RANDOM
    ),
    **dict.fromkeys(("StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch"), STRINGS),
    "TfIdfVectorizer": "it counts n-grams, for which torch has nothing",
    "ImageDecoder": "it decodes compressed images, which torch does not",
    **dict.fromkeys(("Adagrad", "Adam", "Gradient", "Momentum"), TRAINING),
}
"""Operators of the standard that are not read, and why."""
