"""What a client is told about optional models that this installation lacks."""

from shared.registry import ModelKind, Snapshot
from shared.settings import Settings

NO_TRANSLATOR = (
    "multi_lingual needs a translation model, and none is installed on this server: send the prompt in "
    "English with multi_lingual no, or ask the operator to install a model of the kind translator."
)
NO_CHECKER = (
    "No safety checker is installed on this server, and it makes no unchecked pictures for requests that ask "
    "for one: send safety_checker no, or ask the operator to install a model of the kind safety."
)
NOTHING_TO_CHECK_WITH = (
    "No safety checker is installed on this server: ask the operator to install a model of the kind safety."
)
NO_UPSCALER = (
    "No upscaler is installed on this server: ask the operator to install a model of the kind upscaler."
)
NO_FACE_ENHANCER = (
    "face_enhance needs a face restoration model, and none is installed on this server: send face_enhance "
    "false, or ask the operator to install a model of the kind face."
)
UNCHECKED = "No safety checker is installed on this server: the pictures were not checked."
NOT_ENLARGED = "No upscaler is installed on this server: the pictures were enlarged by Lanczos."


def missing_checker(settings: Settings, here: Snapshot) -> str | None:
    """The sentence for a request that wants its pictures checked, if they can't be and must."""
    is_needed = settings.require_safety_checker and here.default(ModelKind.SAFETY) is None
    return NO_CHECKER if is_needed else None
