"""Fetching keeps its limits, whatever a server does."""

from __future__ import annotations

import time

import pytest

from glipv2_mmdet.apis.fetching import FetchError, fetch, is_url
from tests.http_server import web_server


@pytest.fixture
def server():
    with web_server() as running:
        running.files['/data'] = bytes(range(256)) * 8
        yield running


def test_content_comes_complete_through_redirects(server):
    server.redirects['/old'] = f'{server.url}/data'
    assert fetch(f'{server.url}/old') == server.files['/data']


@pytest.mark.parametrize('announced', [True, False])
def test_too_much_is_refused_announced_or_not(server, announced):
    if not announced:
        server.silent_about_length.add('/data')
    with pytest.raises(FetchError, match=r'more than the 2,047'):
        fetch(f'{server.url}/data', max_bytes=2047)
    assert len(fetch(f'{server.url}/data', max_bytes=2048)) == 2048


def test_slow_servers_are_left(server):
    server.files['/slow'], server.pauses['/slow'] = b'x' * 100, 0.05
    start = time.monotonic()
    with pytest.raises(FetchError, match='not complete after'):
        fetch(f'{server.url}/slow', timeout=0.4)
    assert time.monotonic() - start < 3


def test_a_broken_connection_is_no_short_file(server):
    server.breaks_after['/data'] = 100
    with pytest.raises(FetchError, match=r'connection broke, 1,948 bytes are missing'):
        fetch(f'{server.url}/data')


def test_refusals_name_the_address_and_the_status(server):
    with pytest.raises(FetchError, match=r'/nothing: the server says 404') as caught:
        fetch(f'{server.url}/nothing')
    assert caught.value.status == 404
    with pytest.raises(FetchError, match='no answer'):
        fetch('http://127.0.0.1:9/')


@pytest.mark.parametrize('target', ['file:///etc/hostname', 'ftp://127.0.0.1/data'])
def test_only_http_is_followed(server, target):
    server.redirects['/away'] = target
    with pytest.raises(FetchError, match=r'not allowed|expected an address that begins with http'):
        fetch(f'{server.url}/away')
    with pytest.raises(FetchError, match='expected an address'):
        fetch(target)


def test_a_check_sees_every_address(server):
    server.redirects['/old'] = f'{server.url}/data'
    seen = []
    fetch(f'{server.url}/old', check=seen.append)
    assert seen == [f'{server.url}/old', f'{server.url}/data']

    def refuse(url: str) -> None:
        if url.endswith('/data'):
            raise FetchError('not there')

    with pytest.raises(FetchError, match='not there'):
        fetch(f'{server.url}/old', check=refuse)
    assert [path for path, _ in server.requests] == ['/old', '/data', '/old']


def test_addresses_and_paths_are_told_apart():
    assert is_url('https://x/a.jpg') and is_url('HTTP://x')
    assert not is_url('C:/a.jpg') and not is_url('https') and not is_url('file:///a') and not is_url(3)
