"""Reads the mask of every box: polygons, run lengths, or both; right after the boxes are loaded.

mmdet's ``LoadAnnotations(with_mask=True)`` drops a box whose polygon is broken, so that the detector learns that
nothing is there, and stops at a record without masks with a bare ``KeyError``. Here the box stays, its mask is
empty, and the mask loss leaves it out.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import BitmapMasks
from mmengine.logging import print_log
from pycocotools import mask as coco_mask

from glipv2_mmdet.datasets.mask_codes import MaskError, form_error, polygon_code, run_length_code

_LEAST_NUMBERS = 6  # of a polygon: three points


@TRANSFORMS.register_module()
class LoadMasks(BaseTransform):
    """Adds ``gt_masks`` (G bitmaps of the picture's size), one for every box of ``instances``.

    A mask is a list of polygons ``[x1, y1, x2, y2, ...]``, a COCO run length code (compressed or not), or a list
    of both, which is their union. Polygons of fewer than three points are left out. What is left may be empty
    (also when it lies outside the picture); an empty mask teaches nothing. The first of each kind is logged; the
    running numbers are in ``counts``.

    Args:
        skip_without_masks: what to do with a box that has no mask at all. False: error. True: its mask is empty,
            and pictures in which no box has one are skipped (training draws another) and counted.

    Raises:
        MaskError: a box without a mask, a mask of another form, a polygon far outside the picture, or run lengths of
            another picture size or number of pixels.
    """

    def __init__(self, skip_without_masks: bool = False) -> None:
        self.skip_without_masks = skip_without_masks
        self.counts: Counter[str] = Counter()

    def transform(self, results: dict) -> dict | None:
        if results['img_shape'][:2] != results['ori_shape'][:2]:
            raise MaskError(
                f'{_place(results)}: the picture is {results["img_shape"][:2]}, its masks are '
                f'{results["ori_shape"][:2]}. Put LoadMasks right after LoadAnnotations, before any resizing.'
            )
        height, width = results['ori_shape'][:2]
        instances = results.get('instances', [])
        masks = [
            self._read(instance.get('mask'), f'{_place(results)}, instance {k}', height, width)
            for k, instance in enumerate(instances)
        ]
        if masks and all(mask is None for mask in masks):
            self._count('skipped', 'a picture without masks skipped', results)
            return None
        blank = np.zeros((height, width), dtype=np.uint8)
        for mask in masks:
            if mask is None:
                self._count('missing', 'a box without a mask keeps its box alone', results)
            elif not mask.any():
                self._count('empty', 'a mask without a pixel in the picture', results)
        results['gt_masks'] = BitmapMasks([blank if mask is None else mask for mask in masks], height, width)
        return results

    def _read(self, mask: Any, place: str, height: int, width: int) -> np.ndarray | None:
        """(H, W) 0/1; None for no mask at all, where that is allowed."""
        if mask is None or mask == []:
            if self.skip_without_masks:
                return None
            raise MaskError(
                f'{place}: no mask; expected polygons or run lengths for every box of a run with a mask head. Add '
                'them, leave this file out, or set skip_without_masks=True in LoadMasks.'
            )
        parts = [mask] if isinstance(mask, dict) else mask
        if not isinstance(parts, list):
            raise form_error(place, mask)
        codes = []
        for part in parts:
            if isinstance(part, dict):
                codes.append(run_length_code(part, place, height, width))
            elif not isinstance(part, (list, tuple)) or not all(isinstance(v, (int, float)) for v in part):
                raise form_error(place, part)
            elif len(part) < _LEAST_NUMBERS or len(part) % 2:
                self.counts['polygons'] += 1
            else:
                codes.append(polygon_code(part, place, height, width))
        if not codes:
            return np.zeros((height, width), dtype=np.uint8)
        return coco_mask.decode(coco_mask.merge(codes))

    def _count(self, kind: str, what: str, results: dict) -> None:
        if not self.counts[kind]:
            print_log(
                f'LoadMasks: {what} in "{results.get("img_path")}"; later ones are counted, not logged.',
                logger='current',
            )
        self.counts[kind] += 1

    def __repr__(self) -> str:
        return f'{type(self).__name__}(skip_without_masks={self.skip_without_masks})'


def _place(results: dict) -> str:
    return f'Picture "{results.get("img_path")}" (record {results.get("img_id")})'
