"""stub"""

IP_ADAPTERS = (
    "ip-adapter_sdxl",
    "ip-adapter_sd15",
    "ip-adapter-plus-face_sd15",
    "ip-adapter-plus_sdxl_vit-h",
    "ip-adapter-plus-face_sdxl_vit-h",
)


def installed(folder: object) -> tuple[str, ...]:
    return ()
