"""Uploads and texts: what is read, and what is refused with a sentence before it costs anything."""

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from glipv2_mmdet.demo.limits import LimitError, Limits, check_number, check_phrases, check_text, read_image
from glipv2_mmdet.text import parse_prompt

LIMITS = Limits()
PICTURE = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def saved(folder: Path, name: str, image: Image.Image, **options) -> Path:
    image.save(folder / name, **options)
    return folder / name


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and has next to no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
        + chunk(b'IDAT', zlib.compress(b''))
        + chunk(b'IEND', b'')
    )


@pytest.mark.parametrize('name', ['a.png', 'a.bmp', 'no_ending', 'wrong_ending.jpg'])
def test_pixels_come_as_they_are(tmp_path: Path, name: str) -> None:
    content = io.BytesIO()
    Image.fromarray(PICTURE).save(content, 'BMP' if name.endswith('bmp') else 'PNG')
    (tmp_path / name).write_bytes(content.getvalue())
    np.testing.assert_array_equal(read_image(tmp_path / name, LIMITS), PICTURE)


def test_a_photo_is_turned_as_the_camera_says(tmp_path: Path) -> None:
    image = Image.fromarray(PICTURE)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise
    np.testing.assert_array_equal(read_image(saved(tmp_path, 'a.png', image, exif=exif), LIMITS), np.rot90(PICTURE, -1))


def test_transparency_is_dropped(tmp_path: Path) -> None:
    rgba = np.dstack([PICTURE, np.where(np.arange(9) < 4, 0, 255)[None].repeat(6, axis=0)]).astype(np.uint8)
    read = read_image(saved(tmp_path, 'a.png', Image.fromarray(rgba)), LIMITS)
    np.testing.assert_array_equal(read, PICTURE)


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 54).astype(np.uint16).reshape(6, 9)
    read = read_image(saved(tmp_path, 'a.png', Image.fromarray(values)), LIMITS)
    np.testing.assert_array_equal(read, (values >> 8).astype(np.uint8)[..., None].repeat(3, axis=2))


def test_the_first_picture_of_an_animation(tmp_path: Path) -> None:
    first, second = Image.new('RGB', (8, 8), 'red'), Image.new('RGB', (8, 8), 'blue')
    path = saved(tmp_path, 'a.gif', first, save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(path, LIMITS), np.asarray(first))


@pytest.mark.parametrize(
    ('size', 'message'),
    [
        ((5_001, 5_000), r'5001 x 5000 = 25\.0 million pixels'),  # the first that is too many
        ((100_000, 100_000), 'too many pixels, at most 25 million'),
        ((2_000_000, 2), 'at most 12000 along a side'),
    ],
)
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, size: tuple[int, int], message: str) -> None:
    (tmp_path / 'a.png').write_bytes(png_header(*size))
    start = time.perf_counter()
    with pytest.raises(LimitError, match=message):
        read_image(tmp_path / 'a.png', LIMITS)
    assert time.perf_counter() - start < 1.0


def test_as_many_pixels_as_allowed_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path, 'a.png', Image.fromarray(PICTURE))
    assert read_image(path, Limits(megapixels=54e-6)).shape == (6, 9, 3)
    with pytest.raises(LimitError, match='9 x 6'):
        read_image(path, Limits(megapixels=53e-6))


def test_large_files_are_refused_unopened(tmp_path: Path) -> None:
    (tmp_path / 'a.png').write_bytes(bytes(2_000_001))
    with pytest.raises(LimitError, match=r'2\.0 MB, at most 2 MB'):
        read_image(tmp_path / 'a.png', Limits(megabytes=2))


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'hello',
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
        b'%!PS-Adobe-3.0 EPSF-3.0',
        b'%PDF-1.4',
        b'II*\x00\x08\x00\x00\x00',
        b'\x89PNG\r\n\x1a\n',
    ],
)
def test_what_is_no_image_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / 'a.png').write_bytes(content)
    with pytest.raises(LimitError, match=r'no image that can be read|damaged'):
        read_image(tmp_path / 'a.png', LIMITS)


def test_other_formats_are_not_even_tried(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match='Expected one of JPEG, PNG, WEBP, BMP, GIF'):
        read_image(saved(tmp_path, 'a.tiff', Image.fromarray(PICTURE)), LIMITS)


def test_a_deleted_upload(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match='Upload it again'):
        read_image(tmp_path / 'gone.png', LIMITS)


@pytest.fixture(scope='module')
def encoded() -> dict[str, bytes]:
    files = {}
    exif = Image.Exif()
    exif[0x0112] = 3
    for kind in ('JPEG', 'PNG', 'WEBP', 'GIF', 'BMP'):
        content = io.BytesIO()
        Image.fromarray(PICTURE).save(content, kind, **({'exif': exif} if kind in ('JPEG', 'PNG', 'WEBP') else {}))
        files[kind] = content.getvalue()
    return files


@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_gives_pixels_or_a_sentence(
    tmp_path: Path, encoded: dict[str, bytes], data: st.DataObject
) -> None:
    content = bytearray(encoded[data.draw(st.sampled_from(sorted(encoded)))])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    (tmp_path / 'a').write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        pixels = read_image(tmp_path / 'a', Limits(megapixels=1))
    except LimitError as error:
        assert str(error).endswith('.')
    else:
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size <= 3e6


def test_texts() -> None:
    assert check_text('  a cat ', 'prompt', LIMITS) == 'a cat'
    for empty in ('', '  ', None, 3):
        with pytest.raises(LimitError, match='The prompt is empty'):
            check_text(empty, 'prompt', LIMITS)
    assert check_text('x' * 1000, 'question', LIMITS)
    with pytest.raises(LimitError, match='The question has 1001 characters, at most 1000'):
        check_text('x' * 1001, 'question', LIMITS)


def test_phrases_are_counted() -> None:
    check_phrases(parse_prompt(['a', 'b']), Limits(phrases=2))
    with pytest.raises(LimitError, match='names 3 things, at most 2'):
        check_phrases(parse_prompt(['a', 'b', 'c']), Limits(phrases=2))


@pytest.mark.parametrize('value', [-0.01, 1.01, float('nan'), float('inf'), '0.5', None, True, [0.5]])
def test_numbers_posted_by_hand(value: object) -> None:
    with pytest.raises(LimitError, match='Expected a number from 0 to 1'):
        check_number(value, 'threshold', 0, 1)


def test_numbers_of_the_slider() -> None:
    assert [check_number(value, 'threshold', 0, 1) for value in (0, 0.3, 1)] == [0, 0.3, 1]


@pytest.mark.parametrize('bound', ['megabytes', 'waiting', 'seconds'])
def test_limits_are_positive(bound: str) -> None:
    with pytest.raises(ValueError, match=f'"{bound}" is 0'):
        Limits(**{bound: 0})
