"""Searches on recorded learning curves: the schedulers of a search with a made-up clock.

It stands beside the benchmarks because what comes of it is a table about whet's own schedule; `whet.testing` holds what
checks methods.
"""
