"""The page of a forecast of latencies is made of its figures."""

from whet.bench.latency import markdown

RECORD = {
    "network": "cnn", "sub_networks": 12, "setting": "openvino/bf16/2", "fastest_share": 0.25, "slowest_share": 0.987,
    "median_error": 0.0312, "percentile_95_error": 0.2, "device": {"cpu": "EPYC"},
}  # fmt: skip


def test_every_figure_stands_in_the_text() -> None:
    text = markdown(RECORD)
    for part in (
        "12 random sub-networks",
        "`openvino/bf16/2`",
        "0.25 to 0.99",
        "median 3.1%",
        "percentile 20.0%",
        "EPYC",
    ):
        assert part in text
    assert markdown({**RECORD, "device": {"board": 1}}).rstrip().endswith("Device: {'board': 1}.")
