"""One running demo for the tests of this folder: nano models with random weights, on a free port of this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from glipv2_mmdet.datasets.shapes_scene import draw_scene


@dataclass(frozen=True)
class RunningDemo:
    """Where it is, and every address outside this machine that the process asked for while it ran."""

    address: str
    models: dict
    asked: list[str] = field(default_factory=list)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.fixture(scope='session')
def scene_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('scene') / 'scene.png'
    Image.fromarray(draw_scene(5, 'val', 3).image).save(path)
    return path


@pytest.fixture(scope='session')
def demo() -> Iterator[RunningDemo]:
    pytest.importorskip('gradio', reason="needs the extra 'demo': pip install 'glipv2_mmdet[demo]'")
    from glipv2_mmdet import GLIPv2Inferencer
    from glipv2_mmdet.demo.app import running_demo
    from glipv2_mmdet.demo.limits import Limits

    boxes_and_masks = GLIPv2Inferencer('glipv2-nano-mask', device='cpu')
    models = {
        'detect': boxes_and_masks,
        'segment': boxes_and_masks,
        'ask': GLIPv2Inferencer('glipv2-nano-grounded-vqa', device='cpu'),
        'caption': GLIPv2Inferencer('glipv2-nano-caption', device='cpu'),
    }
    asked: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        _record_connections(patch, asked)
        limits = Limits(megabytes=1, megapixels=0.5, waiting=25)
        with running_demo(models, port=free_port(), limits=limits) as address:
            yield RunningDemo(address.rstrip('/'), models, asked)


def _record_connections(patch: pytest.MonkeyPatch, asked: list[str]) -> None:
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def recorded_look_up(host, *args, **kwargs):
        if host not in (None, '127.0.0.1', 'localhost', '::1', b'127.0.0.1'):
            asked.append(str(host))
        return look_up(host, *args, **kwargs)

    def recorded_connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ('127.0.0.1', '::1'):
            asked.append(str(address))
        return connect(self, address)

    patch.setattr(socket, 'getaddrinfo', recorded_look_up)
    patch.setattr(socket.socket, 'connect', recorded_connect)
