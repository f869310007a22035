"""Runs the models in one thread, with a time limit for whoever waits.

torch already spreads one image over all cores of a processor or over a GPU: more threads would add memory, not speed.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from glipv2_mmdet.demo.limits import LimitError

T = TypeVar('T')


class ModelWorker:
    """One thread.

    A computation that runs over its time cannot be broken off from outside; its visitor is told so, and those after
    it wait. The limits of a request's size keep that rare.

    Args:
        seconds: from the start of a request to its end.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix='glipv2-demo')

    def run(self, job: Callable[[], T]) -> T:
        """The value of ``job()``, and its exceptions.

        Raises:
            LimitError: it did not end in time; a job that had not begun never does.
        """
        future = self._pool.submit(job)
        done, _ = wait([future], timeout=self.seconds)
        if not done:
            future.cancel()
            raise LimitError(
                f'This took longer than {self.seconds:g} seconds and was given up. Send a smaller image '
                'or a shorter prompt, or try again later: the server may be busy.'
            )
        return future.result()

    def close(self) -> None:
        """Ends the thread after the job that it is at."""
        self._pool.shutdown(wait=False, cancel_futures=True)
