"""The recurrent language model sees the past alone."""

import torch

from whet.networks.lstm import LSTM


def test_a_character_does_not_change_what_is_said_of_those_before_it() -> None:
    torch.manual_seed(0)
    module = LSTM(20, 16).eval()
    tokens = torch.randint(0, 19, (2, 9))
    other = tokens.clone()
    other[:, 5] = 19
    a, b = module(tokens), module(other)
    assert a.shape == (2, 9, 20)
    assert torch.equal(a[:, :5], b[:, :5]) and not torch.equal(a[:, 5:], b[:, 5:])
