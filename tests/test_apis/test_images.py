"""Inputs of the inferencer: every kind gives the same RGB pixels, and what is no image says so."""

from __future__ import annotations

from io import BytesIO

import cv2
import mmcv
import numpy as np
import pytest
from PIL import Image

from glipv2_mmdet.apis.images import Decoder, ImageInputError, ImageInputs
from tests.http_server import web_server

RGB = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    for name in ('b.png', 'a.png', 'notes.txt'):
        if name.endswith('png'):
            Image.fromarray(RGB).save(tmp_path / name)
        else:
            (tmp_path / name).write_text('no image')
    (tmp_path / 'more').mkdir()
    Image.fromarray(RGB).save(tmp_path / 'more' / 'c.png')
    return tmp_path


def read(inputs, **more) -> list:
    return list(ImageInputs(inputs, **more))


def test_all_kinds_give_the_same_pixels(folder):
    with web_server() as server:
        server.files['/a.png'] = (folder / 'a.png').read_bytes()
        for given in (RGB, Image.fromarray(RGB), folder / 'a.png', str(folder / 'a.png'), f'{server.url}/a.png'):
            inputs = ImageInputs(given)
            (image,) = inputs
            assert inputs.is_single and image.rgb.dtype == np.uint8 and np.array_equal(image.rgb, RGB)
    assert image.source == f'{server.url}/a.png'


def test_folders_and_patterns_give_sorted_lists(folder):
    assert [image.source for image in read(folder)] == [str(folder / 'a.png'), str(folder / 'b.png')]
    deep = ImageInputs(f'{folder}/**/*.png')
    assert len(deep) == 3 and not deep.is_single
    assert not ImageInputs(f'{folder}/a*.png').is_single
    assert len(read([folder, RGB])) == 3


def test_a_list_of_one_is_a_list():
    assert not ImageInputs([RGB]).is_single


@pytest.mark.parametrize(
    'array, expected',
    [
        (RGB[..., 0], RGB[..., :1].repeat(3, axis=2)),
        (RGB[..., :1], RGB[..., :1].repeat(3, axis=2)),
        (np.dstack((RGB, RGB[..., 0])), RGB),
    ],
)
def test_grey_and_transparent_arrays_become_rgb(array, expected):
    (image,) = ImageInputs(array)
    assert np.array_equal(image.rgb, expected) and image.rgb.flags.c_contiguous


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_photos_are_turned_as_their_exif_tag_says(tmp_path, backend):
    image = Image.fromarray(np.repeat(np.repeat(RGB, 8, 0), 8, 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / 'turned.jpg', exif=exif, quality=95)
    (read_image,) = ImageInputs(tmp_path / 'turned.jpg', Decoder(imdecode_backend=backend))
    as_mmcv = mmcv.imfrombytes((tmp_path / 'turned.jpg').read_bytes(), backend=backend)[..., ::-1]
    assert read_image.rgb.shape == (128, 96, 3) and np.array_equal(read_image.rgb, as_mmcv)
    (from_pil,) = ImageInputs(Image.open(tmp_path / 'turned.jpg'))
    assert from_pil.rgb.shape == (128, 96, 3) and from_pil.source == str(tmp_path / 'turned.jpg')


def test_video_frames_come_one_by_one(tmp_path):
    file = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*'MJPG'), 5, (64, 48))
    for level in range(0, 250, 50):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    inputs = ImageInputs(file, frame_step=2)
    frames = list(inputs)
    assert inputs.has_video and not inputs.is_single
    assert [frame.source for frame in frames] == [f'{file}#{number}' for number in (0, 2, 4)]
    assert [abs(int(frame.rgb.mean()) - level) < 5 for frame, level in zip(frames, (0, 100, 200), strict=True)]


def test_broken_files_are_errors_when_named_and_warnings_when_found(folder, caplog):
    (folder / 'a.png').write_bytes((folder / 'b.png').read_bytes()[:40])
    for backend in ('cv2', 'pillow'):
        decoder = Decoder(imdecode_backend=backend)
        with pytest.raises(ImageInputError, match=r'a\.png" cannot be read as an image'):
            read(folder / 'a.png', decoder=decoder)
        assert [image.source for image in read(folder, decoder=decoder)] == [str(folder / 'b.png')]


@pytest.mark.parametrize(
    'given, error, message',
    [
        ('nowhere.jpg', FileNotFoundError, 'There is no image "nowhere.jpg"'),
        ('nowhere/*.jpg', FileNotFoundError, 'No image fits the pattern'),
        (12, ImageInputError, 'given as int'),
        ([], ImageInputError, 'list of images is empty'),
        (RGB.astype(np.float32), ImageInputError, r'array of float32.*Expected RGB'),
        (RGB[None], ImageInputError, r'shape \(1, 12, 16, 3\)'),
        (RGB[:0], ImageInputError, r'shape \(0, 16, 3\)'),
    ],
)
def test_what_is_no_image_says_what_was_expected(given, error, message):
    with pytest.raises(error, match=message):
        read(given)


def test_folders_without_images_and_wrong_steps_are_refused(tmp_path):
    with pytest.raises(ImageInputError, match='has no images'):
        read(tmp_path)
    with pytest.raises(ImageInputError, match='frame_step is 0'):
        read(RGB, frame_step=0)
    (tmp_path / 'clip.mp4').write_bytes(b'no video')
    with pytest.raises(ImageInputError, match='no frame that can be read'):
        read(tmp_path / 'clip.mp4')


def test_a_page_instead_of_an_image_is_refused():
    buffer = BytesIO(b'<html>sign in</html>')
    with web_server() as server:
        server.files['/a.jpg'] = buffer.getvalue()
        with pytest.raises(ImageInputError, match=r'/a\.jpg" cannot be read as an image'):
            read(f'{server.url}/a.jpg')


def test_a_picture_that_pillow_cannot_decode_is_no_image():
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(buffer, format='PNG')
    picture = Image.open(BytesIO(buffer.getvalue()[:800]))
    with pytest.raises(ImageInputError, match='"image" cannot be read as an image'):
        list(ImageInputs(picture))


def test_a_picture_without_pixels_is_no_image():
    with pytest.raises(ImageInputError, match=r'shape \(0, 5, 3\)'):
        list(ImageInputs(Image.new('RGB', (5, 0))))


@pytest.mark.parametrize('name', ['a' * 5000, '\ud83d.jpg', 'x\x00.jpg'])
def test_a_name_that_no_file_can_have_is_not_found(name):
    with pytest.raises(FileNotFoundError, match='There is no image'):
        ImageInputs(name)
