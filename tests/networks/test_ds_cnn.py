"""DS-CNN: what depthwise separable convolutions save."""

import torch

from whet.networks.ds_cnn import DSCNN


def test_a_block_has_nine_and_c_weights_a_channel_where_a_convolution_has_nine_c() -> None:
    channels, blocks = 64, 4
    module = DSCNN(channels=channels, blocks=blocks)
    separable = sum(p.numel() for p in (*module.depthwise.parameters(), *module.pointwise.parameters()))
    assert separable == blocks * channels * (9 + channels)
    assert all(layer.groups == channels for layer in module.depthwise)


def test_a_second_of_sound_gives_a_score_a_keyword() -> None:
    module = DSCNN(classes=7).eval()
    x = torch.randn(2, 1, 49, 10)
    assert module(x).shape == (2, 7)
    torch.testing.assert_close(module(x)[:1], module(x[:1]), rtol=1e-4, atol=1e-5)
