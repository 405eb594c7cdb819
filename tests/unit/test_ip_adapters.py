"""Which IP-Adapters a folder has, and what a client is told who asks for another."""

from pathlib import Path

import pytest

from shared.ip_adapters import IP_ADAPTERS, installed, not_installed, of_another_family


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_an_adapter_is_installed_with_its_weights_and_its_image_encoder(tmp_path: Path) -> None:
    put(tmp_path, "models/ip-adapter_sd15.safetensors", "models/image_encoder/config.json")
    put(tmp_path, "sdxl_models/ip-adapter_sdxl.safetensors")  # its encoder is another one, and is not here
    put(tmp_path, "sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors")

    assert installed(tmp_path) == ("ip-adapter_sd15", "ip-adapter-plus_sdxl_vit-h")


def test_a_folder_without_its_files_has_none_and_the_sentence_says_what_lacks(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert installed(folder) == ()
    assert "weights or its image encoder" in not_installed("ip-adapter_sd15")


@pytest.mark.parametrize("adapter_id", IP_ADAPTERS)
def test_who_asks_for_one_of_another_family_is_told_those_of_the_models(adapter_id: str) -> None:
    told, _, fitting = of_another_family(adapter_id).partition(": send one of ")

    assert adapter_id in told
    assert {IP_ADAPTERS[each].is_xl for each in fitting.rstrip(".").split(", ")} == {
        not IP_ADAPTERS[adapter_id].is_xl
    }
