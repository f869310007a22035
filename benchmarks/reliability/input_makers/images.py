"""Pictures of every shape, mode and kind of damage, through the inferencer, mmdet's API and the training pipeline."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmdet.apis import inference_detector
from mmengine.dataset import BaseDataset, Compose
from mmengine.structures import BaseDataElement
from PIL import Image

from benchmarks.reliability.input_makers.prompts import check_boxes
from benchmarks.reliability.input_makers.tiny_models import tiny_config, tiny_detector, tiny_inferencer
from benchmarks.reliability.input_makers.verdict import Case, InvalidResult
from glipv2_mmdet import GLIPv2Inferencer
from glipv2_mmdet.datasets import ReplaceFailedSamples
from glipv2_mmdet.models import GLIPv2

#: Of mmcv and OpenCV, where mmdet reads the file: docs/bad_input.md lists them.
OF_MMDET = (AssertionError, OSError, cv2.error)
MODES = (
    '1',
    'L',
    'LA',
    'La',
    'P',
    'PA',
    'RGB',
    'RGBA',
    'RGBX',
    'RGBa',
    'CMYK',
    'YCbCr',
    'LAB',
    'HSV',
    'I',
    'I;16',
    'F',
)
SIZES = ((1, 1), (1, 2), (2, 1), (1, 300), (300, 1), (1, 10_000), (10_000, 1), (7, 5), (64, 48), (3000, 2))
FORMATS = ('PNG', 'JPEG', 'BMP', 'GIF', 'TIFF', 'WEBP', 'PPM', 'ICO', 'TGA')
ENDINGS = dict(
    PNG='.png', JPEG='.jpg', BMP='.bmp', GIF='.gif', TIFF='.tif', WEBP='.webp', PPM='.ppm', ICO='.ico', TGA='.tga'
)
DTYPES = (
    'uint8',
    'int8',
    'uint16',
    'int32',
    'int64',
    'float16',
    'float32',
    'float64',
    'bool',
    'complex64',
    'object',
    'U3',
    'S3',
    'datetime64[s]',
)
SHAPES = (
    (),
    (0,),
    (5,),
    (8, 8),
    (8, 8, 1),
    (8, 8, 2),
    (8, 8, 3),
    (8, 8, 4),
    (8, 8, 5),
    (3, 8, 8),
    (1, 8, 8, 3),
    (0, 8, 3),
    (8, 0, 3),
    (8, 8, 0),
    (1, 1, 3),
    (1, 5000, 3),
    (5000, 1, 3),
    (2, 2, 2, 2, 2),
)
NOT_IMAGES = (
    None,
    0,
    1.5,
    True,
    object(),
    {},
    {'img': 1},
    [],
    [None],
    [[]],
    (),
    '',
    ' ',
    '\x00',
    'no/such.jpg',
    '*.nothing',
    'http://',
    'https://[',
    'ftp://x/y.jpg',
    'file:///etc/hostname',
    b'\x89PNG',
    len,
    '~',
    '.',
    '..',
    'a' * 5000,
    '\ud83d.jpg',
    '[',
    '[!',
    '**',
    Path('no/such.jpg'),
    Path('.'),
    iter([]),
    range(3),
)


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """An endless row of cases; the fixed ones come first, in random order."""
    numbers = count()
    fixed = [make(folder, next(numbers), *file) for file in _files(rng) for make in _FILE_MAKERS]
    fixed += [make(array, name) for array, name in _arrays(rng) for make in _ARRAY_MAKERS]
    fixed += [_pil_case(picture, name) for picture, name in _pictures(rng)]
    fixed += [_argument_case(given) for given in NOT_IMAGES]
    rng.shuffle(fixed)
    yield from fixed
    whole = [file for file in _files(rng) if 100 < len(file[0]) < 100_000]
    while True:
        content, ending, name = rng.choice(whole)
        broken, how = _damaged(content, rng)
        yield rng.choice(_FILE_MAKERS)(folder, next(numbers), broken, ending, f'{name}, {how}')


# --- files -------------------------------------------------------------------------------------------


def _files(rng: random.Random) -> Iterator[tuple[bytes, str, str]]:
    """(bytes, ending, what it is)"""
    for format_ in FORMATS:
        for mode in MODES:
            content = _saved(_picture(mode, (24, 16), rng), format_)
            if content is not None:
                yield content, ENDINGS[format_], f'{format_} {mode}'
    for size in SIZES:
        yield _saved(_picture('RGB', size, rng), 'PNG'), '.png', f'{size[0]} x {size[1]}'
    whole = _saved(_picture('RGB', (64, 48), rng), 'JPEG')
    png = _saved(_picture('RGB', (64, 48), rng), 'PNG')
    for ending in ('.jpg', '.png', '.webp', '.gif', '.tif', '.bmp'):
        yield b'', ending, 'empty'
        yield b'some words\n', ending, 'text'
        yield b'<svg xmlns="http://www.w3.org/2000/svg"/>', ending, 'svg'
        yield bytes(1000), ending, 'zeros'
        yield rng.randbytes(1000), ending, 'random bytes'
        yield whole, ending, 'a JPEG'
    for share in (0.02, 0.3, 0.7, 0.98):
        for content, ending in ((whole, '.jpg'), (png, '.png')):
            yield content[: int(share * len(content))], ending, f'the first {share:.0%}'
    for frames, format_ in ((3, 'GIF'), (3, 'PNG'), (3, 'WEBP'), (3, 'TIFF')):
        yield _animated(frames, format_, rng), ENDINGS[format_], f'{frames} frames'
    for orientation in (*range(10), 65535):
        yield _turned(orientation, rng), '.jpg', f'EXIF orientation {orientation}'
    for width, height in ((60_000, 60_000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1), (0, 0), (0, 5), (100_000, 100_000)):
        yield _claims(width, height), '.png', f'claims {width} x {height}'
    yield _saved(_picture('I;16', (24, 16), rng), 'PNG'), '.png', '16 bit'
    _, deep = cv2.imencode('.png', np.full((16, 24, 3), 40_000, dtype=np.uint16))
    yield deep.tobytes(), '.png', '16 bit colour'
    for value in (0.5, float('nan'), float('inf'), -1e30):
        yield _saved(Image.fromarray(np.full((16, 24), value, dtype=np.float32)), 'TIFF'), '.tif', f'TIFF of {value}'


def _saved(picture: Image.Image, format_: str) -> bytes | None:
    buffer = io.BytesIO()
    try:
        picture.save(buffer, format=format_)
    except (OSError, ValueError, KeyError):  # this format has no such mode
        return None
    return buffer.getvalue()


def _picture(mode: str, size: tuple[int, int], rng: random.Random) -> Image.Image:
    rgb = Image.fromarray(
        np.frombuffer(rng.randbytes(3 * size[0] * size[1]), dtype=np.uint8).reshape(size[1], size[0], 3)
    )
    for steps in ((mode,), ('L', mode), ('RGBA', mode), ('LA', mode), ('RGBA', 'RGBa')):
        picture = rgb
        try:
            for step in steps:
                picture = picture.convert(step)
        except ValueError:  # no way from one mode to the other
            continue
        if picture.mode == mode:
            return picture
    return Image.new(mode, size)


def _animated(frames: int, format_: str, rng: random.Random) -> bytes:
    first, *others = (_picture('RGB', (24, 16), rng) for _ in range(frames))
    buffer = io.BytesIO()
    first.save(buffer, format=format_, save_all=True, append_images=others)
    return buffer.getvalue()


def _turned(orientation: int, rng: random.Random) -> bytes:
    picture, exif, buffer = _picture('RGB', (24, 16), rng), Image.Exif(), io.BytesIO()
    exif[274] = orientation
    picture.save(buffer, format='JPEG', exif=exif)
    return buffer.getvalue()


def _claims(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(bytes(100_000)))
        + chunk(b'IEND', b'')
    )


def _damaged(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    place, size = rng.randrange(len(content)), rng.randint(1, 8)
    how = rng.choice(('cut', 'other', 'missing', 'more'))
    changed = {
        'cut': content[:place],
        'other': content[:place] + rng.randbytes(size) + content[place + size :],
        'missing': content[:place] + content[place + size :],
        'more': content[:place] + rng.randbytes(size) + content[place:],
    }
    return changed[how], f'{how} {size} bytes at {place}'


def _written(folder: Path, number: int, content: bytes, ending: str) -> Path:
    file = folder / f'{number}{ending}'
    file.write_bytes(content)
    return file


def _file_case(
    entry: str,
    subject: Callable,
    use: Callable[[Path], None],
    others: tuple,
    folder: Path,
    number: int,
    content: bytes,
    ending: str,
    name: str,
) -> Case:
    def call() -> None:
        file = _written(folder, number, content, ending)
        try:
            use(file)
        finally:
            file.unlink()

    # OpenCV's own errors do not name the file
    mentions = () if cv2.error in others else ((f'{number}{ending}', f'{number}.folder'),)
    return Case('images', entry, f'{name} as {ending}', call, subject, mentions=mentions, others=others)


def _detect(image: Any) -> None:
    found = tiny_inferencer('glipv2-nano').detect(image, 'cat . dog', threshold=0.0, max_boxes=3)
    for one in found if isinstance(found, list) else [found]:
        if one.image.dtype != np.uint8 or one.image.ndim != 3 or one.image.shape[2] != 3:
            raise InvalidResult(f'image {one.image.dtype} {one.image.shape}')
        check_boxes(one)


def _in_a_folder(file: Path) -> None:
    """A broken file among others is passed over."""
    folder = file.with_suffix('.folder')
    folder.mkdir()
    try:
        (folder / 'a.jpg').write_bytes(_saved(Image.new('RGB', (20, 20)), 'JPEG'))
        (folder / f'b{file.suffix}').write_bytes(file.read_bytes())
        found = tiny_inferencer('glipv2-nano').detect(folder, 'cat . dog', max_boxes=3)
        if not 1 <= len(found) <= 2:
            raise InvalidResult(f'{len(found)} results of two files')
    finally:
        for part in folder.iterdir():
            part.unlink()
        folder.rmdir()


def _opened(file: Path) -> None:
    """As Pillow hands it over: opened, not yet decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            picture = Image.open(file)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, EOFError, struct.error):
            return  # what Pillow itself refuses never comes here
        _detect(picture)


