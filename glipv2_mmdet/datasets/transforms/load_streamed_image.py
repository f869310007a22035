"""Loads an image from the bytes that came with its record, or from its file; the first step of a mixed pipeline."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS
from mmengine.fileio import get

from glipv2_mmdet.image_decoding import decode_rgb
from glipv2_mmdet.image_reading import ImageInputError


@TRANSFORMS.register_module()
class LoadStreamedImage(LoadImageFromFile):
    """``LoadImageFromFile`` that takes ``img_bytes`` (an encoded image) where a sample has them.

    Pixels are those of the inferencer, in BGR: see ``glipv2_mmdet.image_reading``.

    Raises:
        ImageInputError: no image, or one with too many pixels; names the sample.
    """

    def transform(self, results: dict) -> dict | None:
        content = results.pop('img_bytes', None)
        is_file = content is None
        try:
            if is_file:
                content = get(results['img_path'], backend_args=self.backend_args)
            image = decode_rgb(content, str(results.get('img_path')), self.imdecode_backend)[..., ::-1]
        except ImageInputError as error:
            if self.ignore_empty:
                return None
            fix = '' if is_file else f' {len(content)} bytes came with the record: make the shard or the tsv again.'
            raise ImageInputError(f'{error}{fix}') from error
        results['img'] = image.astype(np.float32) if self.to_float32 else np.ascontiguousarray(image)
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results
