#!/bin/sh
# Fetches the optional libraries into .venv/extras, for the tests in tests/extras alone. Beside the others they
# would do harm: with a torchvision that does not fit the torch here, transformers can't be imported. onnx is for
# the tests only: they write a detector of faces with it.
set -eu
echo "fetching the optional libraries for the tests (once)" >&2
.venv/bin/python -m pip install --disable-pip-version-check --quiet --upgrade --no-deps --target .venv/extras \
    --constraint constraints.txt torchvision spandrel controlnet_aux einops timm scikit-image lazy_loader tifffile \
    imageio networkx importlib_metadata zipp onnx ml_dtypes >&2
touch .venv/extras/ready
