"""Which addresses of the web may be fetched: those of the internet, not those of this machine or its network.

A program that takes image addresses from its users would otherwise fetch for them what only it can reach: services of
the same machine, the metadata service of a cloud. The name in an address says little: whoever owns a domain lets it
point to 127.0.0.1, in the second answer if not in the first. So the check is made where the connection is: the name is
looked up once, every number is checked, and the connection goes to a checked number.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import urllib.request
from typing import Any
from urllib.parse import urlsplit

#: Set to 1, private addresses may be fetched: cameras and servers of one's own network.
VARIABLE = 'GLIPV2_PRIVATE_ADDRESSES'


class PrivateAddressError(OSError):
    """An address that leads into the own network; the text says how to allow it."""


def private_allowed() -> bool:
    """Whether the user has said that private addresses may be fetched."""
    return os.environ.get(VARIABLE, '') == '1'


def is_public(number: str) -> bool:
    """Whether a numeric address, IPv4 or IPv6, is one of the internet; those that wrap an IPv4 one count as that."""
    address = ipaddress.ip_address(number.partition('%')[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = inner or address
    return address.is_global and not address.is_multicast


def check_host(url: str) -> None:
    """Refuse an address whose name leads into the own network; one that cannot be looked up passes.

    Where a proxy makes the connection this is all that can be done here: it looks the name up again.

    Raises:
        PrivateAddressError: it does.
    """
    parts = urlsplit(url)
    try:
        # a port that is none is a ValueError, too
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return
    _check(parts.hostname, found)


def handlers() -> list[urllib.request.BaseHandler]:
    """For an opener: connections that are made to checked numbers."""
    return [_Plain(), _Encrypted()]


def _connect(address: tuple[str, int], timeout: Any = None, source: Any = None) -> socket.socket:
    """As ``socket.create_connection``, to numbers that were checked."""
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    _check(address[0], found)
    last: OSError | None = None
    for *_, number in found:
        try:
            return socket.create_connection(number[:2], timeout, source)
        except OSError as error:
            last = error
    raise last or OSError(f'{address[0]} has no address')


def _check(host: str | None, found: list) -> None:
    for *_, number in found:
        if not is_public(number[0]):
            raise PrivateAddressError(
                f'"{host}" is {number[0]}, an address of this machine or its network, which is '
                f'not fetched. If you meant it, set the environment variable {VARIABLE}=1.'
            )


_NAT64 = ipaddress.ip_network('64:ff9b::/96')


def _checked(connection: http.client.HTTPConnection) -> http.client.HTTPConnection:
    # the place where http.client keeps the function that connects, for exactly this
    connection._create_connection = _connect
    return connection


class _Plain(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        # a proxy is the user's own and may be in the network
        if req.has_proxy():
            return super().http_open(req)
        return self.do_open(lambda host, **settings: _checked(http.client.HTTPConnection(host, **settings)), req)


class _Encrypted(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        # with a tunnel through a proxy the host of the request is still that of the address
        if req.has_proxy() or req._tunnel_host:
            return super().https_open(req)
        return self.do_open(lambda host, **settings: _checked(http.client.HTTPSConnection(host, **settings)), req)
