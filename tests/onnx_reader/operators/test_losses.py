"""The losses that are operators: from logits or from log-probabilities, weighted, with labels that do not count."""

import torch
from rows import row, t

torch.manual_seed(0)
LOGITS, LABELS = torch.randn(4, 3), t([0, 2, 1, 1], dtype=torch.int64)


def test_from_logits_it_is_the_likelihood_of_their_log_softmax() -> None:
    loss, logs = row("SoftmaxCrossEntropyLoss", LOGITS, LABELS, outputs=2)
    torch.testing.assert_close(logs, torch.log_softmax(LOGITS, 1))
    torch.testing.assert_close(loss, -logs[torch.arange(4), LABELS].mean())
    torch.testing.assert_close(row("NegativeLogLikelihoodLoss", logs, LABELS), loss)


def test_the_mean_is_over_the_weights_of_labels_that_count() -> None:
    weight, logs = t([1.0, 2.0, 4.0]), torch.log_softmax(LOGITS, 1)
    found = row("NegativeLogLikelihoodLoss", logs, LABELS, weight, ignore_index=1)
    wanted = -(logs[0, 0] * 1 + logs[1, 2] * 4) / 5
    torch.testing.assert_close(found, wanted)
    each = row("NegativeLogLikelihoodLoss", logs, LABELS, weight, ignore_index=1, reduction="none")
    assert each[2:].tolist() == [0, 0]
