"""In which number format and memory layout models run: the one place where that is chosen."""

from dataclasses import dataclass

import torch

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Precision:
    """`channels_last` suits convolutions on tensor cores; on CPUs it gains nothing here."""

    device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format

    @classmethod
    def choose(cls, device: str, dtype: str) -> "Precision":
        """`auto`: the GPU that this process can see, else the CPU; fp16 on a GPU, fp32 on a CPU."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        on_gpu = device.startswith("cuda")
        chosen = DTYPES["fp16" if on_gpu else "fp32"] if dtype == "auto" else DTYPES[dtype]
        layout = torch.channels_last if on_gpu else torch.contiguous_format
        return cls(torch.device(device), chosen, layout)

    def vae_dtype(self, *, force_upcast: bool) -> torch.dtype:
        """SDXL's autoencoder overflows in fp16 and says so in its config."""
        return torch.float32 if force_upcast and self.dtype is torch.float16 else self.dtype


def bytes_of(*modules: torch.nn.Module) -> int:
    return sum(p.numel() * p.element_size() for module in modules for p in module.parameters())
