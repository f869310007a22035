"""Pictures of a test (``--show-dir``): one per image, also where images of different folders have the same name.

mmdet's ``DetVisualizationHook`` names a picture by the image's base name, so that of ``0/frame.jpg`` and
``1/frame.jpg`` the later overwrites the earlier. It also joins the folder to itself at every batch, which nests
folders where the work folder is a relative path.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mmcv
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.fileio import get
from mmengine.runner import Runner

from glipv2_mmdet.visualization.picture_names import claim_in, free_name


@HOOKS.register_module()
class PictureHook(DetVisualizationHook):
    """``DetVisualizationHook`` that writes a file per image of a test; the log says which image a numbered one is of.

    Args:
        kwargs: of ``DetVisualizationHook``. A relative ``test_out_dir`` is below ``<work folder>/<time stamp>``.
    """

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[DetDataSample]
    ) -> None:
        """Paints the images of a batch."""
        if not self.draw:
            return
        for sample in outputs:
            self._test_index += 1
            image = mmcv.imfrombytes(get(sample.img_path, backend_args=self.backend_args), channel_order='rgb')
            self._visualizer.add_datasample(
                Path(sample.img_path).name if self.show else 'test_img',
                image,
                data_sample=sample,
                show=self.show,
                wait_time=self.wait_time,
                pred_score_thr=self.score_thr,
                out_file=None if self.test_out_dir is None else self._out_file(runner, sample.img_path),
                step=self._test_index,
            )

    def _out_file(self, runner: Runner, source: str) -> str:
        folder = Path(runner.work_dir) / runner.timestamp / self.test_out_dir
        folder.mkdir(parents=True, exist_ok=True)
        name = free_name(source, Path(source).suffix, claim_in(folder))
        if name != Path(source).name:
            runner.logger.info(f'{folder / name} is the picture of {source}.')
        return str(folder / name)
