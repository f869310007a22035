"""The guard alone, in front of an application that answers everything."""

from pathlib import Path

import pytest

pytest.importorskip('starlette', reason="needs the extra 'demo': pip install 'glipv2_mmdet[demo]'")

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from glipv2_mmdet.demo.guard import RequestGuard
from glipv2_mmdet.demo.upload_area import UploadArea


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body())


@pytest.fixture
def area(tmp_path: Path) -> UploadArea:
    (tmp_path / 'area').mkdir()
    (tmp_path / 'secret.png').write_text('secret')
    (tmp_path / 'area' / 'a.png').write_text('upload')
    return UploadArea(tmp_path / 'area', most_bytes=1000, seconds_kept=100)


@pytest.fixture
def client(area: UploadArea) -> TestClient:
    app = Starlette(routes=[Route('/{path:path}', echo, methods=['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS'])])
    guarded = RequestGuard(app, area, file_bytes=100, hosts=('127.0.0.1', 'localhost', '::1'))
    return TestClient(guarded, base_url='http://127.0.0.1:7860', client=('127.0.0.1', 50_000))


@pytest.mark.parametrize(
    'path',
    [
        '/',
        '/config',
        '/assets/index.js',
        '/theme.css',
        '/gradio_api/info',
        '/gradio_api/queue/data?session_hash=x',
        '/gradio_api/heartbeat/x',
    ],
)
def test_the_page_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    'path',
    [
        '/gradio_api/proxy=http://127.0.0.1/',
        '/gradio_api/stream/a/b/c/playlist.m3u8',
        '/monitoring',
        '/monitoring/key',
        '/gradio_api/runs',
        '/gradio_api/vibe-code',
        '/docs',
        '/openapi.json',
        '/gradio_api/custom_component/1/c/d/e',
        '/gradio_api/deep_link',
        '/login',
        '/gradio_api/file/etc/passwd',
        '/gradio_api/profiling/traces',
    ],
)
def test_addresses_that_the_page_does_not_need_are_closed(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
    assert client.post(path, json={}).status_code == 404


@pytest.mark.parametrize(
    'path',
    [
        '/gradio_api/run/detect',
        '/gradio_api/api/detect',
        '/gradio_api/component_server',
        '/gradio_api/process_recording',
        '/gradio_api/vibe-edit',
        '/',
        '/config',
        '/login',
    ],
)
def test_nothing_passes_beside_the_queue(client: TestClient, path: str) -> None:
    assert client.post(path, json={'data': []}).status_code == 404


def test_other_methods_are_closed(client: TestClient) -> None:
    assert [client.request(method, '/').status_code for method in ('PUT', 'DELETE', 'OPTIONS')] == [404] * 3


def test_files_of_the_area_alone_are_served(client: TestClient, area: UploadArea) -> None:
    assert client.get(f'/gradio_api/file={area.folder}/a.png').status_code == 200
    for path in (
        '/etc/passwd',
        f'{area.folder}/../secret.png',
        f'{area.folder}/%2e%2e/secret.png',
        'http://127.0.0.1/a',
        'https://example.org/a.png',
        'file:///etc/passwd',
        '',
        str(area.folder),
    ):
        assert client.get(f'/gradio_api/file={path}').status_code == 403, path


@pytest.mark.parametrize(
    'path',
    [
        '/file=/etc/passwd',
        '/file/etc/passwd',
        '/gradio_api/file=/etc/passwd',
        '/gradio_api/file=%2Fetc%2Fpasswd',
        '/gradio_api/file%3D/etc/passwd',
        '/gradio_api/file=%252e%252e/secret.png',
        '//gradio_api/file=/etc/passwd',
        '/gradio_api/../file=/etc/passwd',
        '/assets/../file=/etc/passwd',
        '/gradio_api/file=link.png',
    ],
)
def test_no_other_way_of_writing_reaches_a_file(client: TestClient, area: UploadArea, path: str) -> None:
    assert client.get(path).status_code in (403, 404)


def test_links_out_of_the_area_are_not_followed(client: TestClient, area: UploadArea) -> None:
    (area.folder / 'link.png').symlink_to(area.folder.parent / 'secret.png')
    (area.folder / 'up').symlink_to(area.folder.parent, target_is_directory=True)
    for path in (f'{area.folder}/link.png', f'{area.folder}/up/secret.png'):
        assert client.get(f'/gradio_api/file={path}').status_code == 403
        assert client.post('/gradio_api/queue/join', json={'data': [{'path': path}]}).status_code == 403


@pytest.mark.parametrize('address', ['/gradio_api/queue/join', '/gradio_api/call/detect', '/gradio_api/call/v2/detect'])
def test_payloads_name_uploads_alone(client: TestClient, area: UploadArea, address: str) -> None:
    inside = {'path': f'{area.folder}/a.png', 'url': 'http://127.0.0.1:7860/x', 'meta': {'_type': 'gradio.FileData'}}
    good = client.post(address, json={'data': [inside, 'path', 0.3]})
    assert good.status_code == 200 and good.json()['data'][0] == inside
    for path in (
        '/etc/passwd',
        'http://169.254.169.254/latest',
        'https://example.org/a.png',
        'HTTP://127.0.0.1/',
        f'{area.folder}/../secret.png',
        f'{area.folder}/b.png',
        '',
        3,
        ['/etc/passwd'],
        {'path': '/etc/passwd'},
    ):
        for payload in (
            {'path': path, 'meta': {'_type': 'gradio.FileData'}},
            {'path': path},
            [[{'x': {'path': path}}]],
        ):
            refused = client.post(address, json={'data': ['a', payload]})
            assert refused.status_code == 403 and 'not uploaded here' in refused.text, payload


@pytest.mark.parametrize('body', [b'', b'{', b'[' * 100_000, b'\xff\xfe', b'path=/etc/passwd'])
def test_bodies_that_are_not_json(client: TestClient, body: bytes) -> None:
    assert client.post('/gradio_api/queue/join', content=body).status_code == 400


def test_json_is_bounded(client: TestClient) -> None:
    assert client.post('/gradio_api/queue/join', json={'data': ['x' * 190_000]}).status_code == 200
    assert client.post('/gradio_api/queue/join', json={'data': ['x' * 200_000]}).status_code == 413


def test_uploads_are_bounded_whether_or_not_they_say_their_size(client: TestClient) -> None:
    assert client.post('/gradio_api/upload', content=bytes(20_100)).status_code == 200
    refused = client.post('/gradio_api/upload', content=bytes(20_101))
    assert refused.status_code == 413 and 'at most 0.0001 MB' in refused.text
    in_pieces = (bytes(1000) for _ in range(21))
    assert client.post('/gradio_api/upload', content=in_pieces).status_code == 413


def test_a_full_area_takes_no_more(client: TestClient, area: UploadArea) -> None:
    (area.folder / 'large').write_bytes(bytes(1000))
    full = client.post('/gradio_api/upload', content=b'x')
    assert full.status_code == 507 and 'Try again' in full.text


def test_pages_of_others_are_refused(client: TestClient) -> None:
    ask = {'url': '/gradio_api/queue/join', 'json': {}}
    assert client.post(**ask, headers={'origin': 'http://127.0.0.1:7860'}).status_code == 200
    assert client.post(**ask, headers={'origin': 'http://localhost:7860'}).status_code == 200
    for origin in ('https://evil.example', 'null', 'http://127.0.0.1.evil.example'):
        assert client.post(**ask, headers={'origin': origin}).status_code == 403, origin
    # a name that its owner lets point to 127.0.0.1
    assert client.get('/', headers={'host': 'evil.example:7860'}).status_code == 400
    assert client.get('/', headers={'host': ''}).status_code == 400
    assert client.get('/', headers={'host': '[::1]:7860'}).status_code == 200


def test_nothing_is_loaded_from_elsewhere(client: TestClient) -> None:
    for answer in (client.get('/'), client.get('/docs')):
        rules = dict(rule.split(' ', 1) for rule in answer.headers['content-security-policy'].split('; '))
        assert rules['default-src'] == "'self'" and rules['connect-src'] == "'self'" and rules['object-src'] == "'none'"
        assert not any('http' in rule or '*' in rule for rule in rules.values())
        assert answer.headers['x-content-type-options'] == 'nosniff'


@pytest.mark.parametrize('header', ['host', 'origin'])
@pytest.mark.parametrize('value', ['http://[::1', '[::1', 'http://127.0.0.1:99999', 'http://127.0.0.1:port'])
def test_a_malformed_name_is_a_bad_request(client: TestClient, header: str, value: str) -> None:
    value = value.removeprefix('http://') if header == 'host' else value if '//' in value else f'http://{value}'
    answer = client.get('/', headers={header: value})
    assert answer.status_code == 400 and 'malformed' in answer.text


@pytest.mark.parametrize(
    'origin, status',
    [
        ('http://127.0.0.1:7860', 200),
        ('http://127.0.0.1:7861', 403),  # a page that another program of this machine serves
        ('http://localhost:9000', 403),
        ('http://127.0.0.1', 403),
        ('null', 403),
    ],
)
def test_another_port_of_this_machine_is_another_site(client: TestClient, origin: str, status: int) -> None:
    assert client.post('/gradio_api/queue/join', json={}, headers={'origin': origin}).status_code == status
