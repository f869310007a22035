"""Reads MDETR json (GoldG: mixed and Flickr30k separateGT) as it is downloaded; leaves samples for ``BuildPrompt``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdet.registry import DATASETS
from mmengine.fileio import get_local_path

from glipv2_mmdet.datasets.conversion.mdetr import mdetr_records
from glipv2_mmdet.datasets.odvg import GroundedODVGDataset
from glipv2_mmdet.datasets.odvg_records import ODVGError, Place, RecordParser, log_counts
from glipv2_mmdet.datasets.record_checks import check_dataset_settings


@DATASETS.register_module()
class MDETRGroundingDataset(GroundedODVGDataset):
    """Captions with boxes in MDETR's layout: several spans per phrase, several boxes per phrase.

    Samples are those of :class:`GroundedODVGDataset`: ``text`` is the caption, ``tokens_positive`` one list of spans
    per phrase, ``bbox_label`` the phrase of a box. Rows without boxes stay unless ``filter_empty_gt`` is set.

    Args:
        image_folders: folder of the images per ``data_source``, relative to ``data_prefix['img']``, for files that
            mix sources: ``dict(coco='coco/train2014', vg='gqa/images')``. '*' stands for every other source.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: broken json, a row without its fields, or a ``data_source`` without folder.
        ODVGError: a size, span or box that cannot be used; names file and row.
    """

    def __init__(self, *args: Any, image_folders: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        self.image_folders = image_folders
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Parses every row; one log line sums up what was clipped and dropped."""
        check_dataset_settings(self, ('filter_empty_gt', 'min_size', 'kind'))
        parser = RecordParser(self.data_prefix.get('img') or '')
        with get_local_path(self.ann_file, backend_args=self.backend_args) as path:
            samples = [
                parser(record, Place(self.ann_file, f'row {row}'))
                for row, record in mdetr_records(path, self.image_folders)
            ]
        if not samples:
            raise ODVGError(f'{self.ann_file}: "images" is empty; expected one row per caption. Check the path.')
        log_counts(self.ann_file, len(samples), parser.counts)
        return samples
