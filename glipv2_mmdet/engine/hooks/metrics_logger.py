"""The logger hook whose json file of test metrics is written once, whole, by the main process.

mmengine's ``LoggerHook`` lets every process write the metrics of a test to the same file: the longer text of one
process may stick out behind the shorter one of another, and the file is then no json.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import LoggerHook

from glipv2_mmdet.files import atomic_write


@HOOKS.register_module()
class MetricsLoggerHook(LoggerHook):
    """``LoggerHook`` with the file ``<log folder>/<time stamp>.json`` of a test as plain json.

    A number that is not finite becomes ``null``, which json has a word for.
    """

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Logs the metrics of a test and, in the main process, writes them to the log folder."""
        values, line = runner.log_processor.get_log_after_epoch(
            runner, len(runner.test_dataloader), 'test', with_non_scalar=True
        )
        runner.logger.info(line)
        if is_main_process():
            text = json.dumps(_finite(self._process_tags(values)), allow_nan=False)
            with atomic_write(Path(runner.log_dir) / self.json_log_path) as file:
                file.write(f'{text}\n'.encode())


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float):  # numpy's double is one too
        return float(value) if math.isfinite(value) else None
    return value
