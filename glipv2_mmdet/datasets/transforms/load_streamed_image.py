"""Loads an image from the bytes that came with its record, or from its file; the first step of a mixed pipeline."""

from __future__ import annotations

import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadStreamedImage(LoadImageFromFile):
    """``LoadImageFromFile`` that takes ``img_bytes`` (an encoded image) where a sample has them.

    Raises:
        ValueError: bytes that are no image; names the sample.
    """

    def transform(self, results: dict) -> dict | None:
        content = results.pop('img_bytes', None)
        if content is None:
            return super().transform(results)
        image = mmcv.imfrombytes(content, flag=self.color_type, backend=self.imdecode_backend)
        if image is None:
            raise ValueError(
                f'{results.get("img_path")}: {len(content)} bytes are no image. Expected an encoded JPEG '
                'or PNG: make the shard or the tsv again.'
            )
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results
