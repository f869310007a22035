"""Bytes from the web, with limits: http and https only, so much time, so many bytes, and public hosts alone.

What counts as public: ``public_addresses.py``.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from glipv2_mmdet.apis import public_addresses

MAX_IMAGE_BYTES = 50 * 2**20
TIMEOUT = 20.0
_BLOCK = 1 << 16
_SCHEMES = ('http', 'https')

#: Called with the address of a request and of every redirect; raises to refuse it.
AddressCheck = Callable[[str], None]


class FetchError(OSError):
    """Something that could not be fetched; the text names the address and the reason.

    Attributes:
        status: what the server answered, where it did.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def is_url(text: Any) -> bool:
    """Whether a text is an address rather than a path."""
    return isinstance(text, str) and text.split('://')[0].lower() in _SCHEMES and '://' in text


def fetch(
    url: str, max_bytes: int = MAX_IMAGE_BYTES, timeout: float = TIMEOUT, check: AddressCheck | None = None
) -> bytes:
    """The content of a public address; of any where ``GLIPV2_PRIVATE_ADDRESSES=1`` is set.

    Args:
        url: http or https.
        max_bytes: more is refused, whatever the server announces.
        timeout: seconds for everything together.
        check: see :data:`AddressCheck`.

    Raises:
        FetchError: a private address, no answer, another status than 200, too large or too slow.
    """
    deadline = time.monotonic() + timeout
    content = bytearray()
    with open_url(url, timeout, check=check, public_only=not public_addresses.private_allowed()) as response:
        announced = response.headers.get('Content-Length', '')
        if announced.isdigit() and int(announced) > max_bytes:
            raise FetchError(f'{url}: {int(announced):,} bytes, more than the {max_bytes:,} that are allowed.')
        while block := read_block(response, url):
            content += block
            if len(content) > max_bytes:
                raise FetchError(f'{url}: more than the {max_bytes:,} bytes that are allowed.')
            if time.monotonic() > deadline:
                raise FetchError(f'{url}: not complete after {timeout:g} seconds.')
    return bytes(content)


@contextmanager
def open_url(
    url: str,
    timeout: float = TIMEOUT,
    headers: Mapping[str, str] | None = None,
    check: AddressCheck | None = None,
    public_only: bool = False,
) -> Iterator[http.client.HTTPResponse]:
    """The open answer of a server, behind redirects.

    Args:
        url: http or https.
        timeout: seconds without a sign of life.
        headers: of the request.
        check: see :data:`AddressCheck`.
        public_only: refuse addresses of this machine and its network, behind redirects too.

    Raises:
        FetchError: no answer, or a status that is no success.
    """
    check_host = public_addresses.check_host if public_only else None
    checks = [one for one in (check, check_host) if one is not None]
    connections = (
        public_addresses.handlers() if public_only else [urllib.request.HTTPHandler(), urllib.request.HTTPSHandler()]
    )
    _check_address(url, checks)
    opener = urllib.request.OpenerDirector()  # the default one would follow a redirect to ftp
    for handler in (
        urllib.request.ProxyHandler(),
        *connections,
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _CheckedRedirects(checks),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(url, headers={'User-Agent': 'glipv2_mmdet', **(headers or {})})
    try:
        response = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        raise FetchError(f'{url}: the server says {error.code} {error.reason}.', error.code) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        if isinstance(error, FetchError):
            raise
        reason = getattr(error, 'reason', None)
        if isinstance(reason, public_addresses.PrivateAddressError):
            raise FetchError(f'{url}: {reason}') from error
        raise FetchError(f'{url}: no answer ({getattr(error, "reason", None) or error}).') from error
    with response:
        yield response


def read_block(response: http.client.HTTPResponse, url: str) -> bytes:
    """The next bytes; empty at the end.

    Raises:
        FetchError: the connection broke, or the answer is shorter than announced.
    """
    try:
        block = response.read1(_BLOCK)
    except (http.client.HTTPException, OSError) as error:
        raise FetchError(f'{url}: the connection broke ({error}).') from error
    # read1 does not tell an end from a break
    if not block and response.length:
        raise FetchError(f'{url}: the connection broke, {response.length:,} bytes are missing.')
    return block


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to addresses that would be fetched themselves."""

    def __init__(self, checks: Sequence[AddressCheck]) -> None:
        self.checks = checks

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_address(newurl, self.checks)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(url: str, checks: Sequence[AddressCheck]) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise FetchError(f'{url}: expected an address that begins with http:// or https:// ({error}).') from error
    if parts.scheme.lower() not in _SCHEMES or not parts.hostname:
        raise FetchError(f'{url}: expected an address that begins with http:// or https://.')
    for check in checks:
        try:
            check(url)
        except public_addresses.PrivateAddressError as error:
            raise FetchError(f'{url}: {error}') from error
