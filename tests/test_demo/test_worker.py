"""One thread for the models, and visitors who do not wait for ever."""

import threading

import pytest

from glipv2_mmdet.demo.limits import LimitError
from glipv2_mmdet.demo.worker import ModelWorker


@pytest.fixture
def worker():
    worker = ModelWorker(seconds=0.2)
    yield worker
    worker.close()


def test_values_and_errors_come_back(worker: ModelWorker) -> None:
    assert worker.run(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        worker.run(lambda: 1 / 0)


def test_jobs_share_one_thread(worker: ModelWorker) -> None:
    assert {worker.run(threading.get_ident) for _ in range(5)} != {threading.get_ident()}
    assert len({worker.run(threading.get_ident) for _ in range(5)}) == 1


def test_who_waits_too_long_is_told_and_the_next_one_is_served(worker: ModelWorker) -> None:
    release, ran = threading.Event(), []
    with pytest.raises(LimitError, match=r'longer than 0\.2 seconds'):
        worker.run(release.wait)
    with pytest.raises(LimitError):  # behind it; given up before it began
        worker.run(lambda: ran.append('late'))
    release.set()
    assert worker.run(lambda: ran.append('next') or 5) == 5
    assert ran == ['next']
