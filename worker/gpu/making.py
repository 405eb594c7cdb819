"""Makes what one job asks for and stores it, from its pictures in storage to its files."""

import logging
import time
from collections.abc import Mapping

from shared.errors import Cancelled, GenerationFailed
from shared.jobs import JobSpec, LoadSpec, Outcome, Role
from shared.pictures import read_mask, read_picture
from shared.settings import Settings
from shared.spans import span
from shared.storage import FolderStorage, Stores
from worker.gpu.leases import Hold
from worker.gpu.metrics import JobMetrics
from worker.gpu.models.registered import RegisteredModels
from worker.gpu.studio import Inputs, Studio
from worker.gpu.studio.files import files_of

logger = logging.getLogger(__name__)

STORE_AGAIN_S = 2.0
STORED_LATER = "S3 is away: the links will work when it is back and the files have been stored there."


class Making:
    """What all slots of a worker share to do their jobs."""

    def __init__(
        self,
        settings: Settings,
        studio: Studio,
        models: RegisteredModels,
        *,
        inputs: FolderStorage,
        stores: Stores,
        metrics: JobMetrics,
    ) -> None:
        self._settings = settings
        self._studio = studio
        self._models = models
        self._inputs_folder = inputs
        self._stores = stores
        self._metrics = metrics

    @property
    def loaded_ids(self) -> tuple[str, ...]:
        """Ids of the models that are loaded."""
        return self._studio.library.loaded_ids

    def make(self, hold: Hold) -> Outcome:
        """Raises `GenerationFailed`, `BadPicture`, `Cancelled` or `LedgerUnavailable`. Where to store is
        asked first: Redis may be away later."""
        spec = hold.claim.spec
        if isinstance(spec, LoadSpec):
            raise GenerationFailed("This is no job for a slot.")
        target = self._models.registry.look().targets[spec.target] if spec.target else None
        with self._models.watched(spec, hold.attach):
            made = self._studio.make(spec, self._inputs(spec), hold.attach)
        if made.stepped_at is not None:
            self._metrics.stepped(hold.claim, hold.since_claim_s(made.stepped_at))
        files = dict(zip(spec.file_names, files_of(spec, made), strict=True))
        with span("store"):
            while (kept := self._kept(files, target)) is None:
                if hold.ends_within(STORE_AGAIN_S):
                    raise Cancelled("The job has ended before its pictures could be stored.")
        if all(kept):
            return made.outcome
        return made.outcome.model_copy(update={"tip": f"{made.outcome.tip} {STORED_LATER}".strip()})

    def _kept(self, files: Mapping[str, bytes], target: str | None) -> list[bool] | None:
        """Whether each file can be read now; None if there is no room for them. A full disk is the operator's
        to mend: the pictures wait for it, and the jobs behind them, instead of failing one by one."""
        try:
            return [self._write(name, content, target) for name, content in files.items()]
        except OSError as exc:
            logger.error("pictures not stored yet", extra={"reason": str(exc)})
            return None

    def _write(self, name: str, content: bytes, target: str | None) -> bool:
        """Whether the file can be read now."""
        began = time.monotonic()
        is_stored = self._stores.write(name, content, target)
        if is_stored:
            self._metrics.stored("folder" if target is None else "s3", time.monotonic() - began)
        return is_stored

    def _inputs(self, spec: JobSpec) -> Inputs:
        """As the gateway checked them; raises `InputGone` for one that lay there for too long."""
        readers = {Role.MASK: read_mask}
        return {
            role: readers.get(role, read_picture)(self._inputs_folder.read_input(one.name), self._settings)
            for role, one in spec.inputs.items()
        }
