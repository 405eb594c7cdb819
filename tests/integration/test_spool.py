"""Files that wait for S3 on a worker's disk: none is lost, whatever is killed, and none blocks another."""

import contextlib
import itertools
import logging
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.sealing import Sealer
from shared.settings import Settings
from shared.storage import FolderStorage, S3Storages, Spool, Storage, StorageAway, Stores, Uploader
from shared.storage.bucket import Patience
from tests.support.processes import running
from tests.support.s3 import LOCAL, S3Server, running_s3
from tests.support.waiting import wait_until

SECRET_KEY = "a key of the tests"
SEALER = Sealer(Settings(secret_key=SecretStr(SECRET_KEY)))
TARGET = "a sealed target"
PATIENT = Patience(connect_s=5, read_s=30, attempts=1)

KEEP_AND_DIE = """
import sys, uuid
from pathlib import Path
from shared.storage import Spool
from tests.support.killing import killed_at_every_line

folder, told = map(Path, sys.argv[1:])

def keep():
    name = f"{uuid.uuid4()}-0.png"
    Spool(folder).keep(name, name.encode(), "a sealed target")
    with told.open("a") as file:
        file.write(name + "\\n")

print(killed_at_every_line({"shared.storage.spool", "shared.whole_files"}, keep))
"""
UPLOAD_AND_DIE = """
import sys, uuid
from pathlib import Path
from shared.storage import FolderStorage, Spool
from tests.support.killing import killed_at_every_line

folder, told, data_dir = map(Path, sys.argv[1:])

def keep():
    if Spool(folder).waiting() < 2:
        name = f"{uuid.uuid4()}-0.png"
        Spool(folder).keep(name, name.encode(), "a sealed target")
        with told.open("a") as file:
            file.write(name + "\\n")

def upload():
    Spool(folder).upload_all(lambda _: FolderStorage(data_dir, 60))

print(killed_at_every_line({"shared.storage.spool", "shared.whole_files"}, upload, before=keep))
"""
UPLOAD = """
import sys
from pathlib import Path
from pydantic import SecretStr
from shared.sealing import Sealer
from shared.settings import Settings
from shared.storage import S3Storages, Spool

folder, secret_key = sys.argv[1:]
spool, uploaded = Spool(Path(folder)), 0
storages = S3Storages(Sealer(Settings(secret_key=SecretStr(secret_key))), 60, ("127.0.0.1",))
print("ready", flush=True)
while spool.waiting():
    uploaded += spool.upload_all(storages.open).uploaded
print(f"uploaded {uploaded}", flush=True)
"""


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", shortest_pause_s=0.1)


@pytest.fixture
def folder(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "data", temp_life_s=60)


def token_of(s3: S3Server) -> str:
    return s3.target().sealed(SEALER)


def new_name() -> str:
    return f"{uuid.uuid4()}-0.png"


def buckets() -> Callable[[str], Storage]:
    return S3Storages(SEALER, 60, LOCAL, PATIENT).open


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def uploading(spool: Spool, open_storage: Callable[[str], Storage]) -> Iterator[Uploader]:
    uploader = Uploader(spool, open_storage, every_s=0.02)
    uploader.start()
    try:
        yield uploader
    finally:
        uploader.close()


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


class Bucket:
    """An end that refuses some names and remembers the others."""

    def __init__(self, *refused: str, error: Exception | None = None) -> None:
        self.refused, self.error, self.taken = refused, error or StorageAway("EntityTooLarge"), list[str]()

    def open(self, _: str) -> "Bucket":
        return self

    def write(self, name: str, content: bytes) -> None:
        if name in self.refused:
            raise self.error
        self.taken.append(name)


def test_a_file_goes_where_its_job_says(s3: S3Server, spool: Spool, folder: FolderStorage) -> None:
    stores, here, there = Stores(folder, spool, SEALER, LOCAL), new_name(), new_name()

    assert stores.write(here, b"here", None)
    assert stores.write(there, b"there", token_of(s3))

    assert folder.find(here)
    assert not folder.find(there)
    assert s3.contents() == {f"generations/{there}": b"there"}
    assert spool.waiting() == 0


def test_a_file_waits_while_s3_is_away_and_is_uploaded_then(
    s3: S3Server, spool: Spool, folder: FolderStorage, tmp_path: Path
) -> None:
    stores, name = Stores(folder, spool, SEALER, LOCAL), new_name()
    s3.stop()

    assert not stores.write(name, b"content", token_of(s3))

    assert spool.waiting() == 1
    with uploading(spool, buckets()):
        s3.start()
        wait_until(lambda: s3.contents() == {f"generations/{name}": b"content"})
        wait_until(lambda: spool.waiting() == 0)
    assert files(tmp_path / "spool") == []