def _by_mmdet(image: Any) -> None:
    result = inference_detector(tiny_detector('glipv2-nano'), image, text_prompt='cat . dog', custom_entities=True)
    if not bool(result.pred_instances.bboxes.isfinite().all()):
        raise InvalidResult('boxes are not finite')


class _TwoFiles(BaseDataset):
    """The given file, and one that can be read."""

    def __init__(self, file: Path, right: Path, pipeline: Compose) -> None:
        self.files, self.steps = (file, right), pipeline
        super().__init__(lazy_init=True)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        return self.steps(
            dict(
                img_path=str(self.files[index]),
                img_id=index,
                text=('cat', 'dog'),
                height=40,
                width=60,
                instances=[dict(bbox=[2, 2, 30, 20], bbox_label=1, ignore_flag=0)],
            )
        )


@cache
def _training_steps() -> Compose:
    return Compose(tiny_config('glipv2-nano').train_pipeline)


def _trained(file: Path) -> None:
    """What training gets instead of a broken file is another sample."""
    right = file.with_suffix('.right.png')
    right.write_bytes(_saved(Image.new('RGB', (60, 40)), 'PNG'))
    try:
        np.random.seed(0)
        sample = ReplaceFailedSamples(_TwoFiles(file, right, _training_steps()), max_failed_share=1.0)[0]
    finally:
        right.unlink()
    boxes = sample['data_samples'].gt_instances.bboxes
    if not isinstance(sample['data_samples'], BaseDataElement) or sample['inputs'].shape[0] != 3 or len(boxes) > 1:
        raise InvalidResult(f'sample {sample["inputs"].shape}')


