"""One job that a peer makes, while this gateway holds its lease."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum, auto

from api.balancing.wire import Told
from shared.jobs import JobState
from shared.ledger import Claim, Held

UNKNOWN_THERE = "it does not know the job any more"


class How(Enum):
    """Why a job is not carried any longer."""

    MADE = auto()
    NOT_MADE = auto()
    """The peer says that it failed, or was cancelled there: this server tries it itself."""
    GONE = auto()
    """The peer can't be relied on: another server may make it."""
    CANCELLED = auto()
    """By the client."""
    LOST = auto()
    """The lease."""
    CLOSING = auto()
    """This gateway ends; another may take it up again."""


@dataclass(frozen=True)
class End:
    how: How
    reason: str = ""
    told: Told | None = None


@dataclass
class Carried:
    """It ends once, in whatever way comes first."""

    claim: Claim
    progress: float = 0.0
    is_lost: bool = False
    """The lease: whatever comes now is too late."""
    remote_id: int | None = None
    """The job's id at the peer, once it has it."""
    ended: asyncio.Future[End] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def held(self) -> Held:
        return Held(self.claim.job_id, self.claim.token, self.progress)

    def end(self, how: How, reason: str = "", told: Told | None = None) -> None:
        if not self.ended.done():
            self.ended.set_result(End(how, reason, told))

    def lose(self) -> None:
        self.is_lost = True
        self.end(How.LOST)

    def hear(self, told: Told | None) -> None:
        """What the peer says of it; None: nothing, although it was asked."""
        if told is None:
            self.end(How.GONE, UNKNOWN_THERE)
        elif told.state is JobState.SUCCEEDED:
            self.end(How.MADE, told=told)
        elif told.state.is_terminal:
            self.end(How.NOT_MADE, told.outcome.reason if told.outcome else told.state)
        else:
            self.progress = told.progress
