"""A tiny face enhancer in the real formats: its detector takes red spots for faces.

Needs the libraries that only the tests in tests/extras have.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from spandrel import ImageModelDescriptor
from spandrel.architectures.GFPGAN import GFPGAN, GFPGANArch
from spandrel.architectures.RestoreFormer import RestoreFormer

SIDE = 640
SPOT = 32
"""Pixels of the detector's square: a spot's own side, and the cell that it must fill."""
FACE = 4 * SPOT
"""Of the face that it is taken for, around the spot's middle."""
LANDMARKS = ((-0.5, -0.5), (0.5, -0.5), (0.0, 0.0), (-0.5, 0.5), (0.5, 0.5))
"""From the spot's middle, in spots."""
OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
STRIDES = (8, 16, 32)
RED = np.array([-0.5, -0.5, 1.0], dtype=np.float32)
"""What is red and nothing else, of blue, green and red."""
RING = 5
"""Spots across of what a detector looks at: red at its border means a thing too large to be a face."""


def save_detector(file: Path) -> Path:
    """With YuNet's input and outputs: at each of three strides a map of scores, boxes and landmarks."""
    nodes, weights, outputs = [], [], []
    for stride in STRIDES:
        for kind, channels in OUTPUTS.items():
            name = f"{kind}_{stride}"
            kernel, bias = _layer(kind, stride)
            pad = (kernel.shape[-1] - stride) // 2
            weights += [
                numpy_helper.from_array(kernel, f"{name}_w"),
                numpy_helper.from_array(bias, f"{name}_b"),
            ]
            weights.append(numpy_helper.from_array(np.array([1, -1, channels]), f"{name}_shape"))
            nodes += [
                helper.make_node(
                    "Conv",
                    ["input", f"{name}_w", f"{name}_b"],
                    [f"{name}_map"],
                    kernel_shape=kernel.shape[-2:],
                    strides=[stride, stride],
                    pads=[pad] * 4,
                ),
                helper.make_node(
                    "Sigmoid" if kind in ("cls", "obj") else "Identity", [f"{name}_map"], [f"{name}_level"]
                ),
                helper.make_node("Transpose", [f"{name}_level"], [f"{name}_last"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_last", f"{name}_shape"], [name]),
            ]
            places = (SIDE // stride) ** 2
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, places, channels]))
    square = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "spots", [square], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))
    return file


def _layer(kind: str, stride: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel and bias. Only the coarsest map ever finds anything."""
    channels = OUTPUTS[kind]
    kernel = np.zeros((channels, 3, stride, stride), dtype=np.float32)
    if kind == "bbox":
        return kernel, np.array([0.5, 0.5, *[np.log(FACE / SPOT)] * 2], dtype=np.float32)
    if kind == "kps":
        return kernel, np.array(LANDMARKS, dtype=np.float32).ravel() + 0.5
    if stride == SPOT:
        kernel = np.zeros((1, 3, RING * SPOT, RING * SPOT), dtype=np.float32)
        share = RED[:, None, None] / SPOT**2 / 5
        kernel[0] -= share
        kernel[0, :, SPOT:-SPOT, SPOT:-SPOT] = 0
        kernel[0, :, 2 * SPOT : 3 * SPOT, 2 * SPOT : 3 * SPOT] = share
    return kernel, np.full(channels, -30, dtype=np.float32)


def save_restorer(file: Path, seed: int = 0) -> Path:
    """A random RestoreFormer, as narrow as its norms allow."""
    torch.manual_seed(seed)
    network = RestoreFormer(n_embed=8, embed_dim=32, ch=32, ch_mult=(1,) * 6, num_res_blocks=1, z_channels=32)
    save_file({name: weight.contiguous() for name, weight in network.state_dict().items()}, file)
    return file


def gfpgan(seed: int = 0) -> Any:
    """A random GFPGAN, an eighth as wide, as spandrel would have loaded it; its files are read at full width
    only."""
    torch.manual_seed(seed)
    network = GFPGAN(narrow=0.125, channel_multiplier=1, num_style_feat=64).eval()
    for name, weight in network.named_parameters():
        if name.endswith("weight") and weight.numel() == 1:
            torch.nn.init.constant_(weight, 0.5)  # of the noise: zero in a new network
    return ImageModelDescriptor(
        network,
        network.state_dict(),
        architecture=GFPGANArch(),
        purpose="FaceSR",
        tags=[],
        supports_half=False,
        supports_bfloat16=True,
        scale=1,
        input_channels=3,
        output_channels=3,
    )
