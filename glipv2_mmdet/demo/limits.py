"""What one request may cost, and the checks that keep it there: size, pixels and format of a file, length of a text.

Everything is checked before the work that it bounds: the header of an image is read before a pixel is decoded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from glipv2_mmdet.image_reading import rgb_of
from glipv2_mmdet.text import Prompt

#: Pillow tries only these. Others are rare on web pages, and each more is a decoder that strangers may feed.
FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF')


class LimitError(ValueError):
    """A request asks for more than the demo gives; the message is shown to the visitor as it is."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one request, and of all together.

    Attributes:
        megabytes: size of an uploaded file, in 10^6 bytes.
        megapixels: width times height of an image, in 10^6.
        longest_side: of an image, pixels; a strip of 1 x 20,000,000 has few pixels, but no picture is like that.
        characters: of a prompt or question.
        phrases: of a prompt; the text of more is read in several passes, each as long as the first.
        boxes: most that can be asked for.
        seconds: until a visitor is told that it takes too long.
        waiting: requests in the queue; the next one is refused at once.
        area_megabytes: all uploads and results together, in 10^6 bytes.
        minutes_kept: age at which uploads and results are deleted.

    Raises:
        ValueError: a bound that is not positive.
    """

    megabytes: float = 10.0
    megapixels: float = 25.0
    longest_side: int = 12_000
    characters: int = 1_000
    phrases: int = 100
    boxes: int = 200
    seconds: float = 60.0
    waiting: int = 20
    area_megabytes: float = 500.0
    minutes_kept: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f'Limit "{field.name}" is {value}. Expected a number above 0.')

    @property
    def file_bytes(self) -> int:
        return round(self.megabytes * 1e6)

    @property
    def area_bytes(self) -> int:
        return round(self.area_megabytes * 1e6)


def read_image(path: str | Path, limits: Limits) -> np.ndarray:
    """Reads an uploaded image, upright as its camera says; the first picture of an animation.

    Returns:
        (H, W, 3) uint8 RGB; see ``glipv2_mmdet.image_reading``.

    Raises:
        LimitError: the file is too large, has too many pixels, has another format or is damaged.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > limits.file_bytes:
            raise LimitError(
                f'The file has {size / 1e6:.1f} MB, at most {limits.megabytes:g} MB are accepted. Send a smaller one.'
            )
        with Image.open(path, formats=FORMATS) as image:  # reads the header
            _check_header(*image.size, limits)
            return rgb_of(image, 'upload')
    except LimitError:
        raise
    except FileNotFoundError as error:
        raise LimitError(
            'The image is no longer on the server; uploads are deleted after '
            f'{limits.minutes_kept:g} minutes. Upload it again.'
        ) from error
    except UnidentifiedImageError as error:
        raise LimitError(f'This file is no image that can be read. Expected one of {", ".join(FORMATS)}.') from error
    except Image.DecompressionBombError as error:  # Pillow's own bound comes first where ours is above it
        raise LimitError(
            f'The image has too many pixels, at most {limits.megapixels:g} million are accepted. Send a smaller copy.'
        ) from error
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise LimitError(
            'The image file is damaged or incomplete. Open it in an image program and save it again, or '
            'choose another one.'
        ) from error


def check_text(text: str | None, what: str, limits: Limits) -> str:
    """The text of a field, without blanks around it.

    Args:
        what: name of the field, for the message.

    Raises:
        LimitError: nothing was typed, or too much.
    """
    if not isinstance(text, str) or not text.strip():
        raise LimitError(f'The {what} is empty. Type what the model should look at.')
    if len(text) > limits.characters:
        raise LimitError(
            f'The {what} has {len(text)} characters, at most {limits.characters} are accepted. Shorten it.'
        )
    return text.strip()


def check_phrases(prompt: Prompt, limits: Limits) -> None:
    """Raises LimitError for a prompt of too many phrases."""
    if len(prompt.phrases) > limits.phrases:
        raise LimitError(
            f'The prompt names {len(prompt.phrases)} things, at most {limits.phrases} are accepted. '
            'Split it into several requests.'
        )


def check_number(value: float | None, what: str, least: float, most: float) -> float:
    """A number of a slider; whoever posts to the address by hand can send anything.

    Raises:
        LimitError: not a number, or outside the range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise LimitError(f'The {what} is {str(value)[:20]}. Expected a number from {least:g} to {most:g}.')
    return value


def _check_header(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.megapixels * 1e6:
        raise LimitError(
            f'The image has {width} x {height} = {width * height / 1e6:.1f} million pixels, at most '
            f'{limits.megapixels:g} million are accepted. Send a smaller copy.'
        )
    if max(width, height) > limits.longest_side:
        raise LimitError(
            f'The image has {width} x {height} pixels, at most {limits.longest_side} along a side are '
            'accepted. Send a smaller copy.'
        )
