"""Whatever holds images → RGB arrays with a name: arrays, PIL images, files, folders, patterns, videos, addresses.

Orientation, depth, transparency and limits are decided in ``image_reading``. Usual files are decoded by OpenCV where
the model's own pipeline does so, so that a path and the data loader of an evaluation give the same pixels.
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image

from glipv2_mmdet.apis.fetching import fetch, is_url
from glipv2_mmdet.image_decoding import decode_rgb
from glipv2_mmdet.image_reading import ImageInputError, open_image, rgb_of

IMAGE_SUFFIXES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')
_EXPECTED = (
    'Expected an image file, folder, pattern, video or address, an RGB array (H, W, 3) of uint8, a PIL image, encoded '
    'bytes, or a list of these.'
)
#: Types of one input; anything else that can be iterated over is a list of inputs.
_ONE_INPUT = (str, PathLike, np.ndarray, Image.Image, bytes, bytearray, memoryview)
#: Bytes of a file; no image within the limit of pixels is larger.
_MAX_FILE = 2**31


@dataclass(frozen=True)
class InputImage:
    """One image.

    Attributes:
        rgb: (H, W, 3) uint8.
        source: path, address, ``video.mp4#12`` for a frame, ``array`` or ``image`` for what has no name.
    """

    rgb: np.ndarray
    source: str


@dataclass(frozen=True)
class Decoder:
    """How files become pixels: by the library that the first step of a test pipeline names.

    Args:
        imdecode_backend: 'cv2' decodes usual 8-bit files with OpenCV; with any other, Pillow decodes all files.
    """

    imdecode_backend: str | None = 'cv2'

    @classmethod
    def of_step(cls, step: Mapping[str, Any]) -> Decoder:
        """That of a ``LoadImageFromFile`` step."""
        return cls(step.get('imdecode_backend', 'cv2'))

    def __call__(self, content: bytes, source: str) -> InputImage:
        """Decode an encoded image.

        Raises:
            ImageInputError: it is none, or has too many pixels.
        """
        return InputImage(decode_rgb(content, source, self.imdecode_backend), source)


class ImageInputs:
    """The images behind one argument of a user, read one after the other.

    A file that was named has to be readable. Files that were found in a folder or by a pattern are passed over with a
    warning when they are not.

    Args:
        inputs: see the error message of an input that is none of them.
        decoder: for files and addresses.
        frame_step: take every n-th frame of a video.

    Raises:
        FileNotFoundError: there is no such file, or nothing fits the pattern.
        ImageInputError: an input of another kind, or a folder without images.
    """

    def __init__(self, inputs: Any, decoder: Decoder = Decoder(), frame_step: int = 1) -> None:
        if frame_step < 1:
            raise ImageInputError(f'frame_step is {frame_step}. Expected 1 (every frame) or more.')
        self.decoder, self.frame_step = decoder, frame_step
        is_list = not isinstance(inputs, _ONE_INPUT) and isinstance(inputs, Iterable)
        #: A generator, which may be endless: each image is taken when it is asked for, and nothing is known before.
        self.is_stream = is_list and not isinstance(inputs, Collection)
        items = (item for given in (inputs if is_list else [inputs]) for item in _expand(given))
        self.items = items if self.is_stream else list(items)
        known = () if self.is_stream else self.items
        if not self.is_stream and not self.items:
            raise ImageInputError(f'The list of images is empty. {_EXPECTED}')
        self.has_video = any(isinstance(item, _Video) for item in known)
        #: Among them files that were found in a folder or by a pattern.
        self.has_found = any(isinstance(item, _Found) for item in known)
        #: One image and no list of one: a caller returns a result and no list.
        self.is_single = not is_list and not self.has_video and not self.has_found

    def __len__(self) -> int:
        """Number of images; those that turn out to be unreadable count, and a video counts as one.

        Raises:
            TypeError: of a generator it is not known.
        """
        return len(self.items)

    def __iter__(self) -> Iterator[InputImage]:
        item = None
        for item in self.items:
            if isinstance(item, _Video):
                yield from item.frames(self.frame_step)
            elif isinstance(item, _Found):
                try:
                    yield self._read(item.path)
                except ImageInputError as error:
                    print_log(f'{error} It is left out.', logger='current', level=logging.WARNING)
            else:
                yield self._read(item)
        if item is None:
            raise ImageInputError(f'The generator gave no image. {_EXPECTED}')

    def _read(self, item: Any) -> InputImage:
        if isinstance(item, np.ndarray):
            return InputImage(_as_rgb(item, 'array'), 'array')
        if isinstance(item, Image.Image):
            source = str(getattr(item, 'filename', '') or 'image')
            return InputImage(_as_rgb(rgb_of(item, source), source), source)
        if isinstance(item, bytes):
            return self.decoder(item, 'bytes')
        if is_url(item):
            return self.decoder(fetch(item), item)
        return self.decoder(_content(Path(item)), str(item))


@dataclass(frozen=True)
class _Found:
    """A file that was found rather than named."""

    path: Path


@dataclass(frozen=True)
class _Video:
    path: Path

    def frames(self, step: int) -> Iterator[InputImage]:
        video = cv2.VideoCapture(str(self.path))
        try:
            number = 0
            while video.grab():
                if number % step == 0:
                    _, bgr = video.retrieve()
                    yield InputImage(np.ascontiguousarray(bgr[..., ::-1]), f'{self.path}#{number}')
                number += 1
        finally:
            video.release()
        if number == 0:
            raise ImageInputError(
                f'Video "{self.path}" has no frame that can be read: it is broken, or OpenCV was '
                'built without its format. Convert it, for example to .mp4 (H.264).'
            )


def _content(path: Path) -> bytes:
    """Bytes of a file whose header says that it is an image within the limits."""
    try:
        size = path.stat().st_size
        if size > _MAX_FILE:
            raise ImageInputError(f'"{path}" has {size / 1e9:.1f} GB; at most {_MAX_FILE / 1e9:.1f} GB are read.')
        with open_image(path):  # before all of it is read
            return path.read_bytes()
    except OSError as error:  # vanished, not allowed, a broken disk
        raise ImageInputError(f'"{path}" cannot be read as an image: {error}') from error


def _expand(item: Any) -> Sequence[Any]:
    """One given thing to what can be read: arrays, PIL images, addresses, paths, found paths, videos."""
    if isinstance(item, (bytearray, memoryview)):
        item = bytes(item)
    if isinstance(item, (np.ndarray, Image.Image, bytes)) or is_url(item):
        return [item]
    if not isinstance(item, (str, PathLike)):
        raise ImageInputError(f'An image was given as {type(item).__name__} ({str(item)[:60]!r}). {_EXPECTED}')
    path = Path(item)
    try:
        is_dir = path.is_dir()
    except (OSError, ValueError) as error:  # a name that no file can have
        raise FileNotFoundError(
            f'There is no image "{str(item)[:60]}" ({error.__class__.__name__}). {_EXPECTED}'
        ) from error
    if is_dir:
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
        if not found:
            raise ImageInputError(
                f'Folder "{path}" has no images ({", ".join(IMAGE_SUFFIXES)}). For those of its '
                f'sub-folders give a pattern: "{path}/**/*.jpg".'
            )
        return [_Found(file) for file in found]
    if path.is_file():
        return [_Video(path) if path.suffix.lower() in VIDEO_SUFFIXES else path]
    if glob.has_magic(fspath(item)):
        matches = (Path(match) for match in sorted(glob.glob(fspath(item), recursive=True)))
        found = [file for file in matches if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
        if found:
            return [_Found(file) for file in found]
        raise FileNotFoundError(f'No image fits the pattern "{item}".')
    raise FileNotFoundError(f'There is no image "{item}". {_EXPECTED}')


def _as_rgb(array: np.ndarray, source: str) -> np.ndarray:
    """(H, W), (H, W, 1) or (H, W, 4) too; transparency is dropped."""
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] not in (1, 3, 4))
        or 0 in array.shape
    ):
        raise ImageInputError(
            f'"{source}" is an array of {array.dtype} with shape {array.shape}. Expected RGB (H, W, 3) of uint8; '
            'numbers from 0 to 1 become that by (255 * array).round().astype("uint8").'
        )
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[2] == 1:
        array = array.repeat(3, axis=2)
    return np.ascontiguousarray(array[..., :3])
