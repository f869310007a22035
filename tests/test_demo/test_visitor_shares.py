"""What one visitor may take, by the clock; and the guard that asks."""

from pathlib import Path

import pytest

from glipv2_mmdet.demo.visitor_shares import VisitorShares, visitor_of


def test_a_share_is_used_up_and_comes_back_with_time() -> None:
    now = [0.0]
    shares = VisitorShares(10, 60, clock=lambda: now[0])
    assert shares.take('a', 6) and not shares.take('a', 5) and shares.take('a', 4)
    assert shares.take('b', 10)  # others have their own
    now[0] = 59.9
    assert not shares.take('a', 1)
    now[0] = 60.0
    assert shares.take('a', 10)


@pytest.mark.parametrize('share, seconds', [(0, 60), (10, 0), (-1, 60)])
def test_shares_are_positive(share: float, seconds: float) -> None:
    with pytest.raises(ValueError, match='above 0'):
        VisitorShares(share, seconds)


def test_behind_a_proxy_the_last_address_counts_because_the_visitor_wrote_the_others() -> None:
    scope, headers = {'client': ('10.0.0.1', 5)}, {'x-forwarded-for': '1.2.3.4, 203.0.113.9'}
    assert visitor_of(scope, headers, behind_proxy=True) == '203.0.113.9'
    assert visitor_of(scope, headers, behind_proxy=False) == '10.0.0.1'
    assert visitor_of(scope, {}, behind_proxy=True) == '10.0.0.1'
    assert visitor_of({}, {}, behind_proxy=False) == 'unknown'


def test_one_visitor_leaves_room_in_the_queue_and_the_upload_area(tmp_path: Path) -> None:
    pytest.importorskip('starlette', reason="needs the extra 'demo': pip install 'glipv2_mmdet[demo]'")
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    from starlette.testclient import TestClient

    from glipv2_mmdet.demo.guard import RequestGuard
    from glipv2_mmdet.demo.upload_area import UploadArea

    async def answer(request):
        await request.body()
        return PlainTextResponse('')

    area = UploadArea(tmp_path, most_bytes=1_000_000, seconds_kept=100)
    app = Starlette(routes=[Route('/{path:path}', answer, methods=['POST'])])
    guarded = RequestGuard(app, area, file_bytes=100_000, hosts=('*',), waiting=6, behind_proxy=True)
    client = TestClient(guarded, base_url='http://demo.example')

    def post(path: str, visitor: str, content: bytes) -> int:
        headers = {'x-forwarded-for': visitor}
        return client.post(f'/gradio_api/{path}', content=content, headers=headers).status_code

    assert [post('queue/join', '203.0.113.9', b'{}') for _ in range(4)] == [200, 200, 200, 429]
    assert post('queue/join', '203.0.113.10', b'{}') == 200
    assert [post('upload', '203.0.113.9', bytes(100_000)) for _ in range(3)] == [200, 200, 429]
    assert post('upload', '203.0.113.10', bytes(100_000)) == 200
    # the owner, on the machine itself, is not counted
    assert [post('queue/join', '127.0.0.1', b'{}') for _ in range(9)] == [200] * 9