def test_a_file_that_s3_refuses_for_good_waits_too(s3: S3Server, spool: Spool, folder: FolderStorage) -> None:
    stores, token = Stores(folder, spool, SEALER, LOCAL), token_of(s3)
    s3.rights = frozenset()

    assert not stores.write(new_name(), b"content", token)
    asked = len(s3.actions)
    assert not stores.write(new_name(), b"content", token)

    assert spool.waiting() == 2
    assert len(s3.actions) == asked, "an S3 that was away a moment ago is not waited for again"


def test_a_file_for_a_target_that_cant_be_opened_waits_for_the_key(
    s3: S3Server, spool: Spool, folder: FolderStorage, caplog: pytest.LogCaptureFixture
) -> None:
    without_key, name = Sealer(Settings()), new_name()

    assert not Stores(folder, spool, without_key, LOCAL).write(name, b"content", token_of(s3))
    assert spool.upload_all(S3Storages(without_key, 60, LOCAL).open) == (0, 1)
    assert ["PRINTWORKS_SECRET_KEY" in vars(record)["reason"] for record in caplog.records] == [True]

    assert Spool(spool.folder).upload_all(buckets()) == (1, 0)
    assert s3.contents() == {f"generations/{name}": b"content"}


def test_an_s3_that_is_away_is_asked_less_and_less(spool: Spool) -> None:
    name, asked = new_name(), list[float]()
    spool.keep(name, b"content", TARGET)

    def open_storage(_: str) -> Storage:
        asked.append(time.monotonic())
        return Bucket(name)

    with uploading(spool, open_storage):
        wait_until(lambda: len(asked) == 5)

    pauses_s = [later - earlier for earlier, later in itertools.pairwise(asked)]
    least_s = (0.05, 0.1, 0.2, 0.4)
    assert all(pause >= least for pause, least in zip(pauses_s, least_s, strict=True)), pauses_s


def test_the_oldest_file_is_uploaded_first(spool: Spool) -> None:
    names, bucket = [new_name() for _ in range(5)], Bucket()
    for name in names:
        spool.keep(name, b"content", TARGET)

    assert spool.upload_all(bucket.open) == (5, 0)

    assert bucket.taken == names


def test_a_target_that_is_away_holds_up_no_other(s3: S3Server, spool: Spool) -> None:
    with running_s3() as away:
        tokens = [token_of(away), token_of(s3), token_of(away)]
        away.stop()
    for token in tokens:
        spool.keep(new_name(), b"content", token)

    assert spool.upload_all(buckets()) == (1, 2)

    assert len(s3.contents()) == 1


@pytest.mark.parametrize("error", [StorageAway("EntityTooLarge"), RuntimeError("no idea")], ids=repr)
def test_a_file_that_is_never_taken_holds_up_no_other(spool: Spool, error: Exception) -> None:
    names = [new_name() for _ in range(3)]
    bucket = Bucket(names[0], error=error)
    for name in names:
        spool.keep(name, b"content", TARGET)

    with uploading(spool, bucket.open):
        wait_until(lambda: spool.waiting() == 1)

    assert bucket.taken == names[1:]


def test_the_uploader_tells_how_many_files_wait(spool: Spool) -> None:
    names = [new_name() for _ in range(3)]
    bucket = Bucket(*names[:2])

    with uploading(spool, bucket.open) as uploader:
        for name in names:
            spool.keep(name, b"content", TARGET)
        wait_until(lambda: uploader.waiting == 2 and bucket.taken == names[2:])
        bucket.refused = ()
        wait_until(lambda: uploader.waiting == 0)


@pytest.mark.parametrize(
    "broken", [b"", b"{", b'{"name": "x"}\n', b"\xff\x00\n", b"cut off"], ids=lambda content: repr(content)
)
def test_a_file_that_was_damaged_is_set_aside_and_kept(spool: Spool, tmp_path: Path, broken: bytes) -> None:
    names, bucket = [new_name(), new_name()], Bucket()
    for name in names:
        spool.keep(name, b"content", TARGET)
    first = min((tmp_path / "spool").iterdir())
    damaged = first.read_bytes()[:-1] if broken == b"cut off" else broken
    first.write_bytes(damaged)

    assert spool.upload_all(bucket.open) == (1, 0)

    assert bucket.taken == names[1:]
    (aside,) = (tmp_path / "spool").iterdir()
    assert aside.name == first.with_suffix(".broken").name
    assert aside.read_bytes() == damaged


