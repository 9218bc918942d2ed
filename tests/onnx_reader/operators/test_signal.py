"""Windows, Fourier transforms and the mel scale."""

import numpy as np
import pytest
import torch
from rows import row

torch.manual_seed(0)


@pytest.mark.parametrize(
    ("op", "torchs"),
    [("HannWindow", torch.hann_window), ("BlackmanWindow", torch.blackman_window)],
)
def test_windows_are_torchs(op: str, torchs: object) -> None:
    for periodic in (0, 1):
        wanted = torchs(9, periodic=bool(periodic))  # type: ignore[operator]
        np.testing.assert_allclose(row(op, np.array(9), periodic=periodic), wanted.numpy(), atol=1e-6)


def test_a_transform_and_its_inverse_and_half_of_it() -> None:
    x = torch.randn(2, 8, 1)
    whole = row("DFT", x, axis=1)
    assert whole.shape == (2, 8, 2)
    torch.testing.assert_close(row("DFT", whole, axis=1, inverse=1)[..., :1], x)
    half = row("DFT", x, axis=1, onesided=1)
    torch.testing.assert_close(half, whole[:, :5])
    torch.testing.assert_close(row("DFT", half, axis=1, inverse=1, onesided=1), x)


def test_frames_overlap_by_their_step() -> None:
    x, shape = torch.randn(1, 16), torch.hann_window(8)
    found = row("STFT", x, np.array(4), shape)
    assert found.shape == (1, 3, 5, 2)
    wanted = torch.fft.rfft(x[:, 4:12] * shape)
    torch.testing.assert_close(torch.view_as_complex(found)[:, 1], wanted)


def test_triangles_on_the_mel_scale_overlap_and_do_not_exceed_one() -> None:
    found = row("MelWeightMatrix", *(np.array(v) for v in (8, 256, 16000, 0.0, 8000.0)))
    assert found.shape == (129, 8) and found.min() == 0 and found.max() == pytest.approx(1.0)
    peaks = found.argmax(0)
    assert (np.diff(peaks) > 0).all() and (np.diff(np.diff(peaks)) >= -1).all(), "ever further apart"