_FILE_MAKERS = tuple(
    partial(_file_case, entry, subject, use, others)
    for entry, subject, use, others in (
        ('GLIPv2Inferencer.detect', GLIPv2Inferencer.detect, _detect, ()),
        ('GLIPv2Inferencer.detect, folder', GLIPv2Inferencer.detect, _in_a_folder, ()),
        ('GLIPv2Inferencer.detect, PIL', GLIPv2Inferencer.detect, _opened, ()),
        ('inference_detector', GLIPv2.predict, _by_mmdet, OF_MMDET),
        ('ReplaceFailedSamples', ReplaceFailedSamples, _trained, ()),
    )
)


# --- arrays, pictures in memory, and what is none ----------------------------------------------------


def _arrays(rng: random.Random) -> Iterator[tuple[np.ndarray, str]]:
    for shape in SHAPES:
        yield np.zeros(shape, dtype=np.uint8), f'{shape} uint8'
        yield np.full(shape, 0.5, dtype=np.float32), f'{shape} float32'
    for dtype in DTYPES:
        yield np.zeros((8, 8, 3), dtype=dtype), f'(8, 8, 3) {dtype}'
    for value in (np.nan, np.inf, -np.inf, -1.0, 1e30):
        yield np.full((8, 8, 3), value, dtype=np.float32), f'(8, 8, 3) of {value}'
    whole = np.frombuffer(rng.randbytes(64 * 48 * 3), dtype=np.uint8).reshape(48, 64, 3)
    yield whole[::-1, ::-1, ::-1], 'negative strides'
    yield whole.T, 'transposed'
    yield np.asfortranarray(whole), 'Fortran order'
    yield np.ma.masked_array(whole), 'masked array'
    yield np.broadcast_to(np.uint8(7), (20, 20, 3)), 'one value for all'


