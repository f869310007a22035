"""Public weights, from a web server on this machine: converted once, checked, and whole or not there."""

from __future__ import annotations

import hashlib
import io

import pytest
import torch

from glipv2_mmdet.apis import downloads
from glipv2_mmdet.apis.downloads import (
    PUBLIC_MODELS,
    DownloadError,
    PublicCheckpoint,
    download,
    downloaded_weights,
    public_checkpoint,
)
from glipv2_mmdet.apis.model_names import MODEL_CONFIGS
from glipv2_mmdet.checkpoints import CheckpointError, read_checkpoint, to_ours
from tests.http_server import web_server
from tests.test_checkpoints.tiny_glip import mmdet_weights


@pytest.fixture(scope='module')
def weights():
    return mmdet_weights()


@pytest.fixture(scope='module')
def content(weights) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(state_dict=weights), buffer)
    return buffer.getvalue()


@pytest.fixture
def server(content):
    with web_server() as running:
        running.path = f'/weights/glip_tiny_mmdet-{hashlib.sha256(content).hexdigest()[:8]}.pth'
        running.files[running.path] = content
        yield running


def checkpoint_of(server, path: str | None = None) -> PublicCheckpoint:
    path = path or server.path
    return PublicCheckpoint('glip-t', f'https://weights.example{path}', path[-12:-4])


def test_the_file_is_converted_and_kept(server, weights, tmp_path):
    steps = []
    file = download(checkpoint_of(server), tmp_path / 'cache', server.url, lambda *step: steps.append(step))
    assert (
        [entry.name for entry in (tmp_path / 'cache').iterdir()] == [file.name] == [f'glip_t-{server.path[-12:-4]}.pth']
    )
    written = read_checkpoint(file)
    expected = to_ours(weights).state_dict
    assert written['state_dict'].keys() == expected.keys()
    assert all(torch.equal(written['state_dict'][name], expected[name]) for name in expected)
    size = len(server.files[server.path])
    assert written['meta']['source_sha256'].startswith(server.path[-12:-4]) and steps[-1] == (size, size)
    assert download(checkpoint_of(server), tmp_path / 'cache', server.url) == file
    assert len(server.requests) == 1


def test_models_find_what_was_downloaded(server, tmp_path, monkeypatch):
    monkeypatch.setenv('GLIPV2_CACHE', str(tmp_path))
    assert downloaded_weights('glip-t') is None
    file = download(checkpoint_of(server), downloads.cache_dir(), server.url)
    assert downloaded_weights('glip-t') == file
    assert downloaded_weights('glip-t-a') is None and downloaded_weights('glipv2-t') is None


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    server.breaks_after[server.path] = 1000
    with pytest.raises(DownloadError, match=r'connection broke.*1,000 bytes so far are kept'):
        download(checkpoint_of(server), tmp_path, server.url)
    assert [file.suffix for file in tmp_path.iterdir()] == ['.part']
    assert download(checkpoint_of(server), tmp_path, server.url).is_file()
    assert server.requests == [(server.path, None), (server.path, 'bytes=1000-')]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_is_whole_already_is_only_checked(server, tmp_path):
    (tmp_path / f'{server.path.rsplit("/", 1)[1]}.part').write_bytes(server.files[server.path])
    assert download(checkpoint_of(server), tmp_path, server.url).is_file()


def test_another_content_is_removed(server, tmp_path):
    server.files[server.path] = server.files[server.path][:-1] + b'!'
    with pytest.raises(DownloadError, match=r'its name says .* is removed'):
        download(checkpoint_of(server), tmp_path, server.url)
    assert not list(tmp_path.iterdir())


def test_content_that_is_no_glip_is_an_error_and_no_file(server, tmp_path):
    path = f'/weights/other-{hashlib.sha256(b"other").hexdigest()[:8]}.pth'
    server.files[path] = b'other'
    with pytest.raises(CheckpointError, match='cannot be read as weights'):
        download(checkpoint_of(server, path), tmp_path, server.url)
    assert not list(tmp_path.glob('*.pth'))


def test_without_a_server_the_error_says_what_to_do(tmp_path):
    with pytest.raises(DownloadError, match=r'no answer.*copy the file from another machine'):
        download(
            PublicCheckpoint('glip-t', 'https://weights.example/a-00000000.pth', '00000000'),
            tmp_path,
            'http://127.0.0.1:9',
        )


@pytest.mark.parametrize('name', PUBLIC_MODELS)
def test_mmdet_lists_every_public_model(name):
    checkpoint = public_checkpoint(name)
    assert checkpoint.url.startswith('https://') and checkpoint.url.endswith(f'-{checkpoint.sha256}.pth')
    assert name in MODEL_CONFIGS


def test_other_names_have_no_public_weights():
    with pytest.raises(ValueError, match=r'no public weights for "glipv2-t".*glip-t-a'):
        public_checkpoint('glipv2-t')
