"""The one image reader: what a file, encoded bytes or a Pillow image look like as upright 8-bit RGB.

Inferencer, command line, demo, ONNX runner, own data, converters and checks all decide here:

* orientation: images are turned as their EXIF tag says, sizes are those of the turned image;
* depth: of 16 bits the upper 8 are taken; 32-bit integers and floats are read where they are from 0 to 255 (integers
  also from 0 to 65,535, as 16 bits), and refused otherwise;
* transparency is dropped, palettes are resolved, of animations the first frame is taken;
* size: the header is read before a pixel is decoded; more pixels than Pillow allows (179 million, twice
  ``PIL.Image.MAX_IMAGE_PIXELS``) are refused.

It needs numpy and Pillow only: ``glipv2 export`` copies it beside a model.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

#: What Pillow's decoders raise.
BROKEN = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    struct.error,
)

ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: Modes that Pillow converts to RGB by way of another one only.
_BETWEEN = {'La': 'LA', 'RGBa': 'RGBA', 'PA': 'RGBA'}


class ImageInputError(ValueError):
    """Something that is no image; the text names it and what was expected."""


@dataclass(frozen=True)
class ImageHead:
    """What the header of a file says.

    Attributes:
        width, height: of the upright image, pixels.
        orientation: EXIF orientation by which stored pixels have to be turned, 1 to 8.
        mode: of Pillow, such as 'RGB' or 'I;16'.
        format: of Pillow, such as 'JPEG'.
    """

    width: int
    height: int
    orientation: int
    mode: str
    format: str

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return self.width, self.height


def read_head(image: str | Path | bytes, source: str | None = None) -> ImageHead:
    """Size, orientation and mode, without decoding a pixel.

    Args:
        image: path of a file, or its content.
        source: name for messages; by default the path.

    Raises:
        FileNotFoundError: there is no such file.
        ImageInputError: no regular file, no image, or more pixels than Pillow allows.
    """
    with open_image(image, source) as opened:
        return head_of(opened)


def read_rgb(image: str | Path | bytes, source: str | None = None) -> np.ndarray:
    """(H, W, 3) uint8 RGB, upright; arguments and errors as in :func:`read_head`."""
    with open_image(image, source) as opened:
        return rgb_of(opened, _name(image, source))


def open_image(
    image: str | Path | bytes, source: str | None = None, formats: tuple[str, ...] | None = None
) -> Image.Image:
    """A Pillow image whose header is read and within the limit; arguments and errors as in :func:`read_head`.

    Args:
        image: path of a file, or its content.
        source: name for messages; by default the path.
        formats: of Pillow that are tried; all by default.
    """
    name = _name(image, source)
    if not isinstance(image, (bytes, bytearray, memoryview)):
        path = Path(image)
        if path.exists() and not path.is_file():
            raise ImageInputError(f'"{name}" is no regular file. Expected the file of an image.')
    try:
        return Image.open(path if isinstance(image, (str, Path)) else io.BytesIO(image), formats=formats)
    except FileNotFoundError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageInputError(
            f'"{name}" has too many pixels ({error}). Give a smaller copy, or raise PIL.Image.MAX_IMAGE_PIXELS if you '
            'trust the file.'
        ) from error
    except UnidentifiedImageError as error:
        raise ImageInputError(
            f'"{name}" cannot be read as an image: it is broken, or of a format that Pillow does not read. Save it as '
            'PNG or JPEG.'
        ) from error
    except BROKEN as error:
        raise _unreadable(name, error) from error


def head_of(image: Image.Image) -> ImageHead:
    """The header of an image that is opened and not yet loaded."""
    orientation = _orientation(image)
    width, height = image.size
    if image.format == 'TIFF':  # Pillow turns these itself
        orientation = 1
    if orientation >= 5:
        width, height = height, width
    return ImageHead(width, height, orientation, image.mode, image.format or '')


def rgb_of(image: Image.Image, source: str = 'image') -> np.ndarray:
    """Pixels of a Pillow image in any mode.

    Args:
        image: any image of Pillow; its EXIF orientation is applied.
        source: name for messages.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageInputError: it cannot be decoded, or has values outside 0 to 255 that have no plain meaning.
    """
    try:
        _load(image)
        turn = _TURNS.get(_orientation(image))
        image = image if turn is None else image.transpose(turn)
        return np.ascontiguousarray(_as_rgb(image, source))
    except ImageInputError:
        raise
    except BROKEN as error:
        raise _unreadable(source, error) from error


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels (H, W, ...) turned as EXIF orientation 1 to 8 says."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    # after the exchange of axes: mirrored for 6 and 7 from left to right, for 7 and 8 from top to bottom
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _load(image: Image.Image) -> None:
    """Decode. Pillow (seen: 12.3) maps the pixels of a plain TIFF into memory with width and height exchanged where it
    has to be turned; without a file name it reads them."""
    name = getattr(image, 'filename', '')
    if image.format != 'TIFF' or not name:
        image.load()
        return
    image.filename = ''
    try:
        image.load()
    finally:
        image.filename = name


def _as_rgb(image: Image.Image, source: str) -> np.ndarray:
    if image.mode.startswith('I;16'):
        values = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return values[..., None].repeat(3, axis=2)
    if image.mode in ('I', 'F'):
        return _from_wide_values(np.asarray(image), source)[..., None].repeat(3, axis=2)
    if image.mode == 'LAB':
        from PIL import ImageCms  # not in every build of Pillow

        profiles = ImageCms.createProfile('LAB'), ImageCms.createProfile('sRGB')
        image = ImageCms.profileToProfile(image, *profiles, outputMode='RGB')
    elif image.mode in _BETWEEN:
        image = image.convert(_BETWEEN[image.mode])
    return np.asarray(image.convert('RGB'))


def _from_wide_values(values: np.ndarray, source: str) -> np.ndarray:
    """32-bit integers or floats as bytes."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 255.0)
    if values.dtype.kind == 'i' and 0 <= low and high <= 65535:
        return (values if high <= 255 else values >> 8).astype(np.uint8)
    # 0 to 1 may be all of black to white, or nearly black
    if values.dtype.kind == 'f' and 0 <= low and (1 < high <= 255 or high == 0):
        return values.round().astype(np.uint8)
    raise ImageInputError(
        f'"{source}" has values from {low:g} to {high:g} in Pillow mode {"I" if values.dtype.kind == "i" else "F"}. '
        'Expected 0 to 255: scale the values, and convert the image to 8 bits (mode "L").'
    )


def _orientation(image: Image.Image) -> int:
    """EXIF orientation; 1 where there is none, or the EXIF data is broken."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except BROKEN:
        return 1
    return value if value in _TURNS else 1


def _name(image: str | Path | bytes, source: str | None) -> str:
    if source is None:
        source = str(image) if isinstance(image, (str, Path)) else 'bytes'
    return source


def _unreadable(source: str, error: Exception) -> ImageInputError:
    return ImageInputError(f'"{source}" cannot be read as an image: {error}')
