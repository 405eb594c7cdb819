"""A client's S3 bucket as `update_s3` names it: checked, and sealed wherever it is kept."""

import json
import re
import uuid
from collections.abc import Collection
from typing import Self

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from shared.addresses import look_up
from shared.errors import BadRequest, Misconfigured, RefusedAddress
from shared.outbound import require_url
from shared.sealing import Sealer
from shared.storage.endpoint import Endpoint, endpoint_of

DEFAULT_REGION = "us-east-1"
_PLACES = uuid.UUID("a3c1d3f0-0b0e-4b55-9f0e-7d1a3e6c2b90")
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
_CREDENTIAL = re.compile(r"[!-~]{1,256}")
_FOLDER_PART = re.compile(r"[A-Za-z0-9_.-]+")
_LONGEST_FOLDER = 200
_SECRETS = ("access_key_id", "secret_access_key")
_CHECKED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)


class S3Details(BaseModel):
    """What the wire sends, under its names."""

    model_config = _CHECKED

    endpoint_url: str
    """Of the bucket: `https://BUCKET.s3.REGION.amazonaws.com` or `https://HOST/BUCKET`."""
    region_name: str = ""
    aws_access_key_id: SecretStr
    aws_secret_access_key: SecretStr
    image_directory: str = ""
    """Folder in the bucket."""
    public_url: str = ""
    """Under which the image_directory can be read; empty: links are signed, and end."""
    bucket: str = ""
    """Where the endpoint does not hold it."""


class S3Target(BaseModel):
    """A bucket, a folder in it, and the right to write there."""

    model_config = _CHECKED

    endpoint_url: str
    """Without the bucket."""
    region_name: str
    bucket: str
    image_directory: str
    """Without slashes at its ends; may be empty."""
    public_url: str
    """Empty: the objects are not public, so links are signed."""
    access_key_id: SecretStr
    secret_access_key: SecretStr
    path_style: bool

    @classmethod
    def given(cls, details: S3Details, allowed_private_hosts: Collection[str]) -> Self:
        """Checks all that can be known without S3. Raises `BadRequest`; looks the host up, so it may take
        seconds."""
        address = details.endpoint_url.strip()
        require_url("endpoint_url", address, allowed_private_hosts)
        endpoint = endpoint_of(address, details.bucket.strip())
        _check_host(endpoint, allowed_private_hosts)
        return cls(
            endpoint_url=endpoint.url,
            region_name=_region(details.region_name.strip()),
            bucket=endpoint.bucket,
            image_directory=_folder(details.image_directory.strip()),
            public_url=_public_url(details.public_url.strip(), allowed_private_hosts),
            access_key_id=_credential("aws_access_key_id", details.aws_access_key_id),
            secret_access_key=_credential("aws_secret_access_key", details.aws_secret_access_key),
            path_style=endpoint.path_style,
        )

    @property
    def files_url(self) -> str:
        """A file's link is this, a slash and its name; empty if links are signed."""
        return self.public_url.rstrip("/")

    def entry_id(self, deploy_type: str) -> str:
        """Of its entry in the registry: the same for the same place, so that credentials can be replaced
        under the links that lead there."""
        place = (deploy_type, self.endpoint_url, self.bucket, self.image_directory, self.public_url)
        return f"s3-{uuid.uuid5(_PLACES, json.dumps(place))}"

    def key(self, name: str) -> str:
        """The object's, for a file's name."""
        return f"{self.image_directory}/{name}" if self.image_directory else name

    def sealed(self, sealer: Sealer) -> str:
        """As it may be kept. Raises `BadRequest` if the operator has set no key to seal with."""
        secrets = {name: getattr(self, name).get_secret_value() for name in _SECRETS}
        return sealer.seal(json.dumps(self.model_dump(exclude=set(_SECRETS)) | secrets))

    @classmethod
    def unsealed(cls, token: str, sealer: Sealer) -> Self:
        """What `sealed` gave. Raises `Misconfigured` if it can't be opened here."""
        try:
            return cls.model_validate_json(sealer.open(token))
        except ValidationError:
            raise Misconfigured("A stored S3 target can't be read: send update_s3 again.") from None


def _check_host(endpoint: Endpoint, allowed_private_hosts: Collection[str]) -> None:
    """Before anything is tried there; it is checked again at each connection (shared/storage/guarded.py)."""
    if endpoint.host in allowed_private_hosts:
        return
    try:
        look_up(endpoint.host, 443, allowed_private_hosts)
    except RefusedAddress as exc:
        raise BadRequest(f"endpoint_url {exc.detail}") from None
    except OSError:
        raise BadRequest(
            f"endpoint_url: there is no host {endpoint.host!r}; see that the bucket's name in it is right"
        ) from None


def _public_url(address: str, allowed_private_hosts: Collection[str]) -> str:
    if not address:
        return ""
    require_url("public_url", address, allowed_private_hosts)
    if "?" in address or "#" in address:
        raise BadRequest("public_url must be a URL that a file's name can be appended to, without ? and #")
    return address


def _region(name: str) -> str:
    if name and not _REGION.fullmatch(name):
        raise BadRequest(f"region_name must be a region's name, such as {DEFAULT_REGION}")
    return name or DEFAULT_REGION


def _folder(path: str) -> str:
    folder = path.strip("/")
    if len(folder) > _LONGEST_FOLDER or not all(map(_is_folder_part, folder.split("/") if folder else ())):
        raise BadRequest(
            "image_directory must be a folder's name, such as generations or our/pictures: letters, digits "
            f"and -_. only, {_LONGEST_FOLDER} characters at most"
        )
    return folder


def _is_folder_part(part: str) -> bool:
    return _FOLDER_PART.fullmatch(part) is not None and part.strip(".") != ""


def _credential(field: str, value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    if not _CREDENTIAL.fullmatch(text):
        raise BadRequest(f"{field} must be sent as the S3 service gave it, without spaces")
    return SecretStr(text)
