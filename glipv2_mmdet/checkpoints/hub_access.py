"""Offline in seconds: without a connection, the Hugging Face client repeats each request for half a minute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from huggingface_hub import constants
from huggingface_hub.utils import get_session

#: Seconds to wait for an answer of the hub; any answer counts.
TIMEOUT = 5


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Within it, cached files alone are used where the hub does not answer, as with ``HF_HUB_OFFLINE=1``."""
    if constants.is_offline_mode() or _answers(constants.ENDPOINT):
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False


def _answers(address: str) -> bool:
    try:
        get_session().head(address, timeout=TIMEOUT)
    except httpx.HTTPError:
        return False
    return True
