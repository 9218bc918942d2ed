from __future__ import annotations

import numpy as np
import pytest

from whet.core.errors import StudyError
from whet.search.predictors.transfer import Transfer


def rows(count: int, seed: int, bits: bool) -> tuple[np.ndarray, np.ndarray]:
    """Eight columns of structure and two of bits: quality is a bent function of the structure, less what bits cost."""
    generator = np.random.default_rng(seed)
    x = generator.random((count, 10))
    if not bits:
        x[:, 8:] = 1.0
    structure = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2] + x[:, 3] ** 2 - x[:, 4]
    return x, structure - 0.3 * (1 - x[:, 8]) - 0.2 * (1 - x[:, 9]) * x[:, 0]


def test_full_precision_rows_make_few_quantized_rows_enough() -> None:
    """APQ's point: with as many quantized measurements, the predictor that began in full precision is better."""
    cheap_x, cheap_y = rows(400, 0, bits=False)
    few_x, few_y = rows(40, 1, bits=True)
    new_x, new_y = rows(400, 2, bits=True)
    x, y = np.concatenate([cheap_x, few_x]), np.concatenate([cheap_y, few_y])
    cheap = np.arange(len(x)) < len(cheap_x)
    transferred = Transfer().fit(x, y, cheap).predict(new_x)
    alone = Transfer().fit(few_x, few_y).predict(new_x)
    assert np.abs(transferred - new_y).mean() < 0.7 * np.abs(alone - new_y).mean()


def test_asked_before_it_has_data() -> None:
    with pytest.raises(StudyError, match="before it had data"):
        Transfer().predict(np.zeros((1, 2)))
    with pytest.raises(StudyError, match="no measurement"):
        Transfer().fit(np.zeros((0, 2)), np.zeros(0))
