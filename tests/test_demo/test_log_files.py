"""log_files_kept: what a web server does to logging does not end a log file."""

from __future__ import annotations

import logging
from logging import config
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

from glipv2_mmdet.demo.log_files import log_files_kept


@pytest.fixture
def log_file(tmp_path: Path):
    """A file that mmengine's logger writes to, and its handler."""
    handler = logging.FileHandler(tmp_path / 'a.log', mode='w')
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield tmp_path / 'a.log', handler
    logger.removeHandler(handler)
    handler.close()


def test_a_log_goes_on_after_logging_is_configured_anew(log_file):
    path, handler = log_file
    handler.stream.write('before\n')
    with log_files_kept():
        config.dictConfig(dict(version=1, disable_existing_loggers=False))
        assert handler.stream is None
    handler.stream.write('after\n')
    handler.flush()
    assert path.read_text() == 'before\nafter\n'


def test_a_file_that_was_closed_before_stays_closed(log_file):
    _, handler = log_file
    handler.close()
    with log_files_kept():
        pass
    assert handler.stream is None
