"""From an image to the network input: scale, normalise, pad, as the test pipeline of the model does.

OpenCV's bilinear scaling of bytes is written out in its own fixed-point arithmetic, so that an input here is the input
that the model was tested with, to the last bit, without OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from glipv2_mmdet.export.runtime.settings import Settings

#: Bits after the binary point of OpenCV's weights.
WEIGHT_BITS = 11


def read_image(image: np.ndarray | str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, from a file (which needs pillow) or checked as it is.

    Raises:
        ImportError: a file was given, and pillow is not installed.
        ValueError: an array of another kind, or a file that is no image.
    """
    if isinstance(image, (str, Path)):
        # arrays need no pillow
        from glipv2_mmdet.image_reading import read_rgb

        return read_rgb(image)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f'{image.dtype} {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(
            f'An image of kind {got} was given. Expected a uint8 array (height, width, 3) in RGB order, '
            'or the path of an image file.'
        )
    if 0 in image.shape:
        raise ValueError(f'The image has shape {image.shape}. Expected at least one pixel.')
    return image


def network_input(image: np.ndarray, settings: Settings) -> tuple[np.ndarray, tuple[int, int]]:
    """(1, 3, H', W') float32, and (height, width) of the image in it, without the padding."""
    height, width = scaled_size(image.shape[:2], settings.resize, settings.resize_rounds)
    if (height, width) != image.shape[:2]:
        image = scale(image, height, width, settings.resize_with)
    if settings.channel_order == 'bgr':
        image = image[..., ::-1]
    pixels = (image.astype(np.float32) - np.float32(settings.mean)) / np.float32(settings.std)
    divisor = settings.pad_divisor
    pixels = np.pad(pixels, ((0, -height % divisor), (0, -width % divisor), (0, 0)))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]), (height, width)


def scaled_size(size: Sequence[int], limits: Sequence[int] | None, rounds: bool = True) -> tuple[int, int]:
    """(height, width) as large as both limits allow, the shape kept; sides are rounded, or cut off."""
    height, width = size
    if limits is None:
        return height, width
    factor = min(max(limits) / max(height, width), min(limits) / min(height, width))
    offset = 0.5 if rounds else 0.0
    return int(height * factor + offset), int(width * factor + offset)


def scale(image: np.ndarray, height: int, width: int, how: str) -> np.ndarray:
    """Bilinear scaling of (H, W, 3) uint8 by ``'pillow'``, which averages when it shrinks, or as ``'cv2'`` does it."""
    if how == 'pillow':
        from PIL import Image

        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    left, weight_left, weight_right = _neighbours(image.shape[1], width)
    outside = (left < 0) | (left >= image.shape[1] - 1)
    weight_left[outside], weight_right[outside] = 1 << WEIGHT_BITS, 0  # OpenCV does so in rows only
    left, right = left.clip(0, image.shape[1] - 1), (left + 1).clip(0, image.shape[1] - 1)
    pixels = image.astype(np.int32)
    rows = pixels[:, left] * weight_left[None, :, None] + pixels[:, right] * weight_right[None, :, None]

    top, weight_top, weight_bottom = _neighbours(image.shape[0], height)
    top, bottom = top.clip(0, image.shape[0] - 1), (top + 1).clip(0, image.shape[0] - 1)
    upper = (weight_top[:, None, None] * (rows[top] >> 4)) >> 16
    lower = (weight_bottom[:, None, None] * (rows[bottom] >> 4)) >> 16
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def _neighbours(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each new position: the old one before it, and the fixed-point weights of that and of the next."""
    place = ((np.arange(new_size) + 0.5) * (size / new_size) - 0.5).astype(np.float32)
    before = np.floor(place)
    share = place - before
    one = np.float32(1 << WEIGHT_BITS)
    return (before.astype(np.int64), np.rint((1 - share) * one).astype(np.int32), np.rint(share * one).astype(np.int32))
