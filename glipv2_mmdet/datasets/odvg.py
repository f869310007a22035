"""Reads ODVG jsonl files: one picture per line, with class labels (detection) or a caption (grounding).

Lines become samples whose ``text`` is a tuple of class names or a caption; ``BuildPrompt`` turns either into
a prompt. mmdet's reader of the same format decides the kind per file; here both kinds may share one file, a
box may own several spans, and masks are read where given. Errors of a file are reported while loading it.
"""

from __future__ import annotations

from typing import Any

from mmdet.datasets.base_det_dataset import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.fileio import get_local_path

from glipv2_mmdet.datasets.odvg_records import ODVGError, Place, RecordParser, load_class_lists, log_counts, parse_line
from glipv2_mmdet.datasets.record_checks import check_dataset_settings


@DATASETS.register_module()
class GroundedODVGDataset(BaseDetDataset):
    """ODVG jsonl with detection and grounding records in the same file.

    Line formats (boxes are xyxy edges in picture pixels; ``mask`` is optional, a COCO polygon list or run
    length code per box; ``vocabulary`` is only needed when the label map holds several class lists)::

        {"filename", "height", "width", "vocabulary"?, "detection": {"instances": [
            {"bbox", "label", "mask"?}]}}
        {"filename", "height", "width", "grounding": {"caption", "regions": [
            {"bbox": box or list of boxes, "tokens_positive": [[start, end], ...], "mask"?}]}}

    A region without ``tokens_positive`` is found by its ``phrase``, which must occur once in the caption.
    Samples carry ``text``, ``instances`` and, for grounding, ``tokens_positive`` (one list of spans per
    phrase, indexed by ``bbox_label``). Boxes are clipped to the picture and dropped when nothing is left;
    pictures without boxes stay unless ``filter_cfg=dict(filter_empty_gt=True)``. ``filter_cfg=dict(kind='grounding')``
    reads the captions of a mixed file alone, ``kind='detection'`` the class lists alone.

    Args:
        label_map_file: json, ``{"0": name, ...}`` or ``{vocabulary: {"0": name, ...}, ...}``, relative to
            ``data_root``. Needed only when the file has detection records.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: unknown keys in ``filter_cfg`` or ``data_prefix``.
        ODVGError: a broken line, field, label, span or box.
    """

    def __init__(self, *args: Any, label_map_file: str | None = None, **kwargs: Any) -> None:
        self.label_map_file = label_map_file
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Parses every line; one log line sums up what was clipped and dropped."""
        check_dataset_settings(self, ('filter_empty_gt', 'min_size', 'kind'))
        self._class_lists = load_class_lists(self.label_map_file, self.data_root, self.backend_args)
        parser = RecordParser(self.data_prefix.get('img') or '', self._class_lists, self.label_map_file)
        samples = []
        with get_local_path(self.ann_file, backend_args=self.backend_args) as path, open(path, 'rb') as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    place = Place(self.ann_file, number)
                    samples.append(parser(parse_line(line, place), place))
        if not samples:
            raise ODVGError(f'{self.ann_file}: no records; expected one json object per line. Check the path.')
        log_counts(self.ann_file, len(samples), parser.counts)
        return samples

    def get_data_info(self, idx: int) -> dict:
        """Adds the class names here: hundreds of them in each of a million records would fill the memory."""
        sample = super().get_data_info(idx)
        if 'text' not in sample:
            sample['text'] = self._class_lists[sample.pop('vocabulary')]
        return sample

    def filter_data(self) -> list[dict]:
        """Keeps pictures without boxes unless asked otherwise; never filters in test mode."""
        config = {} if self.test_mode or not self.filter_cfg else self.filter_cfg
        least = config.get('min_size', 0)
        kind = config.get('kind')
        if kind not in (None, 'detection', 'grounding'):
            raise ValueError(
                f"filter_cfg has kind={kind!r}; expected 'detection' or 'grounding'. Leave it out for both."
            )
        return [
            sample
            for sample in self.data_list
            if min(sample['height'], sample['width']) >= least
            and (sample['instances'] or not config.get('filter_empty_gt', False))
            and kind in (None, 'detection' if sample['custom_entities'] else 'grounding')
        ]
