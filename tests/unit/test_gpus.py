"""Which GPUs a launcher gives to its workers."""

from pathlib import Path

import pytest

from deploy.gpus import chosen_gpus, gpus, listed
from shared.errors import Misconfigured

TWO = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb)
"""
SPLIT = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-cccc)
  MIG 3g.20gb     Device  1: (UUID: MIG-dddd)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the driver's tool says of this machine is in this file; here, of two GPUs."""
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n/bin/cat {tmp_path}/listing\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    listing = tmp_path / "listing"
    listing.write_text(TWO)
    return listing


def test_a_gpu_has_its_number_and_its_uuid_and_the_parts_of_a_split_one_theirs() -> None:
    assert listed(TWO) == [("0", "GPU-aaaa"), ("1", "GPU-bbbb")]
    assert listed(SPLIT) == [("MIG-cccc",), ("MIG-dddd",), ("1", "GPU-bbbb")]
    assert listed("") == []


def test_all_gpus_are_used_where_none_is_chosen(driver: Path) -> None:
    assert (gpus(), chosen_gpus("")) == (["0", "1"], ["0", "1"])

    driver.write_text(SPLIT)

    assert chosen_gpus(" ") == ["MIG-cccc", "MIG-dddd", "1"]


def test_a_machine_without_a_driver_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    assert gpus() == []
    with pytest.raises(Misconfigured, match=r"GPU 0 is not there: this machine has none\."):
        chosen_gpus("0")


def test_gpus_are_chosen_by_any_of_their_names(driver: Path) -> None:
    driver.write_text(SPLIT)

    assert chosen_gpus("1,MIG-dddd") == ["1", "MIG-dddd"]
    assert chosen_gpus("GPU-bbbb") == ["GPU-bbbb"]


@pytest.mark.parametrize("asked", ["1,1", "1,GPU-bbbb"], ids=["the same name", "another name"])
def test_a_gpu_that_is_named_twice_is_refused(driver: Path, asked: str) -> None:
    with pytest.raises(Misconfigured, match="named twice"):
        chosen_gpus(asked)


def test_a_gpu_that_is_not_there_is_refused_by_name(driver: Path) -> None:
    with pytest.raises(Misconfigured, match=r"GPU 7, 8 is not there: this machine has 0, 1\."):
        chosen_gpus("0,7,8")


def test_what_cuda_visible_devices_hides_is_not_there(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")

    assert chosen_gpus("") == ["1"]
    with pytest.raises(Misconfigured, match=r"GPU 0 is not there: CUDA_VISIBLE_DEVICES names 1\."):
        chosen_gpus("0")


@pytest.mark.parametrize("said", ["No devices were found", ""], ids=["with a reason", "without one"])
def test_a_driver_that_does_not_work_is_no_machine_without_gpus(
    driver: Path, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (driver.parent / "nvidia-smi").write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 6\n")

    for asked in (gpus, lambda: chosen_gpus(""), lambda: chosen_gpus("0")):
        with pytest.raises(Misconfigured, match=f"list this machine's GPUs: {said or 'status 6'}\n"):
            asked()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert (gpus(), chosen_gpus("")) == ([], [])
