"""The body and the answer of `upload_image`."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from api.wire.requests.body import one_of
from shared.answers import Body
from shared.pictures import FileFormat

_FORMATS: dict[str, FileFormat] = {"png": "PNG", "jpeg": "JPEG", "jpg": "JPEG"}


class UploadImage(BaseModel):
    """Body of `upload_image`."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    base64_image: str
    """The picture in base64, bare or as a `data:` URI."""
    image_type: Annotated[str, StringConstraints(to_lower=True), one_of(*_FORMATS)]
    """`png`, `jpeg` or `jpg`: what the stored file will be. A picture in another format is converted."""

    @property
    def file_format(self) -> FileFormat:
        return _FORMATS[self.image_type]


def upload_answer(image_url: str) -> Body:
    return {"status": "success", "message": "image uploaded", "image_url": image_url}
