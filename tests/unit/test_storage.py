"""The storage folder: whole files or none, and only under our own names."""

import os
from pathlib import Path

import pytest

from shared.storage import FolderStorage
from tests.support.jobs import make_spec


def test_a_file_is_found_only_once_it_is_written(tmp_path: Path) -> None:
    storage, name = FolderStorage(tmp_path, 60), make_spec().file_names[0]
    assert storage.find(name) is None

    storage.write(name, b"pixels")

    path = storage.find(name)
    assert path is not None
    assert path.read_bytes() == b"pixels"
    assert [entry for entry in path.parent.iterdir() if entry.is_file()] == [path]


@pytest.mark.parametrize("name", ["../../etc/passwd", "x.png", "", ".writing-abc", "a" * 36 + "-0.exe"])
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


def test_only_temporary_files_end(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path, temp_life_s=60)
    kept, temporary = make_spec().file_names[0], make_spec(temp=True).file_names[0]
    for name in (kept, temporary):
        storage.write(name, b"pixels")
        path = storage.find(name)
        assert path is not None
        os.utime(path, (1, 1))

    assert storage.find(temporary) is None
    assert storage.remove_expired() == 1
    assert storage.find(kept) is not None
    assert not (tmp_path / "generations" / temporary).exists()
