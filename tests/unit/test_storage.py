"""The storage folder: whole files or none, and only under our own names."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from shared.errors import InputGone
from shared.jobs import Role
from shared.storage import CONTENT_TYPES, FolderStorage, input_name
from tests.support.jobs import make_spec

A_PREFIX = "6acf249e-7aa7-4281-9640-a7f5a3086a04"
WRITE_TOO_MUCH = f"""
import resource, sys
from functools import partial
from pathlib import Path
from shared.storage import FolderStorage, Spool

folder = Path(sys.argv[1])
storage, spool, content = FolderStorage(folder, 60), Spool(folder / "spool"), bytes(200_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for write in (
    partial(storage.write, "{A_PREFIX}-0.png", content),
    partial(storage.write_input, "{A_PREFIX}-init", content),
    partial(spool.keep, "{A_PREFIX}-0.png", content, "a sealed target"),
):
    try:
        write()
    except OSError as exc:
        print(exc)
"""


def test_a_file_is_found_only_once_it_is_written(tmp_path: Path) -> None:
    storage, name = FolderStorage(tmp_path, 60), make_spec().file_names[0]
    assert storage.find(name) is None

    storage.write(name, b"pixels")

    path = storage.find(name)
    assert path is not None
    assert path.read_bytes() == b"pixels"
    assert [entry for entry in path.parent.iterdir() if entry.is_file()] == [path]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "x.png", "", ".writing-abc", "a" * 36 + "-0.exe", f"{A_PREFIX}-init"]
)
def test_a_name_that_is_not_ours_is_neither_found_nor_written(tmp_path: Path, name: str) -> None:
    storage = FolderStorage(tmp_path, 60)

    assert storage.find(name) is None
    with pytest.raises(ValueError, match="not a name of ours"):
        storage.write(name, b"")


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    storage, name = FolderStorage(tmp_path, 60), make_spec().file_names[0]

    with pytest.raises(TypeError):
        storage.write(name, "not bytes")  # type: ignore[arg-type]

    assert [entry for entry in (tmp_path / "generations").rglob("*") if entry.is_file()] == []


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_none_behind(tmp_path: Path) -> None:
    """In a process of its own that may write no large file: what it meets is what a full disk gives."""
    command = [sys.executable, "-c", WRITE_TOO_MUCH, str(tmp_path)]

    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    errors = told.splitlines()
    assert len(errors) == 3
    for error, folder in zip(errors, ("generations", "inputs", "spool"), strict=True):
        assert f"File too large: '{tmp_path / folder}" in error
    assert [entry for entry in tmp_path.rglob("*") if entry.is_file()] == []


def test_only_temporary_files_end(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path, temp_life_s=60)
    kept, temporary = make_spec().file_names[0], make_spec(temp=True).file_names[0]
    for name in (kept, temporary):
        storage.write(name, b"pixels")
        path = storage.find(name)
        assert path is not None
        os.utime(path, (1, 1))

    assert storage.find(temporary) is None
    assert storage.remove_expired(60) == 1
    assert storage.find(kept) is not None
    assert not (tmp_path / "generations" / temporary).exists()


@pytest.mark.parametrize("suffix", CONTENT_TYPES)
def test_every_kind_of_file_has_names_of_both_dialects(tmp_path: Path, suffix: str) -> None:
    storage, prefix = FolderStorage(tmp_path, 60), uuid.uuid4()

    for name in (f"{prefix}-0{suffix}", f"0-{prefix}{suffix}", f"temp/{prefix}-3{suffix}"):
        storage.write(name, b"content")

        path = storage.find(name)
        assert path is not None
        assert path.suffix == suffix


def test_an_input_is_read_as_it_was_written_until_its_job_drops_it(tmp_path: Path) -> None:
    storage, mine, other = FolderStorage(tmp_path, 60), str(uuid.uuid4()), str(uuid.uuid4())
    for prefix in (mine, other):
        for role in Role:
            storage.write_input(input_name(prefix, role), role.encode())

    storage.drop_inputs(mine)
    storage.drop_inputs(mine)

    for role in Role:
        assert storage.read_input(input_name(other, role)) == role.encode()
        with pytest.raises(InputGone, match="send the request again"):
            storage.read_input(input_name(mine, role))


def test_inputs_are_no_finished_files(tmp_path: Path) -> None:
    storage, name = FolderStorage(tmp_path, 60), input_name(str(uuid.uuid4()), Role.INIT)
    storage.write_input(name, b"pixels")

    assert storage.find(name) is None
    assert storage.find(f"../inputs/{name}") is None
    assert [path.parent.name for path in tmp_path.rglob(name)] == ["inputs"]


@pytest.mark.parametrize(
    "name",
    ["", "init", "../x-init", f"{A_PREFIX}-other", f"{A_PREFIX}-init.png", f"{A_PREFIX}-0"],
)
def test_an_input_under_another_name_is_neither_read_nor_written(tmp_path: Path, name: str) -> None:
    storage = FolderStorage(tmp_path, 60)

    with pytest.raises(ValueError, match="not a name of ours"):
        storage.write_input(name, b"")
    with pytest.raises(ValueError, match="not a name of ours"):
        storage.read_input(name)


def test_old_inputs_and_what_was_half_written_are_removed(tmp_path: Path) -> None:
    storage, old, new = FolderStorage(tmp_path, 60), str(uuid.uuid4()), str(uuid.uuid4())
    for prefix in (old, new):
        storage.write_input(input_name(prefix, Role.MASK), b"pixels")
    half = tmp_path / "inputs" / ".writing-abc"
    half.touch()
    for path in (half, tmp_path / "inputs" / f"{old}-mask"):
        os.utime(path, (1, 1))

    assert storage.remove_expired(input_life_s=3600) == 2
    assert [path.name for path in (tmp_path / "inputs").iterdir()] == [f"{new}-mask"]
