"""IP-Adapters by the protocol's names, and where an operator's folder has them: it is laid out like h94's
public repository. Knows nothing of what is in the files.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class IpAdapterFiles:
    """Paths inside the folder."""

    weights: str
    image_encoder: str
    """A folder; several adapters share one."""
    is_xl: bool


_VIT_H, _VIT_BIG_G = "models/image_encoder", "sdxl_models/image_encoder"

IP_ADAPTERS = {
    "ip-adapter_sdxl": IpAdapterFiles("sdxl_models/ip-adapter_sdxl.safetensors", _VIT_BIG_G, is_xl=True),
    "ip-adapter_sd15": IpAdapterFiles("models/ip-adapter_sd15.safetensors", _VIT_H, is_xl=False),
    "ip-adapter-plus-face_sd15": IpAdapterFiles(
        "models/ip-adapter-plus-face_sd15.safetensors", _VIT_H, is_xl=False
    ),
    "ip-adapter-plus_sdxl_vit-h": IpAdapterFiles(
        "sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors", _VIT_H, is_xl=True
    ),
    "ip-adapter-plus-face_sdxl_vit-h": IpAdapterFiles(
        "sdxl_models/ip-adapter-plus-face_sdxl_vit-h.safetensors", _VIT_H, is_xl=True
    ),
}
"""The values of `ip_adapter_id`."""


def installed(folder: Path) -> tuple[str, ...]:
    """Which of them the folder has, image encoder included."""
    return tuple(
        adapter_id
        for adapter_id, files in IP_ADAPTERS.items()
        if (folder / files.weights).is_file() and (folder / files.image_encoder / "config.json").is_file()
    )


def not_installed(adapter_id: str) -> str:
    """What a client is told who asked for one whose files are not here."""
    return f"IP-Adapter {adapter_id} lacks files on this server: its weights or its image encoder."


def of_another_family(adapter_id: str) -> str:
    """What a client is told who asked for one that is made for other models than the one of the job."""
    is_xl = IP_ADAPTERS[adapter_id].is_xl
    fitting = ", ".join(each for each, files in IP_ADAPTERS.items() if files.is_xl != is_xl)
    made_for = "is for SDXL; this model is not" if is_xl else "is not for SDXL; this model is"
    return f"IP-Adapter {adapter_id} {made_for}: send one of {fitting}."
