"""The schedulers of a search, in the order in which they have their turn."""

from __future__ import annotations

from whet.schedule.actions import Actions
from whet.schedule.alone import Alone
from whet.schedule.beliefs import Beliefs
from whet.schedule.exploring import Exploring
from whet.schedule.mending import Mending
from whet.schedule.pressing import Pressing
from whet.schedule.rounds import Rounds
from whet.schedule.settling import Settling
from whet.schedule.situation import Situation
from whet.schedule.together import Together


def stages(situation: Situation, elastic: bool) -> list[Actions[None]]:
    """Return what presses, what explores, what trains in earnest and what settles layers.

    `elastic` trains candidates together.
    """
    mending = Mending(situation)
    beliefs = Beliefs(situation, mending)
    pace = Together(situation, mending, beliefs) if elastic else Alone(situation, mending)
    explorer = Exploring(situation, mending, beliefs, pace)
    return [Pressing(situation).run(), explorer.run(), Rounds(situation, explorer).run(), Settling(situation).run()]
