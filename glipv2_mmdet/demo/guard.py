"""What stands between the network and gradio: only the addresses that the page needs, only files that were uploaded.

Gradio serves dozens of addresses, fetches http addresses that stand where a file is expected, and streams them back.
The demo needs none of that, so it is refused before gradio sees it, whatever version is installed.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glipv2_mmdet.demo.upload_area import UploadArea
from glipv2_mmdet.demo.visitor_shares import VisitorShares, visitor_of

_API = '/gradio_api'
_FILE = f'{_API}/file='
_UPLOAD = f'{_API}/upload'
_READ = frozenset(
    {
        '/',
        '/config',
        '/config/',
        '/theme.css',
        '/favicon.ico',
        '/manifest.json',
        '/robots.txt',
        *(
            f'{_API}/{name}'
            for name in (
                'info',
                'info/',
                'app_id',
                'startup-events',
                'theme.css',
                'heartbeat',
                'upload_progress',
                'queue/data',
                'queue/status',
            )
        ),
    }
)
_READ_BELOW = ('/assets/', '/static/', '/svelte/', f'{_API}/heartbeat/', f'{_API}/call/', _FILE)
# run/predict fills the fields of an example; models are behind the queue, and gradio refuses them here
_WRITE = frozenset({_UPLOAD, *(f'{_API}/{name}' for name in ('queue/join', 'run/predict', 'cancel', 'reset'))})
# what takes a place in the queue
_QUEUED = (f'{_API}/queue/join', f'{_API}/call/')
_WRITE_BELOW = (f'{_API}/call/',)

_LOOPBACK = ('127.0.0.1', 'localhost', '::1')
_JSON_BYTES = 200_000  # a request is a prompt and some numbers
_MULTIPART_BYTES = 20_000  # names and boundaries around a file
_HEADERS = {
    # nothing is loaded from, or sent to, anywhere else; the page of gradio has scripts inside
    'content-security-policy': (
        "default-src 'self'; script-src 'self' 'unsafe-inline' blob:; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
    ),
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'same-origin',
}


class RequestGuard:
    """ASGI middleware.

    Args:
        app: what is guarded.
        area: where uploads lie; files elsewhere are neither served nor read.
        file_bytes: largest upload.
        hosts: names under which the page is reached, or ``('*',)``. On a loopback address this keeps web pages of
            others from reaching it through a name that they let point here.
        waiting: places in the queue; a visitor may ask for half of them within a minute.
        behind_proxy: connections are those of a proxy, see :func:`~glipv2_mmdet.demo.visitor_shares.visitor_of`.
    """

    def __init__(
        self,
        app: ASGIApp,
        area: UploadArea,
        file_bytes: int,
        hosts: tuple[str, ...],
        waiting: int = 20,
        behind_proxy: bool = False,
    ) -> None:
        self.app = app
        self.behind_proxy = behind_proxy
        self.requests = VisitorShares(max(1, waiting // 2), 60.0)
        # a quarter of the area, but one file in any case
        self.uploads = VisitorShares(max(area.most_bytes // 4, file_bytes + _MULTIPART_BYTES), area.seconds_kept)
        self.area = area
        self.file_bytes = file_bytes
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
            return
        if scope['type'] != 'http':  # gradio 6 uses no web sockets
            return
        try:
            receive = await self._checked(scope, receive)
        except HTTPException as error:
            await PlainTextResponse(f'{error.detail}\n', error.status_code)(scope, receive, _with_headers(send))
            return
        await self.app(scope, receive, _with_headers(send))

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        """Where the app reads the body from.

        Raises:
            HTTPException: the request is refused.
        """
        visitor = visitor_of(scope, Headers(scope=scope), self.behind_proxy)
        path, headers = scope['path'].removeprefix(scope.get('root_path', '')), Headers(scope=scope)
        self._check_origin(headers)
        if scope['method'] in ('GET', 'HEAD'):
            if path.startswith(_FILE):
                if not self.area.contains(path.removeprefix(_FILE)):
                    raise HTTPException(403, 'Only uploads and results of this demo are served.')
            elif path not in _READ and not path.startswith(_READ_BELOW):
                raise HTTPException(404, 'The demo has no such address.')
            return receive
        if scope['method'] != 'POST' or not (path in _WRITE or path.startswith(_WRITE_BELOW)):
            raise HTTPException(404, 'The demo has no such address.')
        if path == _UPLOAD:
            await anyio.to_thread.run_sync(self.area.sweep)
            if await anyio.to_thread.run_sync(self.area.is_full):
                raise HTTPException(507, 'The server has no room for uploads just now. Try again in some minutes.')
            most = self.file_bytes + _MULTIPART_BYTES
            refusal = f'The upload is too large; at most {self.file_bytes / 1e6:g} MB are accepted.'
            length = headers.get('content-length', '')
            if length.isdecimal() and int(length) > most:
                raise HTTPException(413, refusal)
            # an unstated length counts in full
            size = int(length) if length.isdecimal() else most
            if visitor not in _LOOPBACK and not self.uploads.take(visitor, size):
                raise HTTPException(429, 'You have uploaded much within a short time. Try again in some minutes.')
            return _bounded(receive, most, refusal)
        # who sits at this machine shares the queue with nobody
        if path.startswith(_QUEUED) and visitor not in _LOOPBACK and not self.requests.take(visitor, 1):
            raise HTTPException(429, 'You have asked much within a minute. Try again in a minute.')
        body = await _read_all(_bounded(receive, _JSON_BYTES, 'The request is too large.'))
        self._check_files(body)
        return _replay(body, receive)

    def _check_origin(self, headers: Headers) -> None:
        host, port = _name_and_port(f'//{headers.get("host", "")}')
        if '*' not in self.hosts and host not in self.hosts:
            raise HTTPException(
                400, f'The demo is not known under this name. Open it as {self.hosts[0]}, or name it with --public-url.'
            )
        origin = headers.get('origin')
        if not origin:
            return
        name, of_port = _name_and_port(origin)
        # another port of this machine is another site: any local program may serve a page there. Behind a proxy the
        # page has the proxy's port.
        is_same = of_port == port and name in (host, *self.hosts)
        if not is_same and (name not in self.hosts or name in _LOOPBACK):
            raise HTTPException(403, 'Requests from pages of other sites are refused.')

    def _check_files(self, body: bytes) -> None:
        """Whatever gradio would take for a file must be one that was uploaded."""
        try:
            waiting: list[Any] = [json.loads(body)]
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, 'The request is not json.') from error
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                path = value.get('path')
                if path is not None and not (isinstance(path, str) and self.area.contains(path)):
                    raise HTTPException(
                        403,
                        'The request names a file that was not uploaded here. Upload the image; '
                        'paths and addresses are not followed.',
                    )
                waiting.extend(value.values())
            elif isinstance(value, list):
                waiting.extend(value)


def _name_and_port(address: str) -> tuple[str, int | None]:
    """Host name and port of an address; a port that is the default of its scheme counts as none.

    Raises:
        HTTPException: it is malformed.
    """
    try:
        parts = urlsplit(address)
        name, port = parts.hostname or '', parts.port
    except ValueError as error:
        raise HTTPException(400, 'The Host or Origin of the request is malformed.') from error
    return name, None if port in (None, 80, 443) else port


def _bounded(receive: Receive, most: int, refusal: str) -> Receive:
    """Refuses a body when its bytes, counted as they come, are too many; a stated length may be wrong or missing."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get('body', b''))
        if seen > most:
            raise HTTPException(413, refusal)
        return message

    return counted


async def _read_all(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message['type'] != 'http.request':  # the visitor went away
            raise HTTPException(400, 'The request ended early.')
        parts.append(message.get('body', b''))
        if not message.get('more_body', False):
            return b''.join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, then what comes after it (the end of the connection)."""
    messages: list[Message] = [{'type': 'http.request', 'body': body, 'more_body': False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message['type'] == 'http.response.start':
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return sent
