"""The network of the digits: blocks that add to what they are given."""

import torch

from whet.networks.digits_cnn import DigitsBlock, DigitsCNN, digits_cnn


def test_a_block_whose_branch_is_zero_is_a_relu() -> None:
    block, x = DigitsBlock(4).eval(), torch.randn(2, 4, 8, 8)
    torch.nn.init.zeros_(block.conv2.weight)
    torch.testing.assert_close(block(x), torch.relu(x))


def test_the_second_stage_is_half_as_large_and_twice_as_wide() -> None:
    module = digits_cnn().eval()
    seen = []
    module.stage2.register_forward_hook(lambda layer, given, out: seen.append(tuple(out.shape)))
    assert module(torch.randn(3, 1, 8, 8)).shape == (3, 10) and seen == [(3, 64, 4, 4)]
    small = DigitsCNN(8, 1)
    assert len(small.stage1) == len(small.stage2) == 1 and small.head.in_features == 16
