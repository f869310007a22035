"""One image in every mode, orientation and container, through every way in: always the same upright 8-bit pixels."""

from __future__ import annotations

import io
import os
import struct
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from glipv2_mmdet.apis.images import Decoder, ImageInputError, ImageInputs
from glipv2_mmdet.datasets.own_data_files import image_size
from glipv2_mmdet.datasets.transforms import LoadStreamedImage
from glipv2_mmdet.demo.limits import Limits, read_image
from glipv2_mmdet.export.runtime import preprocess
from glipv2_mmdet.image_reading import ORIENTATION, read_head, read_rgb, rgb_of, turned

#: 24 x 16 pixels, all corners different; smooth, so that JPEG keeps it.
RGB = np.stack(np.meshgrid(np.linspace(20, 230, 24), np.linspace(40, 200, 16)), axis=2).round().astype(np.uint8)
RGB = np.dstack([RGB, np.linspace(0, 160, 384).reshape(16, 24).astype(np.uint8)])
GREY = np.asarray(Image.fromarray(RGB).convert('L'))
#: EXIF orientation of a stored image that shows RGB upright, and how the upright one is stored.
STORED = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}


def in_mode(mode: str) -> Image.Image:
    """The image in a mode of Pillow."""
    image = Image.fromarray(RGB)
    if mode.startswith('I;16'):
        return Image.fromarray(GREY.astype(np.uint16) * 257).convert(mode) if mode != 'I;16' else sixteen_bits()
    if mode == 'LAB':
        profiles = ImageCms.createProfile('sRGB'), ImageCms.createProfile('LAB')
        return ImageCms.profileToProfile(image, *profiles, outputMode='LAB')
    if mode in ('La', 'RGBa'):
        return in_mode(dict(La='LA', RGBa='RGBA')[mode]).convert(mode)
    if mode in ('LA', 'RGBA'):
        image = image.convert(mode)
        alpha = np.full(GREY.shape, 255, np.uint8)
        alpha[:, 12:] = 0  # half of it transparent
        image.putalpha(Image.fromarray(alpha))
        return image
    if mode == 'PA':
        return image.convert('P', palette=Image.Palette.ADAPTIVE).convert('PA')
    if mode == 'P':
        return image.convert('P', palette=Image.Palette.ADAPTIVE)
    return image.convert(mode)


def sixteen_bits() -> Image.Image:
    return Image.fromarray(GREY.astype(np.uint16) * 257)


def upright(mode: str) -> np.ndarray:
    """Pixels that are expected: those of the mode, without its transparency."""
    if mode in ('1', 'L', 'LA', 'La', 'I', 'F') or mode.startswith('I;16'):
        grey = GREY if mode != '1' else np.asarray(in_mode('1').convert('L'))
        return grey[..., None].repeat(3, axis=2)
    if mode in ('P', 'PA'):
        return np.asarray(in_mode('P').convert('RGB'))
    return RGB


@pytest.mark.parametrize('orientation', STORED)
@pytest.mark.parametrize(
    'mode', ['1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBX', 'CMYK', 'YCbCr', 'HSV', 'LAB', 'I;16', 'I', 'F']
)
def test_a_pillow_image_of_every_mode_and_orientation_is_upright_rgb(mode, orientation):
    image = STORED[orientation](in_mode(mode))
    image.getexif()[ORIENTATION] = orientation
    tolerance = dict(YCbCr=3, HSV=8, LAB=13).get(mode, 0)  # rounding of the mode itself
    for pixels in (rgb_of(image), next(iter(ImageInputs(image))).rgb):
        assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous and pixels.shape == RGB.shape
        assert np.abs(pixels.astype(int) - upright(mode)).max() <= tolerance


def encoded(mode: str, container: str, orientation: int) -> bytes:
    image, content = STORED[orientation](in_mode(mode)), io.BytesIO()
    if container == 'TIFF':
        image.save(content, container, tiffinfo={ORIENTATION: orientation})
    else:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        lossless = dict(lossless=True, exact=True) if container == 'WEBP' else dict(quality=100, subsampling=0)
        image.save(content, container, exif=exif, **(lossless if container != 'PNG' else {}))
    return content.getvalue()


