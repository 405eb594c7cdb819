"""Where files lie: finished ones in a folder that the gateway serves or in a client's S3 bucket, inputs in a
folder."""

from shared.storage.bucket import IN_BACKGROUND
from shared.storage.ends import Storage
from shared.storage.folder import FolderStorage
from shared.storage.names import CONTENT_TYPES, input_name
from shared.storage.s3 import S3Storage, StorageAway
from shared.storage.spool import Spool
from shared.storage.stores import S3Storages, Stores
from shared.storage.target import S3Details, S3Target
from shared.storage.uploader import Uploader

__all__ = [
    "CONTENT_TYPES",
    "IN_BACKGROUND",
    "FolderStorage",
    "S3Details",
    "S3Storage",
    "S3Storages",
    "S3Target",
    "Spool",
    "Storage",
    "StorageAway",
    "Stores",
    "Uploader",
    "input_name",
]
