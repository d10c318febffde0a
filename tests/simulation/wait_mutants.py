"""Bugs of waits for events, which the simulation must catch; see `tests.simulation.mutants`."""

from unittest.mock import patch

from msgspec.structs import replace

from stream_engine.core.routing.offering import LaneOffers, Scan
from stream_engine.core.stages import awaiting, finish, run
from stream_engine.core.waits import fitting, offers
from stream_engine.core.waits.interests import PLACE_BYTES, Interests
from tests.simulation.mutant import Mutant
from tests.simulation.worker import Parts


class HastyLane(LaneOffers):
    """Commits that requests have been answered as soon as it has heard of them."""

    def learn(self, interests: Interests, position: int) -> Scan | None:
        """Be done at once."""
        scan = super().learn(interests, position)
        self.done = interests.read
        return scan


class ForgetfulLane(LaneOffers):
    """Offers what it routes from now on, and says that it has offered what came before."""

    def learn(self, interests: Interests, position: int) -> Scan | None:
        """Scan nothing."""
        scan = super().learn(interests, position)
        if scan is not None:
            self._scan = replace(scan, stop=0)
        return self._scan if scan is not None else None


class DeafLane(LaneOffers):
    """Takes only the requests that are there when it begins."""

    def learn(self, interests: Interests, position: int) -> Scan | None:
        """Hear of nothing new."""
        return super().learn(interests, position) if not self.interests.requests else None


WAIT_MUTANTS = (
    Mutant("a lane commits what it has not scanned", parts=Parts(lane=HastyLane)),
    Mutant("a lane scans nothing", parts=Parts(lane=ForgetfulLane)),
    Mutant("a lane hears of nothing new", parts=Parts(lane=DeafLane)),
    Mutant(
        "a run that is loaded again forgets what it has had",
        [patch.object(run, "taken_by", lambda step: "")],
        noticed_by=97,
    ),
    Mutant("a wait sees what was before its run", [patch.object(awaiting, "place", lambda event: bytes(PLACE_BYTES))]),
    Mutant(
        "a replayed run has what the original run sent that is run again",
        [patch.object(fitting, "_is_seen", lambda turn, asked, sender: sender.replay_id in {None, asked.replay_id})],
    ),
    Mutant("what is held is never released", [patch.object(offers, "release", lambda turn, command: None)]),
    Mutant("who ends withdraws nothing", [patch.object(finish, "withdraw_cancellers", lambda turn, run_id, run: None)]),
)