def _array_case(entry: str, subject: Callable, use: Callable, others: tuple, array: np.ndarray, name: str) -> Case:
    mentions = () if others else ((str(array.dtype), 'pixels'), (str(array.shape), 'pixels'))
    return Case('images', entry, f'array {name}', partial(use, array), subject, mentions=mentions, others=others)


_ARRAY_MAKERS = tuple(
    partial(_array_case, *row) for row in (('GLIPv2Inferencer.detect, array', GLIPv2Inferencer.detect, _detect, ()),)
)


def _pictures(rng: random.Random) -> Iterator[tuple[Image.Image, str]]:
    for mode in MODES:
        yield _picture(mode, (24, 16), rng), mode
    for size in SIZES:
        yield _picture('RGB', size, rng), f'{size[0]} x {size[1]}'
    for size in ((0, 0), (0, 5), (5, 0)):
        yield Image.new('RGB', size), f'{size[0]} x {size[1]}'
    closed = Image.open(io.BytesIO(_saved(_picture('RGB', (24, 16), rng), 'PNG')))
    closed.close()
    yield closed, 'closed before it was read'


def _pil_case(picture: Image.Image, name: str) -> Case:
    return Case(
        'images', 'GLIPv2Inferencer.detect, PIL in memory', name, partial(_detect, picture), GLIPv2Inferencer.detect
    )


def _argument_case(given: Any) -> Case:
    return Case(
        'images',
        'GLIPv2Inferencer.detect, no image',
        ascii(given)[:60],
        partial(_detect, given),
        GLIPv2Inferencer.detect,
    )
