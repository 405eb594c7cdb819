"""Every error that Printworks raises on purpose. `detail` tells the caller what to do next.

PrintworksError
├── BadRequest              the body can't be used; a sentence per field says what to send instead
├── InvalidKey              no such API key
├── NotAllowed              this API key may not do that
├── ModelNotFound           the model id is not registered
├── JobNotFound             no such job, or another tenant's (the caller is not told which)
├── IdempotencyConflict     the Idempotency-Key was used with another body
├── LedgerUnavailable       Redis can't be reached; nothing was accepted
├── RefusedAddress          an outbound URL that points where it may not
├── Misconfigured           a setting that can't be served with; the process says so and ends
└── GenerationFailed        raised in a GPU worker, stored on the job as its reason
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


class LedgerUnavailable(PrintworksError):
    code = "upstream_unavailable"


class RefusedAddress(PrintworksError):
    code = "refused_address"


class Misconfigured(PrintworksError):
    code = "misconfigured"


class GenerationFailed(PrintworksError):
    code = "generation_failed"


class Cancelled(GenerationFailed):
    code = "cancelled"
