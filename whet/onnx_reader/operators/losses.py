"""Rows of the losses that the standard has as operators."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from whet.onnx_reader.table import Attributes, Call, Row, Rows
from whet.onnx_reader.values import Value, optional_tensor, tensor


def likelihood(call: Call, x: list[Value], a: Attributes) -> Value:
    """-log p of each label, weighted by class and reduced; from logits in `SoftmaxCrossEntropyLoss`."""
    value, labels, weight = tensor(x[0]), tensor(x[1]).to(torch.int64), optional_tensor(x, 2)
    logs = value if call.op.startswith("Negative") else torch.log_softmax(value, 1)
    ignored, how = a.get("ignore_index", -100), a.get("reduction", "mean")
    loss = F.nll_loss(logs, labels, weight, ignore_index=ignored, reduction=how)
    return (loss, logs) if call.outputs > 1 else loss


ROWS: Rows = {
    "NegativeLogLikelihoodLoss": Row(likelihood),
    "SoftmaxCrossEntropyLoss": Row(likelihood),
}
