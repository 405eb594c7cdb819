"""Every error that Printworks raises on purpose. `detail` tells the caller what to do next.

PrintworksError
├── BadRequest              the body can't be used; a sentence per field says what to send instead
├── InvalidKey              no such API key
├── NotAllowed              this API key may not do that
├── ModelNotFound           the model id is not registered
├── JobNotFound             no such job, or another tenant's (the caller is not told which)
├── IdempotencyConflict     the Idempotency-Key was used with another body
├── Overloaded              more than is taken at this moment; `retry_after_s` says when to come back
│   ├── TooManyJobs         the tenant has as many open jobs as it may have
│   ├── TooManyRequests     the API key has sent as many requests as it may send in this time
│   ├── QueueFull           the job would wait for too long, or there is no room for it
│   └── TooManyBodies       large requests of unknown callers take all the room that there is for them
├── EntryGone               something that the job would use was deleted while it was accepted
├── UpstreamUnavailable     what we stand on is missing; nothing was accepted
│   ├── LedgerUnavailable   Redis can't be reached
│   │   └── OfAnotherVersion    what it holds was written by a version that this process can't read
│   │       └── UnreadableClaim     that, of a job that was leased to this process
│   └── StorageUnavailable  the storage folder can't be written
├── BadPicture              an input picture that can't be had or read; a sentence says what to send instead
├── RefusedAddress          an outbound URL that points where it may not
├── DownloadFailed          a URL that a client named gave no file; `detail` says why
├── Misconfigured           a setting that can't be served with; the process says so and ends
├── PeerAway                another server does not answer, or nothing that makes sense
├── PeerRefused             another server does not take a job
│   └── PeerFull            for now
├── MakesWay                a GPU worker is to claim nothing now: a suspect needs it to itself
└── GenerationFailed        raised in a GPU worker, stored on the job as its reason
    ├── InputGone           a picture that the job needs is no longer in storage
    └── Cancelled           the job was cancelled, or its lease was lost
"""

from typing import ClassVar


class PrintworksError(Exception):
    """Base of all errors that are meant to be shown; `code` is stable, `detail` is for people."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadRequest(PrintworksError):
    code = "validation_error"


class InvalidKey(PrintworksError):
    code = "invalid_api_key"


class NotAllowed(PrintworksError):
    code = "forbidden"


class ModelNotFound(PrintworksError):
    code = "model_not_found"


class JobNotFound(PrintworksError):
    code = "not_found"


class IdempotencyConflict(PrintworksError):
    code = "idempotency_conflict"


class Overloaded(PrintworksError):
    """Refused for now: the same request may succeed after `retry_after_s`, in whole seconds."""

    code = "rate_limited"

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class TooManyJobs(Overloaded):
    pass


class QueueFull(Overloaded):
    pass


class TooManyRequests(Overloaded):
    pass


class TooManyBodies(Overloaded):
    code = "overloaded"


class EntryGone(PrintworksError):
    code = "entry_gone"


class UpstreamUnavailable(PrintworksError):
    code = "upstream_unavailable"


class LedgerUnavailable(UpstreamUnavailable):
    pass


class OfAnotherVersion(LedgerUnavailable):
    """During an update: another process, or this one a little later, can read it."""


class StorageUnavailable(UpstreamUnavailable):
    pass


class BadPicture(PrintworksError):
    code = "bad_picture"


class RefusedAddress(PrintworksError):
    code = "refused_address"


class DownloadFailed(PrintworksError):
    code = "download_failed"


class Misconfigured(PrintworksError):
    code = "misconfigured"


class PeerAway(PrintworksError):
    code = "peer_away"


class PeerRefused(PrintworksError):
    code = "peer_refused"


class PeerFull(PeerRefused):
    pass


class MakesWay(PrintworksError):
    code = "makes_way"


class GenerationFailed(PrintworksError):
    code = "generation_failed"


class InputGone(GenerationFailed):
    code = "input_gone"


class Cancelled(GenerationFailed):
    code = "cancelled"