FILES = [
    *(('PNG', mode) for mode in ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16')),
    *(('JPEG', mode) for mode in ('L', 'RGB', 'CMYK')),
    *(('WEBP', mode) for mode in ('RGB', 'RGBA')),
    *(('TIFF', mode) for mode in ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16', 'F')),
]


@pytest.mark.parametrize('orientation', STORED)
@pytest.mark.parametrize(('container', 'mode'), FILES)
def test_every_way_in_gives_the_same_upright_pixels(tmp_path, container, mode, orientation):
    file = tmp_path / f'a.{container.lower()}'
    file.write_bytes(encoded(mode, container, orientation))
    assert read_head(file).size == image_size(file) == (24, 16)
    read = {
        'path': next(iter(ImageInputs(file))).rgb,
        'bytes': next(iter(ImageInputs(file.read_bytes()))).rgb,
        'pillow': next(iter(ImageInputs(file, Decoder('pillow')))).rgb,
        'pil': next(iter(ImageInputs(Image.open(file)))).rgb,
        'onnx': preprocess.read_image(file),
        'training': LoadStreamedImage().transform(dict(img_path=str(file)))['img'][..., ::-1],
        'shard': LoadStreamedImage().transform(dict(img_path='a', img_bytes=file.read_bytes()))['img'][..., ::-1],
    }
    if container != 'TIFF':
        read['demo'] = read_image(file, Limits())
    for way, pixels in read.items():
        assert np.array_equal(pixels, read['path']), way
    tolerance = 6 if container == 'JPEG' else 0
    assert np.abs(read['path'].astype(int) - upright(mode)).max() <= tolerance


def test_arrays_are_taken_as_they_are():
    assert np.array_equal(next(iter(ImageInputs(RGB))).rgb, RGB)
    for orientation, stored in STORED.items():
        assert np.array_equal(turned(np.asarray(stored(Image.fromarray(RGB))), orientation), RGB)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (Image.fromarray((GREY / 255).astype(np.float32)), r'values from 0\.\d+ to 0\.\d+ in Pillow mode F.*0 to 255'),
        (Image.fromarray(GREY.astype(np.float32) * 3), 'in Pillow mode F'),
        (Image.fromarray(GREY.astype(np.int32) * 1000), 'in Pillow mode I'),
        (Image.fromarray(-GREY.astype(np.int32)), 'in Pillow mode I'),
    ],
)
def test_values_without_a_plain_meaning_are_refused(image, message):
    with pytest.raises(ImageInputError, match=message):
        list(ImageInputs(image))


def test_broken_exif_data_leaves_the_image_as_stored(tmp_path):
    broken = b'Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12'
    Image.fromarray(RGB).save(tmp_path / 'a.jpg', exif=broken, quality=95)
    assert next(iter(ImageInputs(tmp_path / 'a.jpg'))).rgb.shape == RGB.shape
    assert read_head(tmp_path / 'a.jpg').size == (24, 16)


def png_bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    rows = zlib.compress(bytes(1000), 9)
    head = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', rows) + chunk(b'IEND', b'')


def test_a_pixel_bomb_is_refused_by_its_header(tmp_path):
    bomb = png_bomb(30_000, 30_000)
    (tmp_path / 'bomb.png').write_bytes(bomb)
    (tmp_path / 'good.png').write_bytes(encoded('RGB', 'PNG', 1))
    start = time.perf_counter()
    for read in (
        lambda: list(ImageInputs(tmp_path / 'bomb.png')),
        lambda: list(ImageInputs(bomb)),
        lambda: preprocess.read_image(tmp_path / 'bomb.png'),
        lambda: read_head(bomb),
        lambda: read_rgb(bomb),
        lambda: LoadStreamedImage().transform(dict(img_path='bomb', img_bytes=bomb)),
    ):
        with pytest.raises(ImageInputError, match=r'too many pixels.*900000000.*PIL\.Image\.MAX_IMAGE_PIXELS'):
            read()
    assert time.perf_counter() - start < 5
    assert [image.source for image in ImageInputs(tmp_path)] == [str(tmp_path / 'good.png')]


@pytest.mark.skipif(sys.platform == 'win32', reason='needs named pipes')
def test_what_is_no_regular_file_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / 'pipe.png')
    with pytest.raises(FileNotFoundError):
        ImageInputs(tmp_path / 'pipe.png')
    with pytest.raises(ImageInputError, match='no regular file'):
        read_head(tmp_path / 'pipe.png')
    with pytest.raises(ImageInputError, match='no regular file'):
        preprocess.read_image(tmp_path / 'pipe.png')


@pytest.mark.skipif(not os.path.exists('/proc/self/mem'), reason='needs a file that cannot be read')
def test_a_found_file_that_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / 'good.png').write_bytes(encoded('RGB', 'PNG', 1))
    os.symlink('/proc/self/mem', tmp_path / 'bad.png')
    assert [image.source for image in ImageInputs(tmp_path)] == [str(tmp_path / 'good.png')]
