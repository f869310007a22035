"""What one visitor may take of what all share: places in the queue and room for uploads."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

#: Visitors that are remembered; the one that was seen longest ago goes first.
_MAX_VISITORS = 10_000


class VisitorShares:
    """Amounts that each visitor has taken within a sliding window of time.

    Args:
        share: largest sum of amounts of one visitor within ``seconds``.
        seconds: length of the window.
        clock: seconds that only grow.

    Raises:
        ValueError: a share or window that is not positive.
    """

    def __init__(self, share: float, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        if share <= 0 or seconds <= 0:
            raise ValueError(f'share is {share} and seconds is {seconds}. Expected numbers above 0.')
        self.share = share
        self.seconds = seconds
        self._clock = clock
        self._taken: dict[str, deque[tuple[float, float]]] = {}

    def take(self, visitor: str, amount: float) -> bool:
        """Add an amount; False, and nothing is added, where it would exceed the share."""
        now = self._clock()
        # the last place of the dict is the visitor that came last
        taken = self._taken.pop(visitor, deque())
        self._taken[visitor] = taken
        while taken and taken[0][0] <= now - self.seconds:
            taken.popleft()
        while len(self._taken) > _MAX_VISITORS:
            del self._taken[next(iter(self._taken))]
        if sum(size for _, size in taken) + amount > self.share:
            return False
        taken.append((now, amount))
        return True


def visitor_of(scope: Mapping, headers: Mapping[str, str], behind_proxy: bool) -> str:
    """Address of the visitor of a request.

    Args:
        scope: of ASGI.
        headers: of the request.
        behind_proxy: the connection is the proxy's, which adds the visitor's address as the last one of
            ``X-Forwarded-For``; entries before it are the visitor's own words.
    """
    forwarded = headers.get('x-forwarded-for', '').split(',')[-1].strip() if behind_proxy else ''
    client = scope.get('client') or ('unknown', 0)
    return forwarded or client[0]
