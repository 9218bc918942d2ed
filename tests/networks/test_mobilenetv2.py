"""MobileNetV2 has the parameters of the paper's table, and channels in multiples of eight."""

import pytest
import torch

from whet.networks.mobilenetv2 import InvertedResidual, MobileNetV2, _rounded


def test_the_full_network_has_three_and_a_half_million_parameters() -> None:
    with torch.device("meta"):
        module = MobileNetV2()
    assert sum(p.numel() for p in module.parameters()) == 3_504_872  # the paper says 3.4M


@pytest.mark.parametrize(("channels", "rounded"), [(3.0, 8), (12.0, 16), (17.0, 16), (18.0, 24), (11.2, 16)])
def test_channels_are_multiples_of_eight_never_more_than_a_tenth_below(channels: float, rounded: int) -> None:
    assert _rounded(channels) == rounded and rounded >= 0.9 * channels


def test_small_images_keep_their_size_longer() -> None:
    with torch.device("meta"):
        for size, left in ((32, 4), (224, 7)):
            module = MobileNetV2(10, 0.5, size).eval()
            assert module.features(torch.empty(1, 3, size, size)).shape[2:] == (left, left)


def test_a_block_adds_its_input_where_the_shape_allows_it() -> None:
    x = torch.randn(2, 8, 6, 6)
    same, wider, strided = (InvertedResidual(8, out, stride, 6).eval() for out, stride in ((8, 1), (16, 1), (8, 2)))
    torch.testing.assert_close(same(x), x + same.conv(x))
    assert wider(x).shape == (2, 16, 6, 6) and strided(x).shape == (2, 8, 3, 3)
    assert len(InvertedResidual(8, 8, 1, 1).conv) == len(same.conv) - 3, "nothing is expanded by one"
