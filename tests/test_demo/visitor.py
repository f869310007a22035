"""A visitor of the demo that speaks plain HTTP, and can send what no page would."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_API = '/gradio_api'


@dataclass(frozen=True)
class Reply:
    """What came of a request: ``data`` on success, else ``error``; ``status`` is that of joining the queue."""

    status: int
    data: list | None = None
    error: str | None = None


class Visitor:
    """Talks to the demo at ``address``."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=120, trust_env=False)

    def upload(self, name: str, content: bytes) -> httpx.Response:
        return self.http.post(f'{_API}/upload', files={'files': (name, content)})

    def uploaded(self, path: Path) -> dict[str, Any]:
        """Uploads a file; what the page would then send as value of its image field."""
        answer = self.upload(path.name, path.read_bytes())
        answer.raise_for_status()
        return {'path': answer.json()[0], 'meta': {'_type': 'gradio.FileData'}, 'orig_name': path.name}

    def call(self, task: str, *data: Any) -> Reply:
        place = self.http.post(f'{_API}/call/{task}', json={'data': list(data)})
        if place.status_code != 200:
            return Reply(place.status_code, error=place.text)
        with self.http.stream('GET', f'{_API}/call/{task}/{place.json()["event_id"]}') as answer:
            event = None
            for line in answer.iter_lines():
                if line.startswith('event: '):
                    event = line.removeprefix('event: ')
                elif line.startswith('data: ') and event in ('complete', 'error'):
                    content = json.loads(line.removeprefix('data: '))
                    if event == 'complete':
                        return Reply(200, data=content)
                    return Reply(200, error=content['error'] if isinstance(content, dict) else str(content))
        return Reply(200, error='the connection ended')

    def file(self, value: dict[str, Any]) -> bytes:
        """Content of a file that the demo names in its answer."""
        answer = self.http.get(f'{_API}/file={value["path"]}')
        answer.raise_for_status()
        return answer.content
