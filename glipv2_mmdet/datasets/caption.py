"""Captions of images: a sample per caption to train on, a sample per image to caption.

    dataset=dict(type='CocoCaption', ann_file='dataset_coco.json', splits=('train', 'restval'))

mmdet's ``CocoCaptionDataset`` reads BLIP's lists alone and hands every record on as it is.
"""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmdet.datasets.base_det_dataset import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.logging import MMLogger

from glipv2_mmdet.datasets.caption_files import CaptionedImage, CaptionFileError, read_caption_file
from glipv2_mmdet.datasets.record_checks import check_dataset_settings


@DATASETS.register_module()
class CocoCaption(BaseDetDataset):
    """Images with captions, from Karpathy's ``dataset_coco.json``, a BLIP-style list or a COCO caption file.

    The layout is recognised from the file. For training, one sample per *caption*: an epoch then shows every caption
    once, as the 566k-sample epochs of the published recipes do, and which caption comes when is the sampler's
    matter alone, so that a resumed run goes on where it stopped. With ``test_mode`` there is one sample per image.

    Training samples carry ``text`` (the caption) with empty ``tokens_positive`` and ``instances``, for
    ``CaptionPrompt``; evaluation samples carry the image alone. Images without a caption are left out of training.

    Args:
        ann_file: json file.
        splits: parts of a Karpathy file; the usual training set is 'train' and 'restval' together. Files of the
            other layouts are one split each.
        data_prefix: ``dict(img=folder)`` that the file's image names are relative to.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: unknown keys in ``filter_cfg`` or ``data_prefix``.
        CaptionFileError: another layout, a record without its fields, an unknown split, or images without file name.
    """

    def __init__(self, *args: Any, splits: Sequence[str] | None = ('train', 'restval'), **kwargs: Any) -> None:
        self.splits = splits
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Samples in the order of the file; one log line says what was left out."""
        check_dataset_settings(self)
        content = read_caption_file(self.ann_file, self.splits, self.backend_args)
        silent = sum(not image.captions for image in content.images)
        captions = sum(len(image.captions) for image in content.images)
        MMLogger.get_current_instance().info(
            f'{self.ann_file}: {len(content.images)} images, {captions} captions, {content.num_empty} captions without '
            f'a word dropped, {silent} images without a caption'
            f'{"" if self.test_mode or not silent else " left out"}'
        )
        if self.test_mode:
            return [self._image_part(image) for image in content.images]
        if not captions:
            raise CaptionFileError(
                f'{self.ann_file}: no captions to train on; expected at least one. Is it a test file?'
            )
        return [
            self._image_part(image) | dict(text=caption, custom_entities=False, tokens_positive=[], instances=[])
            for image in content.images
            for caption in image.captions
        ]

    def filter_data(self) -> list[dict]:
        """Keeps every sample: none has boxes."""
        return self.data_list

    def _image_part(self, image: CaptionedImage) -> dict:
        if image.file_name is None:
            raise CaptionFileError(
                f'{self.ann_file}: image {image.image_id} has no "file_name"; expected one for every image. Such files '
                'hold references for CaptionMetric only: give the data set the list of images.'
            )
        part = dict(img_id=image.image_id, img_path=osp.join(self.data_prefix.get('img') or '', image.file_name))
        if image.size is not None:
            part['height'], part['width'] = image.size
        return part
