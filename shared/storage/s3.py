"""Finished files in a client's bucket, at any service that speaks S3.

Says that S3 is away; what becomes of a file then is not decided here (see stores.py).
"""

import contextlib
import uuid
from collections.abc import Collection, Iterator

from shared.errors import BadRequest
from shared.jobs import TEMP_FOLDER
from shared.storage.bucket import DURING_A_JOB, S3_ERRORS, Bucket, Patience
from shared.storage.folder import GRACE_SHARE
from shared.storage.names import CONTENT_TYPES, FINISHED, checked
from shared.storage.refusals import code_of, not_s3, sentence_about
from shared.storage.target import S3Target

_KEPT = "public, max-age=31536000, immutable"
_TRIAL = "printworks-check-"


class StorageAway(OSError):
    """S3 did not do what it was asked; `reason` is its code or the kind of failure, and holds no secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"S3 is away: {reason}")
        self.reason = reason


class S3Storage:
    """Files under the image directory of one bucket. Safe to share between threads."""

    def __init__(
        self,
        target: S3Target,
        temp_life_s: float,
        allowed_private_hosts: Collection[str],
        patience: Patience = DURING_A_JOB,
    ) -> None:
        """Files of `temp: yes` end `temp_life_s` after they were written, if somebody removes them then."""
        self._target = target
        self._temp_life_s = temp_life_s
        self._bucket = Bucket(target, patience, allowed_private_hosts)

    def write(self, name: str, content: bytes) -> None:
        """Replace the file `name`. Raises `StorageAway`."""
        suffix = "." + checked(name, FINISHED).rpartition(".")[2]
        temporary = f"public, max-age={int(self._temp_life_s)}"
        headers = {
            "ContentType": CONTENT_TYPES[suffix],
            "CacheControl": temporary if name.startswith(TEMP_FOLDER) else _KEPT,
        }
        with _answering():
            self._bucket.put(self._target.key(name), content, headers)

    def presigned(self, name: str, seconds: float, *, head: bool = False) -> str:
        """A link by which anyone can read the file until it ends, in a week at the latest. `head`: one for
        HEAD alone; others are for GET alone."""
        return self._bucket.link(self._target.key(checked(name, FINISHED)), seconds, head=head)

    def remove_expired(self, now: float) -> int:
        """Delete the temporary files whose time is over `now` (Unix seconds); tells how many. Raises
        `StorageAway`, also if S3 refuses to delete."""
        folder, removed = self._target.key(""), 0
        last = now - self._temp_life_s * (1 + GRACE_SHARE)
        with _answering():
            for page in self._bucket.listed(folder + TEMP_FOLDER):
                expired = [
                    key
                    for key, written in page
                    if written <= last and FINISHED.fullmatch(key.removeprefix(folder))
                ]
                refused = self._bucket.delete(expired) if expired else []
                if refused:
                    raise StorageAway(refused[0])
                removed += len(expired)
        return removed

    def check(self) -> tuple[str, ...]:
        """Write, read and delete an object; sentences about what is not there but can be done without. Raises
        `BadRequest` with what to change if the bucket can't be used."""
        key = self._target.key(f"{_TRIAL}{uuid.uuid4()}")
        content = key.encode()
        with self._explaining("write"):
            is_public = self._bucket.put(key, content, {"ContentType": "text/plain"})
        try:
            with self._explaining("read"):
                found = self._bucket.get(key)
        finally:
            can_delete = self._can_delete(key)
        if found != content:
            raise BadRequest(not_s3(self._target))
        return tuple(self._tips(is_public, can_delete))

    def close(self) -> None:
        self._bucket.close()

    def _can_delete(self, key: str) -> bool:
        """Also whether it can be found out what to delete."""
        try:
            next(self._bucket.listed(self._target.key(TEMP_FOLDER)), None)
            return not self._bucket.delete([key])
        except S3_ERRORS:
            return False

    def _tips(self, is_public: bool, can_delete: bool) -> Iterator[str]:
        if not can_delete:
            yield (
                "These credentials may not list and delete objects (s3:ListBucket, s3:DeleteObject), so "
                "temporary files stay: give the bucket a lifecycle rule for "
                f"{self._target.key(TEMP_FOLDER)} and delete {self._target.key(_TRIAL)}... by hand."
            )
        if self._target.public_url and not is_public:
            yield (
                "The bucket takes no public ACLs: see to it that public_url can read its objects by a bucket "
                "policy or a CDN."
            )

    @contextlib.contextmanager
    def _explaining(self, what: str) -> Iterator[None]:
        try:
            yield
        except S3_ERRORS as exc:
            raise BadRequest(sentence_about(exc, what, self._target)) from None


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except S3_ERRORS as exc:
        raise StorageAway(code_of(exc)) from None
