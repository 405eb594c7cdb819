"""The tests of what the extras `esrgan` and `preprocessors` bring.

They run in a process of their own, because these libraries import torchvision, and its mere presence changes
what transformers imports.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import torch

_OPERATORS = re.compile(r'register_meta\("(\w+)"\)|"torchvision::(\w+)"')


def _declare_native_operators() -> torch.library.Library:
    """Where torchvision is built for another torch (the registry has none for CPU builds), its native
    operators are missing, and it can't be imported. Declared without code they let the rest of it work:
    nothing that is tested here calls one."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    spec = find_spec("torchvision")
    assert spec is not None, "run `make test`: it fetches the optional libraries"
    assert spec.origin is not None
    source = (Path(spec.origin).parent / "_meta_registrations.py").read_text()
    for name in sorted({either for pair in _OPERATORS.findall(source) for either in pair if either}):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor x) -> Tensor")
    return library


_LIBRARY = _declare_native_operators()
