"""Starting a web server must not end the log of the program that does it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger


@contextmanager
def log_files_kept() -> Iterator[None]:
    """Opens mmengine's log files again that the block closed, at their end.

    uvicorn, which gradio starts, configures logging for the whole process, and ``logging.config`` closes every handler
    on the way. mmengine writes to the stream of a file handler directly and fails where there is none.
    """
    handlers = [
        handler
        for handler in MMLogger.get_current_instance().handlers
        if isinstance(handler, logging.FileHandler) and handler.stream is not None
    ]
    yield
    for handler in handlers:
        if handler.stream is None:
            handler.setStream(open(handler.baseFilename, 'a', encoding=handler.encoding))
