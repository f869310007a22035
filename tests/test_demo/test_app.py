"""The running demo over HTTP: every task, and everything that a visitor should not get."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image
from pycocotools import mask as coco_mask

pytest.importorskip('gradio', reason="needs the extra 'demo': pip install 'glipv2_mmdet[demo]'")

from glipv2_mmdet.demo.app import is_loopback, running_demo
from glipv2_mmdet.demo.handlers import CLASS_NAMES, SENTENCE
from glipv2_mmdet.demo.limits import Limits
from tests.test_demo.conftest import RunningDemo, free_port
from tests.test_demo.test_limits import png_header
from tests.test_demo.visitor import Reply, Visitor

# the app is served for real
pytestmark = pytest.mark.slow

PROMPT = 'red circle . blue square'


@pytest.fixture
def visitor(demo: RunningDemo) -> Visitor:
    return Visitor(demo.address)


def numbers(visitor: Visitor, file: dict) -> dict:
    return json.loads(visitor.file(file['value'] if 'value' in file else file))


def value_of(output: object) -> object:
    """Of a field that was updated, its value."""
    return output['value'] if isinstance(output, dict) and 'value' in output else output


def test_boxes_of_names(visitor: Visitor, scene_file: Path) -> None:
    reply = visitor.call('detect', visitor.uploaded(scene_file), PROMPT, CLASS_NAMES, 0.0, 5)
    picture, text, summary, file = reply.data
    content = numbers(visitor, file)
    assert [phrase['name'] for phrase in content['phrases']] == ['red circle', 'blue square']
    assert len(content['objects']) == 5 and re.fullmatch(r'5 boxes: .+ · \d+\.\d\d\ss', summary)
    tokens = [(token['token'], token['class_or_confidence']) for token in value_of(text)]
    assert tokens[:3] == [('red circle', 'red circle'), ('. ', None), ('blue square', 'blue square')]
    assert text['color_map'] == {'red circle': '#ff7f0e', 'blue square': '#56b4e9'}
    shown = np.asarray(Image.open(io.BytesIO(visitor.file(value_of(picture)))).convert('RGB'))
    # the frame of the best box is painted in the colour that its phrase has in the text
    best = text['color_map'][content['objects'][0]['name']]
    assert (shown == [int(best[k : k + 2], 16) for k in (1, 3, 5)]).all(axis=-1).sum() > 100


def test_boxes_of_a_sentence(visitor: Visitor, scene_file: Path) -> None:
    sentence = 'a circle is below a star. the star is large'
    reply = visitor.call('detect', visitor.uploaded(scene_file), sentence, SENTENCE, 0.0, 3)
    _, text, _, file = reply.data
    tokens = [(token['token'], token['class_or_confidence']) for token in value_of(text)]
    assert ''.join(token for token, _ in tokens).rstrip(' .') == sentence
    assert ('a circle', 'a circle') in tokens and (' is below ', None) in tokens
    assert set(text['color_map']) == {phrase['name'] for phrase in numbers(visitor, file)['phrases']}
    assert len(numbers(visitor, file)['objects']) == 3


@pytest.mark.parametrize(('prompt', 'kind'), [(PROMPT, CLASS_NAMES), ('a red circle', SENTENCE)])
def test_masks(visitor: Visitor, scene_file: Path, prompt: str, kind: str) -> None:
    reply = visitor.call('segment', visitor.uploaded(scene_file), prompt, kind, 0.0, 4)
    content = numbers(visitor, reply.data[-1])
    masks = coco_mask.decode([found['mask'] for found in content['objects']])
    assert masks.shape == (content['height'], content['width'], 4)


def test_answers(visitor: Visitor, scene_file: Path) -> None:
    answers, picture, text, summary, file = visitor.call(
        'ask', visitor.uploaded(scene_file), 'what color is the star?'
    ).data
    content = numbers(visitor, file)
    assert content['question'] == 'what color is the star?'
    assert value_of(answers)['label'] == content['answers'][0]['answer'] and len(content['answers']) == 5
    assert summary.startswith(content['answers'][0]['answer'])
    assert value_of(picture)['path'].endswith('.png')  # a grounded model shows where
    assert 'what color is the star?' in ''.join(token['token'] for token in value_of(text))


def test_caption(visitor: Visitor, scene_file: Path) -> None:
    picture, text, _, file = visitor.call('caption', visitor.uploaded(scene_file)).data
    assert ''.join(token['token'] for token in value_of(text)) == numbers(visitor, file)['caption']
    assert value_of(picture) is None and picture['visible'] is False  # this model grounds no captions


def test_the_client_of_gradio_works(
    demo: RunningDemo, scene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradio_client import Client, handle_file

    monkeypatch.setenv('GRADIO_ANALYTICS_ENABLED', 'False')
    monkeypatch.setattr('gradio_client.client.build_hf_headers', lambda **_: {})
    # it asks huggingface.co when it starts and reports its use; that is the client's doing, not the demo's
    client = Client(demo.address, verbose=False, download_files=str(tmp_path), analytics_enabled=False)
    result = client.predict(
        image=handle_file(scene_file), prompt=PROMPT, threshold=0.0, max_boxes=2, api_name='/detect'
    )
    assert len(json.loads(Path(value_of(result[-1])).read_text())['objects']) == 2


def test_examples_fill_the_fields(demo: RunningDemo, visitor: Visitor) -> None:
    config = visitor.http.get('/config').json()
    filling = next(d for d in config['dependencies'] if d['api_name'] == 'detect_example')
    answer = visitor.http.post(
        '/gradio_api/run/predict',
        json={'data': [1], 'fn_index': filling['id'], 'session_hash': 'x', 'trigger_id': None},
    )
    image, prompt, kind = map(value_of, answer.json()['data'])
    assert kind == SENTENCE and len(prompt) > 5
    assert Image.open(io.BytesIO(visitor.file(image))).width >= 160


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (('image', PROMPT, CLASS_NAMES, 0.3, 0.5), 'less than minimum value 1'),
        (('image', PROMPT, 'a list', 0.3, 10), 'not in the list of choices'),
        ((None, PROMPT, CLASS_NAMES, 0.3, 10), 'There is no image'),
        (('image', '  ', CLASS_NAMES, 0.3, 10), 'The prompt is empty'),
        (('image', 'x' * 1001, CLASS_NAMES, 0.3, 10), '1001 characters, at most 1000'),
        (('image', '...', CLASS_NAMES, 0.3, 10), 'no letter or digit'),
        (('image', 'cat . cat', CLASS_NAMES, 0.3, 10), 'given twice'),
        (('image', ' . '.join(f'c{k}' for k in range(101)), CLASS_NAMES, 0.3, 10), 'names 101 things, at most 100'),
        (('image', PROMPT, CLASS_NAMES, 7, 10), 'greater than maximum value 0.99'),
        (('image', PROMPT, CLASS_NAMES, 0.3, 10**9), 'greater than maximum value 200'),
    ],
)
def test_wrong_values_are_said_in_words(visitor: Visitor, scene_file: Path, values: tuple, message: str) -> None:
    image = visitor.uploaded(scene_file) if values[0] else None
    reply = visitor.call('detect', image, *values[1:])
    assert reply.data is None and message in reply.error
    assert 'Traceback' not in reply.error and '/' not in reply.error.replace(' / ', '')


def test_broken_files_and_bombs_are_said_in_words(visitor: Visitor, scene_file: Path, tmp_path: Path) -> None:
    for name, content, message in (
        ('half.png', scene_file.read_bytes()[:2000], 'damaged'),
        ('text.png', b'hi', 'no image that can be read'),
        ('bomb.png', png_header(4_000, 4_000), '16.0 million pixels, at most 0.5 million'),
    ):
        (tmp_path / name).write_bytes(content)
        reply = visitor.call('caption', visitor.uploaded(tmp_path / name))
        assert message in reply.error, name


def test_too_large_uploads_are_refused(visitor: Visitor) -> None:
    assert visitor.upload('a.png', bytes(999_000)).status_code == 200
    for size in (1_010_000, 3_000_000):
        assert visitor.upload('a.png', bytes(size)).status_code == 413


def test_names_of_uploads_lead_nowhere_else(demo: RunningDemo, visitor: Visitor, scene_file: Path) -> None:
    folders = {
        Path(visitor.upload(name, b'x').json()[0]).parents[1]
        for name in ('a.png', '../../../../tmp/b.png', '/etc/cron.d/c', '..\\..\\d.png', '.', 'e\x00f')
    }
    assert len(folders) == 1 and 'glipv2-demo-' in str(folders)


@pytest.mark.parametrize('meta', [{'meta': {'_type': 'gradio.FileData'}}, {}])
def test_paths_of_the_server_are_not_read(visitor: Visitor, scene_file: Path, meta: dict) -> None:
    upload = visitor.uploaded(scene_file)['path']
    for path in ('/etc/passwd', str(scene_file), f'{upload}/../../../etc/passwd', 'pyproject.toml'):
        reply = visitor.call('caption', {'path': path, 'orig_name': 'a.png', **meta})
        assert reply.status == 403 and 'not uploaded here' in reply.error, path
        answer = visitor.http.get(f'/gradio_api/file={path}')
        assert answer.status_code == 403


@pytest.mark.parametrize('meta', [{'meta': {'_type': 'gradio.FileData'}}, {}])
def test_addresses_are_not_fetched(demo: RunningDemo, visitor: Visitor, scene_file: Path, meta: dict) -> None:
    fetched, stop, port = [], threading.Event(), free_port()
    thread = threading.Thread(target=_count_visits, args=(port, fetched, stop))
    thread.start()
    upload = visitor.uploaded(scene_file)
    try:
        for address in (
            f'http://127.0.0.1:{port}/a.png',
            f'http://localhost:{port}/a.png',
            'https://example.org/a.png',
            'http://169.254.169.254/latest/meta-data',
            f'http://0x7f000001:{port}/a.png',
        ):
            # where an image, a text or a number is expected
            for values in ([{'path': address, **meta}], [{'url': address, 'path': address, **meta}]):
                assert visitor.call('caption', *values).status == 403
            assert visitor.call('ask', upload, {'path': address, **meta}).status == 403
            assert visitor.http.get(f'/gradio_api/file={address}').status_code == 403
            assert visitor.http.get(f'/gradio_api/proxy={address}').status_code == 404
        # a page sends the address of what it shows beside the path: it is not followed
        assert visitor.call('caption', {**upload, 'url': f'http://127.0.0.1:{port}/a.png'}).error is None
    finally:
        stop.set()
        thread.join()
    assert fetched == []


def _count_visits(port: int, fetched: list, stop: threading.Event) -> None:
    import socket

    with socket.create_server(('127.0.0.1', port)) as server:
        server.settimeout(0.1)
        while not stop.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            fetched.append(connection.recv(1000))
            connection.close()


def test_an_image_inside_the_request_is_not_decoded(visitor: Visitor, scene_file: Path) -> None:
    data = 'data:image/png;base64,iVBORw0KGgo='
    assert 'not uploaded here' in visitor.call('caption', {'path': data, 'url': data}).error
    assert visitor.call('caption', {'path': None, 'url': data}).data is None


def test_models_are_reached_through_the_queue_alone(demo: RunningDemo, visitor: Visitor, scene_file: Path) -> None:
    config = visitor.http.get('/config').json()
    number = next(d['id'] for d in config['dependencies'] if d['api_name'] == 'caption')
    body = {'data': [visitor.uploaded(scene_file)], 'fn_index': number, 'session_hash': 'x'}
    for path in ('run/predict', 'run/caption', 'api/caption'):
        assert visitor.http.post(f'/gradio_api/{path}', json=body).status_code == 404


def test_a_failing_model_tells_the_log_and_not_the_visitor(
    demo: RunningDemo, visitor: Visitor, scene_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args, **kwargs):
        raise RuntimeError('secret detail at /home/someone')

    monkeypatch.setattr(demo.models['caption'], 'caption', fail)
    reply = visitor.call('caption', visitor.uploaded(scene_file))
    assert reply.error == 'The model failed on this request. The log of the server says why.'


def test_nothing_leaves_the_machine(demo: RunningDemo, visitor: Visitor, scene_file: Path) -> None:
    page = visitor.http.get('/').text
    assert visitor.call('caption', visitor.uploaded(scene_file)).error is None
    assert demo.asked == []
    for link in re.findall(r'(?:src|href)="(https?:)?//([^"]+)"', page):
        pytest.fail(f'the page loads {link}')


def test_strangers_do_not_reach_a_local_demo(visitor: Visitor) -> None:
    assert visitor.http.get('/', headers={'host': 'evil.example'}).status_code == 400
    assert (
        visitor.http.post('/gradio_api/queue/join', json={}, headers={'origin': 'https://evil.example'}).status_code
        == 403
    )


@pytest.mark.slow
def test_twenty_at_once_are_all_answered(demo: RunningDemo, scene_file: Path) -> None:
    def visit(number: int) -> Reply:
        visitor = Visitor(demo.address)
        return visitor.call('detect', visitor.uploaded(scene_file), f'thing {number}', CLASS_NAMES, 0.0, 1)

    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(visit, range(20)))
    assert [reply.error for reply in replies] == [None] * 20
    # nobody got the answer of somebody else
    assert [value_of(reply.data[1])[0]['token'].rstrip(' .') for reply in replies] == [f'thing {k}' for k in range(20)]


@pytest.mark.slow
def test_a_full_queue_refuses_and_loses_nobody(
    demo: RunningDemo, scene_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, running = threading.Event(), []
    model = demo.models['caption']
    caption = model.caption

    def slow(pixels):
        running.append(threading.get_ident())
        assert release.wait(60)
        return caption(pixels)

    def visit(_: int) -> Reply:
        visitor = Visitor(address)
        reply = visitor.call('caption', visitor.uploaded(scene_file))
        if reply.status != 200:
            refused.append(reply)
            if len(refused) == 17:  # all but the running one and those that wait
                release.set()
        return reply

    refused: list[Reply] = []
    with running_demo({'caption': model}, port=free_port(), limits=Limits(waiting=2)) as address:
        monkeypatch.setattr(model, 'caption', slow)
        with ThreadPoolExecutor(20) as pool:
            threading.Timer(60, release.set).start()
            replies = list(pool.map(visit, range(20)))
    assert len(running) == len([reply for reply in replies if reply.data]) == 3
    assert len(set(running)) == 1  # one after the other
    assert {reply.status for reply in refused} == {503} and len(refused) == 17
    assert 'Queue is full' in refused[0].error


@pytest.fixture(scope='module')
def public_demo(demo: RunningDemo) -> Iterator[tuple[str, list[str]]]:
    """A demo of captions alone that is open to the network, with two seconds for a request; and what was logged."""
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        with running_demo(
            {'caption': demo.models['caption']},
            host='0.0.0.0',
            port=free_port(),
            limits=Limits(seconds=2),
            public_url='https://models.example.org/glipv2',
        ) as address:
            yield address, logged
    finally:
        logger.removeHandler(handler)


def test_a_request_over_its_time_is_told(
    public_demo: tuple, demo: RunningDemo, scene_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, model = threading.Event(), demo.models['caption']
    caption = model.caption
    monkeypatch.setattr(model, 'caption', lambda pixels: (release.wait(30), caption(pixels))[1])
    visitor = Visitor(public_demo[0])
    try:
        assert 'took longer than 2 seconds' in visitor.call('caption', visitor.uploaded(scene_file)).error
    finally:
        release.set()


def test_tabs_without_a_model_say_how_to_get_one(public_demo: tuple) -> None:
    config = Visitor(public_demo[0]).http.get('/config').json()
    texts = ' '.join(str(part['props'].get('value')) for part in config['components'])
    for task in ('detect', 'segment', 'ask'):
        assert f'glipv2 demo --{task} CONFIG CHECKPOINT' in texts
    assert 'glipv2 demo --caption' not in texts
    assert not {'detect', 'segment', 'ask'} & {d['api_name'] for d in config['dependencies']}


def test_opening_to_the_network_is_warned_about(public_demo: tuple) -> None:
    address, logged = public_demo
    assert any('everybody who reaches this machine' in line for line in logged)
    visitor = Visitor(address)
    ask = {'url': '/gradio_api/queue/join', 'json': {'data': []}}
    proxied = visitor.http.get('/config', headers={'host': 'models.example.org'})
    assert proxied.json()['root'] == 'https://models.example.org/glipv2'
    assert visitor.http.post(**ask, headers={'origin': 'https://models.example.org'}).status_code != 403
    assert visitor.http.post(**ask, headers={'origin': 'https://evil.example'}).status_code == 403


def test_a_model_without_the_head_is_refused_at_the_start(demo: RunningDemo) -> None:
    with pytest.raises(ValueError, match='-mask'), running_demo({'segment': demo.models['caption']}, port=free_port()):
        pytest.fail('it started')


def test_wrong_starts(demo: RunningDemo) -> None:
    caption = demo.models['caption']
    for models, options, message in (
        ({}, {}, 'none. Expected at least one of detect'),
        ({'track': caption}, {}, 'track'),
        ({'caption': caption}, {'public_url': 'example.org'}, 'Expected a full one'),
    ):
        with pytest.raises(ValueError, match=message), running_demo(models, port=free_port(), **options):
            pytest.fail('it started')
    port = int(demo.address.rsplit(':', 1)[1])
    with (
        pytest.raises(OSError, match=f'Port {port} of 127.0.0.1 cannot be used'),
        running_demo({'caption': caption}, port=port),
    ):
        pytest.fail('it started')


@pytest.mark.parametrize(
    ('host', 'is_local'),
    [
        ('127.0.0.1', True),
        ('localhost', True),
        ('::1', True),
        ('127.8.8.8', True),
        ('0.0.0.0', False),
        ('192.168.0.3', False),
        ('localhost.example.org', False),
    ],
)
def test_which_addresses_are_local(host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local
