"""``glipv2 demo``: what it needs, and that it leaves nothing behind."""

import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

import cv2
import httpx
import pytest

from glipv2_mmdet.cli import main


def test_the_example_photos_lie_where_the_page_may_read_them(tmp_path: Path) -> None:
    from glipv2_mmdet.demo.examples import photo_examples

    examples = photo_examples(tmp_path / 'examples')
    assert [Path(example.image).name for example in examples] == ['cat.jpg', 'astronaut.jpg']
    assert all(Path(example.image).parent == tmp_path / 'examples' for example in examples)
    assert all(cv2.imread(example.image).shape[2] == 3 for example in examples)


def test_a_model_has_one_checkpoint(capsys: pytest.CaptureFixture) -> None:
    assert main(['demo', '--ask', 'glipv2-nano-vqa', 'a.pth', 'b.pth']) == 2
    assert '--ask has 3 values' in capsys.readouterr().err


def test_without_gradio_it_says_what_to_install(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, 'glipv2_mmdet.demo.app', raising=False)
    monkeypatch.setitem(sys.modules, 'gradio', None)
    assert main(['demo', '--detect', 'glipv2-nano']) == 2
    assert "pip install 'glipv2_mmdet[demo]'" in capsys.readouterr().err


def test_limits_are_checked_before_models_are_loaded(capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip('gradio', reason="needs the extra 'demo': pip install 'glipv2_mmdet[demo]'")
    assert main(['demo', '--detect', 'no such model', '--max-megapixels', '-1']) == 2
    assert 'Limit "megapixels" is -1' in capsys.readouterr().err


def test_it_serves_until_it_is_ended_and_leaves_no_uploads(
    capsys: pytest.CaptureFixture, scene_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip('gradio', reason="needs the extra 'demo': pip install 'glipv2_mmdet[demo]'")
    from tests.test_demo.conftest import free_port
    from tests.test_demo.visitor import Visitor

    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    port, seen, before = free_port(), [], signal.getsignal(signal.SIGTERM)

    def visit() -> None:
        while not seen and not ended.wait(0.2):
            try:
                seen.append(Path(Visitor(f'http://127.0.0.1:{port}').uploaded(scene_file)['path']))
            except httpx.TransportError:  # not there yet
                continue
            os.kill(os.getpid(), signal.SIGTERM)

    ended = threading.Event()
    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        # the shipped model, without options
        assert main(['demo', '--device', 'cpu', '--port', str(port)]) == 0
    finally:
        ended.set()
        visitor.join()
    assert f'The demo is at http://127.0.0.1:{port}/' in capsys.readouterr().out
    assert seen[0].is_relative_to(tmp_path) and not seen[0].exists() and list(tmp_path.glob('glipv2-demo-*')) == []
    assert signal.getsignal(signal.SIGTERM) == before
