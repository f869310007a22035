"""Addresses that lead into the own network are not fetched, however they are written and wherever a redirect points."""

from __future__ import annotations

import socket

import pytest

from glipv2_mmdet.apis import fetching, public_addresses
from glipv2_mmdet.apis.fetching import FetchError, fetch
from glipv2_mmdet.apis.images import ImageInputs
from tests.http_server import web_server

PUBLIC = '93.184.215.14'


@pytest.fixture
def server(monkeypatch):
    with web_server() as running:
        running.files['/data'] = b'secret'
        monkeypatch.delenv(public_addresses.VARIABLE)
        yield running


def names(monkeypatch, answers: dict[str, list[str]]) -> list[str]:
    """Let names point where a test wants, each look-up to the next of its answers; returns the names asked for."""
    asked, look_up = [], socket.getaddrinfo

    def answer(host, port, *args, **settings):
        asked.append(host)
        if host not in answers:
            return look_up(host, port, *args, **settings)
        number = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        return look_up(number, port, *args, **settings)

    monkeypatch.setattr(socket, 'getaddrinfo', answer)
    return asked


@pytest.mark.parametrize(
    'host',
    [
        '127.0.0.1',
        'localhost',
        '127.1',
        '2130706433',
        '0x7f000001',
        '0177.0.0.1',
        '0',
        '[::1]',
        '[::]',
        '[::ffff:127.0.0.1]',
        '[::ffff:a9fe:a9fe]',
        '[64:ff9b::7f00:1]',
        '[2002:7f00:1::]',
        '169.254.169.254',
        '10.1.2.3',
        '172.16.0.1',
        '192.168.1.1',
        '100.64.0.1',
        '[fe80::1]',
        '[fd00::1]',
        '224.0.0.1',
    ],
)
def test_every_way_to_write_a_private_address_is_refused(host, server):
    port = server.url.rpartition(':')[2]
    with pytest.raises(FetchError, match=r'an address of this machine or its network.*GLIPV2_PRIVATE_ADDRESSES=1'):
        fetch(f'http://{host}:{port}/data', timeout=2)
    assert not server.requests


@pytest.mark.parametrize('number', [PUBLIC, '8.8.8.8', '2606:2800:21f:cb07:6820:80da:af6b:8b2c', '64:ff9b::808:808'])
def test_addresses_of_the_internet_are_public(number):
    assert public_addresses.is_public(number)


@pytest.mark.parametrize('scheme', ['http', 'https'])
def test_a_name_that_points_here_is_refused(scheme, server, monkeypatch):
    names(monkeypatch, {'photos.example': ['127.0.0.1'], 'metadata.example': ['169.254.169.254']})
    port = server.url.rpartition(':')[2]
    for host in ('photos.example', 'metadata.example'):
        with pytest.raises(FetchError, match=f'"{host}" is .*an address of this machine'):
            fetch(f'{scheme}://{host}:{port}/data', timeout=2)
    assert not server.requests


def test_a_name_that_points_here_the_second_time_is_refused(server, monkeypatch):
    """The owner of a domain answers the check with one number, and the connection with another."""
    asked = names(monkeypatch, {'photos.example': [PUBLIC, '127.0.0.1']})
    port = server.url.rpartition(':')[2]
    with pytest.raises(FetchError, match=r'"photos\.example" is 127\.0\.0\.1'):
        fetch(f'http://photos.example:{port}/data', timeout=2)
    assert asked == ['photos.example'] * 2 and not server.requests


def test_the_connection_goes_to_the_number_that_was_checked(server, monkeypatch):
    port, connected = int(server.url.rpartition(':')[2]), []
    asked = names(monkeypatch, {'photos.example': [PUBLIC]})
    connect = socket.create_connection

    def recorded(address, *args, **settings):
        connected.append(address)
        return connect(('127.0.0.1', port), *args, **settings)

    monkeypatch.setattr(socket, 'create_connection', recorded)
    assert fetch(f'http://photos.example:{port}/data') == b'secret'
    # no third look-up of the name
    assert connected == [(PUBLIC, port)] and asked[:2] == ['photos.example'] * 2
    assert asked[2:] == ['127.0.0.1'] and server.requests == [('/data', None)]


def test_a_redirect_into_the_network_is_refused(server, monkeypatch):
    names(monkeypatch, {'photos.example': [PUBLIC]})
    port, connect = int(server.url.rpartition(':')[2]), socket.create_connection
    monkeypatch.setattr(
        socket, 'create_connection', lambda address, *more, **settings: connect(('127.0.0.1', port), *more, **settings)
    )
    for target in (f'http://127.0.0.1:{port}/data', 'http://169.254.169.254/latest', 'http://[::1]/data'):
        server.redirects['/old'] = target
        with pytest.raises(FetchError, match='an address of this machine'):
            fetch(f'http://photos.example:{port}/old')
    assert [path for path, _ in server.requests] == ['/old'] * 3


def test_images_are_fetched_this_way(server):
    with pytest.raises(FetchError, match='an address of this machine'):
        list(ImageInputs(f'{server.url}/data'))
    assert not server.requests


def test_who_means_it_may(server, monkeypatch):
    monkeypatch.setenv(public_addresses.VARIABLE, '1')
    assert fetch(f'{server.url}/data') == b'secret'


def test_a_mirror_of_ones_own_is_allowed(server):
    """``glipv2 download --mirror``: the person at the keyboard names it, and what it sends is checked by its hash."""
    with fetching.open_url(f'{server.url}/data') as response:
        assert response.read() == b'secret'


def test_odd_ports_are_an_error_and_no_crash(server):
    with pytest.raises(FetchError):
        fetch('http://example.invalid:99999/a')
