"""A cluster that is gone ends the search, whatever Ray raises for it; Ray itself is made up here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from whet.core.errors import WorkersError
from whet.flow.failures import ends_the_run
from whet.workers.crew import Crew
from whet.workers.where import Where


class RaySystemError(Exception):
    pass


class RpcError(Exception):
    pass


def crew_whose_cluster_raises(error: Exception) -> Any:
    def fails(*given: Any) -> Any:
        raise error

    team = Crew.__new__(Crew)
    team.ray = SimpleNamespace(
        nodes=fails, exceptions=SimpleNamespace(RaySystemError=RaySystemError, RpcError=RpcError)
    )
    team.place, team.number, team.jobs = Where(None, "ray://head:10001"), 0, []
    return team


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("gone"), RaySystemError("gone"), RpcError("gone"),
        ValueError("Cannot invoke RPC on closed channel!"),
        type("InactiveRpcError", (Exception,), {"__module__": "grpc._channel"})("gone"), ConnectionError(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_head_that_is_gone_ends_the_search_and_fails_no_candidate(error: Exception) -> None:
    team = crew_whose_cluster_raises(error)
    for ask in (team.size, lambda: team.give(None), lambda: team.beside):
        with pytest.raises(WorkersError, match=r"ray://head:10001 are lost: .*the same command goes on") as told:
            ask()
        assert ends_the_run(told.value)


def test_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(ValueError, match=r"^no number$"):
        crew_whose_cluster_raises(ValueError("no number")).size()