def test_a_file_is_kept_whole_or_not_at_all_at_whichever_line_its_worker_is_killed(
    spool: Spool, folder: FolderStorage, tmp_path: Path
) -> None:
    told = tmp_path / "told"

    killed = int(run(KEEP_AND_DIE, tmp_path / "spool", told))

    assert killed > 20
    waiting = spool.waiting()
    assert spool.upload_all(lambda _: folder) == (waiting, 0)
    for name in told.read_text().split():
        path = folder.find(name)
        assert path is not None
        assert path.read_bytes() == name.encode()
    assert all(path.read_bytes() == path.name.encode() for path in (tmp_path / "data").rglob("*.png"))


def test_what_killed_workers_left_half_written_is_removed(spool: Spool, tmp_path: Path) -> None:
    half, new = tmp_path / "spool" / ".writing-abc", tmp_path / "spool" / ".writing-def"
    for path in (half, new):
        path.touch()
    os.utime(half, (1, 1))

    assert spool.upload_all(Bucket().open) == (0, 0)

    assert files(tmp_path / "spool") == [new.name]


def test_no_file_is_lost_at_whichever_line_of_its_upload_a_worker_is_killed(
    spool: Spool, folder: FolderStorage, tmp_path: Path
) -> None:
    told = tmp_path / "told"

    killed = int(run(UPLOAD_AND_DIE, tmp_path / "spool", told, tmp_path / "data"))

    assert killed > 20
    spool.upload_all(lambda _: folder)
    assert spool.waiting() == 0
    for name in told.read_text().split():
        path = folder.find(name)
        assert path is not None
        assert path.read_bytes() == name.encode()


def test_a_worker_that_is_killed_in_an_upload_leaves_the_file_to_the_next(
    s3: S3Server, spool: Spool, tmp_path: Path
) -> None:
    name, s3.silence_s = new_name(), 60
    spool.keep(name, b"content", token_of(s3))
    command = [sys.executable, "-c", UPLOAD, str(tmp_path / "spool"), SECRET_KEY]
    with running(command, tmp_path / "log") as worker:
        wait_until(lambda: s3.actions)
        assert spool.upload_all(buckets()) == (0, 1), "what another is just uploading is left to it"

        worker.kill()
        worker.wait(10)

    s3.silence_s = 0
    assert spool.upload_all(buckets()) == (1, 0)
    assert s3.contents() == {f"generations/{name}": b"content"}


def test_two_workers_of_a_machine_share_the_files_between_them(
    s3: S3Server, spool: Spool, tmp_path: Path
) -> None:
    names = [new_name() for _ in range(20)]
    s3.silence_s = 0.02
    command = [sys.executable, "-c", UPLOAD, str(tmp_path / "spool"), SECRET_KEY]
    for name in names:
        spool.keep(name, name.encode(), token_of(s3))

    logs = [tmp_path / "log-0", tmp_path / "log-1"]
    with running(command, logs[0]) as first, running(command, logs[1]) as second:
        assert first.wait(30) == second.wait(30) == 0

    counts = [int(log.read_text().split()[-1]) for log in logs]
    assert sum(counts) == len(names) == s3.actions.count("PutObject")
    assert s3.contents() == {f"generations/{name}": name.encode() for name in names}


def test_an_uploader_says_what_waits_and_never_the_credentials(
    s3: S3Server, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    s3.rights = frozenset()
    spool.keep(new_name(), b"content", token_of(s3))

    with uploading(spool, buckets()):
        wait_until(lambda: any(record.message == "files wait for S3" for record in caplog.records))

    told = [vars(record) for record in caplog.records]
    assert [fields["reason"] for fields in told if "reason" in fields] == ["AccessDenied"]
    assert [fields["waiting"] for fields in told if "waiting" in fields] == [1]
    assert s3.access_key_id not in str(told)
    assert s3.secret_access_key not in str(told)


def test_an_uploader_that_is_closed_ends_after_the_file_at_hand(s3: S3Server, spool: Spool) -> None:
    s3.silence_s, token = 0.2, token_of(s3)
    for _ in range(20):
        spool.keep(new_name(), b"content", token)

    with uploading(spool, buckets()):
        wait_until(lambda: s3.contents())
    left = spool.waiting()

    assert left > 15
    assert spool.waiting() == left
