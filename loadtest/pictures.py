"""A folder of pictures as one array, for a model with one input of N, C, H, W or N, H, W, C, where C is 1 or 3.

They are made as large as the model says. Floating-point inputs get 0 .. 1, others 0 .. 255.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loadtest.target import Tensor

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
MODES = {1: "L", 3: "RGB"}


def pictures(folder: Path, tensor: Tensor) -> npt.NDArray[Any]:
    """All of them, N first; where N is 1, a stack of such arrays.

    Raises ValueError with a sentence, OSError for a picture that cannot be read.
    """
    try:
        from PIL import Image  # noqa: PLC0415 - only for this
    except ImportError:
        raise ValueError(f"{folder}: pictures need Pillow: pip install pillow") from None
    axis, height, width = _axes(folder, tensor)
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{folder} has no pictures ({', '.join(SUFFIXES)})")
    made = []
    for file in files:
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert(MODES[tensor.shape[axis]]).resize((width, height)))
        pixels = pixels.reshape(height, width, -1)
        made.append(pixels.transpose(2, 0, 1) if axis == 1 else pixels)
    values = np.stack(made).astype(tensor.datatype.numpy)
    if tensor.datatype.is_float:
        values = values / tensor.datatype.numpy.type(255)
    return values if tensor.shape[0] == -1 else values[:, np.newaxis]


def _axes(folder: Path, tensor: Tensor) -> tuple[int, int, int]:
    """Where the channels are, height, width."""
    shape = tensor.shape
    if len(shape) == 4 and shape[0] in (-1, 1):
        for axis, height, width in ((1, shape[2], shape[3]), (3, shape[1], shape[2])):
            if shape[axis] in MODES and height > 0 and width > 0:
                return axis, height, width
    expected = "[-1, C, H, W] or [-1, H, W, C] with C of 1 or 3 and fixed H and W"
    raise ValueError(f"{folder}: pictures need an input of shape {expected}, {tensor.name!r} has {list(shape)}")
