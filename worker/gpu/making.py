"""Makes what one job asks for and stores it, from its pictures in storage to its files."""

import logging

from shared.errors import GenerationFailed
from shared.jobs import JobSpec, LoadSpec, Outcome, Role
from shared.pictures import read_mask, read_picture
from shared.settings import Settings
from shared.storage import FolderStorage, Stores
from worker.gpu.leases import Hold
from worker.gpu.models.registered import RegisteredModels
from worker.gpu.studio import Inputs, Studio
from worker.gpu.studio.files import files_of

logger = logging.getLogger(__name__)

NOT_STORED = "The pictures could not be stored on the server."
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
    ) -> None:
        self._settings = settings
        self._studio = studio
        self._models = models
        self._inputs_folder = inputs
        self._stores = stores

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
        files = zip(spec.file_names, files_of(spec, made), strict=True)
        try:
            is_there = [self._stores.write(name, content, target) for name, content in files]
        except OSError as exc:
            logger.exception("pictures not stored", extra={"job_id": hold.claim.job_id})
            raise GenerationFailed(NOT_STORED) from exc
        if all(is_there):
            return made.outcome
        return made.outcome.model_copy(update={"tip": f"{made.outcome.tip} {STORED_LATER}".strip()})

    def _inputs(self, spec: JobSpec) -> Inputs:
        """As the gateway checked them; raises `InputGone` for one that lay there for too long."""
        readers = {Role.MASK: read_mask}
        return {
            role: readers.get(role, read_picture)(self._inputs_folder.read_input(one.name), self._settings)
            for role, one in spec.inputs.items()
        }
