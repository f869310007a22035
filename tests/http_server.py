"""A small web server for tests of downloads: files with ranges, and the ways in which servers fail."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from unittest.mock import patch

from glipv2_mmdet.apis import public_addresses


@dataclass
class WebServer:
    """What is served, and what was asked for.

    Attributes:
        files: path to content.
        redirects: path to address.
        breaks_after: path to the number of bytes after which the connection ends, once.
        silent_about_length: paths that are sent without Content-Length.
        pauses: path to seconds between bytes.
        requests: (path, Range header) in order.
        url: begins every address.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    breaks_after: dict[str, int] = field(default_factory=dict)
    silent_about_length: set[str] = field(default_factory=set)
    pauses: dict[str, float] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ''


@contextmanager
def web_server() -> Iterator[WebServer]:
    """Serve until the end of the block, in which addresses of this machine may be fetched."""
    content = WebServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, wanted = self.path, self.headers.get('Range')
            content.requests.append((path, wanted))
            if path in content.redirects:
                self.send_response(302)
                self.send_header('Location', content.redirects[path])
                self.end_headers()
            elif path not in content.files:
                self.send_error(404)
            else:
                self._send(path, content.files[path], int(wanted[6:].split('-')[0]) if wanted else 0)

        def _send(self, path: str, body: bytes, start: int) -> None:
            if start and start >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header('Content-Range', f'bytes {start}-{len(body) - 1}/{len(body)}')
            if path not in content.silent_about_length:
                self.send_header('Content-Length', str(len(body) - start))
            self.end_headers()
            end = start + content.breaks_after.pop(path, len(body))
            if path in content.pauses:
                for place in range(start, end):
                    self.wfile.write(body[place : place + 1])
                    time.sleep(content.pauses[path])
            else:
                self.wfile.write(body[start:end])

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    content.url = f'http://127.0.0.1:{server.server_port}'
    thread = Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.05), daemon=True)
    thread.start()
    try:
        with patch.dict(os.environ, {public_addresses.VARIABLE: '1'}):
            yield content
    finally:
        server.shutdown()
        server.server_close()
