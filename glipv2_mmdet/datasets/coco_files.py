"""COCO json as mmdet's data sets and metrics read it: records checked, categories joined with class names by name."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Sequence
from functools import lru_cache

from mmdet.datasets.api_wrappers import COCO
from mmengine.logging import print_log

from glipv2_mmdet.datasets.category_names import describe_missing, join_names
from glipv2_mmdet.datasets.coco_records import CocoFileError, checked_content
from glipv2_mmdet.datasets.record_checks import read_json

_LAYOUT = 'Expected a COCO json with images, annotations and categories.'


class CheckedCOCO(COCO):
    """mmdet's COCO file with checked records, whose category ids come in the order of the names asked for.

    Args:
        annotation_file: COCO json; None for content that is set later, as pycocotools does it.

    Raises:
        CocoFileError: see :func:`~glipv2_mmdet.datasets.coco_records.checked_content`.
        FileNotFoundError: there is no such file.
    """

    def __init__(self, annotation_file: str | None = None) -> None:
        super().__init__()
        self.source = str(annotation_file)
        if annotation_file is not None:
            self.dataset = checked_content(read_json(self.source, CocoFileError, _LAYOUT), self.source)
            self.createIndex()
            self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    def get_cat_ids(
        self, cat_names: Sequence[str] = (), sup_names: Sequence[str] = (), cat_ids: Sequence[Hashable] = ()
    ) -> list[Hashable]:
        """Category ids in the order of ``cat_names``; without names as mmdet has it.

        A name that the file lacks gets a negative id that no annotation has, so that the label of a class is always
        its place among the names. Such names, and categories that are left out, are written to the log.

        Raises:
            CategoryNameError: see :func:`~glipv2_mmdet.datasets.category_names.join_names`.
        """
        if len(cat_names) == 0:
            return super().get_cat_ids(cat_names, sup_names, cat_ids)
        given = {category['id']: category['name'] for category in self.dataset['categories']}
        joined = join_names(cat_names, given, self.source)
        if joined.missing:
            _warn_once(describe_missing(joined.missing, cat_names, list(given.values()), self.source))
        self._warn_left_out(joined.unused)
        ids, are_texts = [], any(isinstance(key, str) for key in given)
        for place, (name, key) in enumerate(zip(cat_names, joined.ids, strict=True)):
            if key is None:
                key = -1 - place
                while key in given:
                    key -= len(cat_names)
                key = f'absent {key}' if are_texts else key  # pycocotools sorts the ids
                self.cats[key] = dict(id=key, name=name)  # mmdet's table of classes looks names up
            ids.append(key)
        return ids

    def _warn_left_out(self, unused: Sequence[Hashable]) -> None:
        counts = Counter(entry['category_id'] for entry in self.dataset['annotations'])
        left_out = {key: counts[key] for key in unused if counts[key]}
        if left_out:
            names = ', '.join(f'"{self.cats[key]["name"]}"' for key in list(left_out)[:5])
            _warn_once(
                f'{self.source}: {sum(left_out.values())} boxes of {len(left_out)} categories are left out, because '
                f'these are not among the class names: {names}{", ..." if len(left_out) > 5 else ""}.'
            )


@lru_cache(maxsize=1024)
def _warn_once(text: str) -> None:
    """Data set and metric read the same file; once is enough."""
    print_log(text, logger='current', level=logging.WARNING)


__all__ = ['CheckedCOCO', 'CocoFileError']
