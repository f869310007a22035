"""Encoded images → pixels, by OpenCV for usual files and by Pillow for the rest, by the rules of ``image_reading``.

mmcv's data loading decodes with OpenCV unless a config says otherwise. Where both decode alike, OpenCV is used here
too, so that a path given to the inferencer and the data loader of an evaluation give the same pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

from glipv2_mmdet.image_reading import ImageInputError, head_of, open_image, rgb_of, turned

#: What OpenCV and Pillow decode alike.
_OPENCV_FORMATS, _OPENCV_MODES = ('JPEG', 'MPO', 'PNG', 'WEBP', 'BMP'), ('1', 'L', 'LA', 'P', 'RGB', 'RGBA')


def decode_rgb(content: bytes, source: str, backend: str | None = 'cv2') -> np.ndarray:
    """Decode an encoded image.

    Args:
        content: of a file.
        source: name for messages.
        backend: ``imdecode_backend`` of the pipeline: 'cv2' decodes usual 8-bit files with OpenCV; with any other,
            Pillow decodes all files.

    Returns:
        (H, W, 3) uint8 RGB, upright.

    Raises:
        ImageInputError: it is no image, or has too many pixels.
    """
    with open_image(content, source) as image:
        head = head_of(image)
        if backend == 'cv2' and head.format in _OPENCV_FORMATS and head.mode in _OPENCV_MODES:
            pixels = _by_opencv(content, source)
            if pixels is not None:
                return turned(pixels, head.orientation)
        return rgb_of(image, source)


def _by_opencv(content: bytes, source: str) -> np.ndarray | None:
    """(H, W, 3) RGB as stored; of a file that is cut off, what is there. None: OpenCV cannot read it."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise ImageInputError(f'"{source}" cannot be read as an image: {error}') from error
    return None if bgr is None or bgr.ndim != 3 else bgr[..., ::-1]
