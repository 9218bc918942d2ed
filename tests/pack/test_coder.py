"""What is decoded is what was encoded, in about the bits that its contexts allow."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from packable import laplace

from whet.core.errors import ArtifactError
from whet.pack.coder import Decoder, Encoder, Estimator, PackError, Tables, entropy_bits, integers, run, run_bytes
from whet.pack.contexts import Coding, Layout, row_steps, steps_of

ALPHABET = integers(128)


def coded(weights: np.ndarray, coding: Coding, tables: Tables | None = None) -> tuple[bytes, Encoder, Any]:
    layout = Layout(weights.shape[0], weights.shape[1], int(np.prod(weights.shape[2:])))
    symbols = weights.reshape(weights.shape[0], -1).astype(np.int32) + 128
    amounts = ALPHABET.amounts[symbols]
    coding = coding._replace(mean=int(steps_of(np.array([amounts.mean()]))[0]))
    steps = row_steps(amounts) if coding.rows else None
    encoder = Encoder(tables or Tables())
    run(encoder, layout, ALPHABET, coding, steps, symbols)
    estimator = Estimator(Tables())
    run(estimator, layout, ALPHABET, coding, steps, symbols)
    return encoder.payload(), encoder, (layout, coding, symbols, estimator.bits)


@pytest.mark.parametrize("coding", [Coding(0), Coding(0, True), Coding(0, False, True), Coding(0, True, True, True)])
def test_the_decoder_comes_to_the_same_weights(coding: Coding) -> None:
    weights = laplace(24, 12, 3, 3)
    payload, encoder, (layout, coding, symbols, bits) = coded(weights, coding)
    decoder = Decoder(Tables(), payload, "a file")
    assert (run(decoder, layout, ALPHABET, coding, None, None) == symbols).all()
    decoder.finish()
    assert bits / 8 <= len(payload) <= bits / 8 + 12
    own = encoder.tables.counts()
    assert entropy_bits(own, own) < bits


def test_contexts_save_what_the_amounts_of_columns_tell() -> None:
    weights = laplace(256, 256)
    blind, told = (coded(weights, Coding(0, columns=known))[2][3] for known in (False, True))
    assert told < 0.95 * blind


def test_a_kernel_of_one_sign_costs_fewer_signs() -> None:
    draw = np.random.default_rng(0)
    signs = np.where(draw.random((32, 32, 1, 1)) < 0.5, -1, 1)
    weights = (signs * draw.integers(1, 9, (32, 32, 3, 3))).astype(np.int8)
    blind, told = (coded(weights, Coding(0, kernel=known))[2][3] for known in (False, True))
    assert told < blind - 0.7 * weights.size * 8 / 9


def test_of_many_weights_little_is_lost_to_learning() -> None:
    payload, encoder, _ = coded(laplace(256, 256), Coding(0, columns=True))
    own = encoder.tables.counts()
    assert len(payload) * 8 < 1.03 * entropy_bits(own, own)


def test_later_matrices_profit_from_earlier_ones() -> None:
    first, second = laplace(64, 32) // 4 * 4, laplace(64, 32, seed=1) // 4 * 4
    _, encoder, _ = coded(first, Coding(0, columns=True))
    alone, after = coded(second, Coding(0, columns=True))[0], coded(second, Coding(0, columns=True), encoder.tables)[0]
    assert len(after) < len(alone) - 20


def test_bytes_come_back_and_what_is_left_over_is_damage() -> None:
    plane = np.random.default_rng(0).integers(0, 4, 10000).astype(np.uint8)
    encoder = Encoder(Tables())
    run_bytes(encoder, 0, len(plane), plane)
    payload = encoder.payload()
    assert len(payload) < len(plane) / 4 * 1.08
    decoder = Decoder(Tables(), payload, "a file")
    assert (run_bytes(decoder, 0, len(plane), None) == plane).all()
    decoder = Decoder(Tables(), payload, "a file")
    run_bytes(decoder, 0, 100, None)
    with pytest.raises(ArtifactError, match="a file: more is coded"):
        decoder.finish()
    with pytest.raises(ArtifactError, match="no coded stream"):
        Decoder(Tables(), payload[:-1], "a file")


def test_without_constriction_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(PackError, match="pip install constriction"):
        Encoder(Tables())
