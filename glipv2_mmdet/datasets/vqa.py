"""Reads VQA v2: questions about images, what ten people answered, and optionally boxes for the words.

A question becomes the sample's ``text``; the detector makes its prompt. Source of the formats: VQA v2 (Goyal et al.,
2017); of the grounding records: GLIPv2 (Zhang et al., 2022), section 4.
"""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.datasets.base_det_dataset import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.logging import print_log

from glipv2_mmdet.datasets.record_checks import check_dataset_settings, read_json, reading
from glipv2_mmdet.datasets.vqa_records import (
    AnswerTargets,
    VQAError,
    annotator_answers,
    by_question,
    check_question,
    read_entries,
    read_grounding,
)
from glipv2_mmdet.text.answer_vocabulary import read_answers
from glipv2_mmdet.text.prompt import shorten


@DATASETS.register_module()
class VQADataset(BaseDetDataset):
    """One pair of official files; list several in a ``ConcatDataset``. Give ``ann_file=''`` for questions alone.

    Samples have ``text`` (the question), ``question_id``, ``img_path``; with annotations ``gt_answers`` (as they
    stand), ``question_type`` and ``answer_type`` where the file has them; with annotations and ``answers`` also
    ``answer_scores`` (V,) float32. Answers that are not in the vocabulary are left out and counted in the log; a
    question without any stays, since nothing is right about it.

    There is no flipping of images in this project's VQA pipelines: questions ask for left and right.

    Args:
        question_file: relative to ``data_root``.
        answers: the vocabulary, as in :class:`~glipv2_mmdet.models.VQAHead`; None where no targets are needed.
        image_template: file name of an image by its id, such as ``'COCO_val2014_{image_id:012d}.jpg'``.
        image_info_file: instead of it a json with a list ``images`` of ``{"id", "file_name"}``.
        soft_scores: ``'leave_one_out'`` (0, .3, .6, .9, 1 by number of people) or ``'capped'`` (0, 1/3, 2/3, 1).
        only_images: json list of image ids; questions about others are left out (a development split).
        without_images: json list of image ids whose questions are left out (the rest of it).
        only_types: question types of the annotations, such as ``('how many',)``; other questions are left out.
        group_by_image: one sample per image with all its ``questions`` (Q texts), for training: the image is encoded
            once. ``question_id`` and ``answer_scores`` (Q, V) run parallel to it. VQA v2 has five questions
            per image.
        grounding_file: jsonl of grounding records, see :func:`~glipv2_mmdet.datasets.vqa_records.grounding_of`;
            samples get ``tokens_positive`` and ``instances``. Questions without a record are left out and counted.

    Raises:
        FileNotFoundError: there is no such file.
        AnswerVocabularyError: ``answers`` is no list of answers.
        ValueError: unknown keys in ``filter_cfg`` or ``data_prefix``.
        VQAError: a broken file or record, a question without words, a question that has no annotation, or a question
            type that no annotation has.
    """

    def __init__(
        self,
        *args: Any,
        question_file: str,
        answers: str | Sequence[str] | None = None,
        image_template: str | None = None,
        image_info_file: str | None = None,
        soft_scores: str = 'leave_one_out',
        only_images: str | None = None,
        without_images: str | None = None,
        only_types: Sequence[str] | None = None,
        group_by_image: bool = False,
        grounding_file: str | None = None,
        **kwargs: Any,
    ) -> None:
        if (image_template is None) == (image_info_file is None):
            raise VQAError(
                f'image_template is {image_template!r}, image_info_file {image_info_file!r}. Expected one of them: '
                "'COCO_train2014_{image_id:012d}.jpg', or a json file with a list of images."
            )
        if group_by_image and grounding_file is not None:
            raise VQAError(
                'group_by_image=True came with a grounding_file, but boxes belong to one question each. '
                'Drop one of them.'
            )
        self.question_file = question_file
        self.answers = None if answers is None else read_answers(answers)
        self.image_template = image_template
        self.image_info_file = image_info_file
        self.soft_scores = soft_scores
        self.only_images = only_images
        self.without_images = without_images
        self.only_types = only_types
        self.group_by_image = group_by_image
        self.grounding_file = grounding_file
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One sample per question, in the order of the question file."""
        check_dataset_settings(self)
        path = self._below_root(self.question_file)
        questions = self._chosen(list(by_question(read_entries(path, 'questions', self.backend_args), path).values()))
        file_names = self._file_names()
        samples = []
        for entry in questions:
            place = f'{path}, question {entry["question_id"]}'
            check_question(entry, place)
            samples.append(
                dict(
                    question_id=entry['question_id'],
                    img_id=entry['image_id'],
                    img_path=osp.join(self.data_prefix.get('img') or '', self._file_name(entry, file_names, place)),
                    text=entry['question'],
                    custom_entities=False,
                    instances=[],
                )
            )
        if not samples:
            raise VQAError(f'{path}: no questions; expected at least one. Check the path, and the lists of images.')
        if self.ann_file:
            self._add_answers(samples)
        if self.only_types is not None:
            samples = self._of_types(samples)
        if self.group_by_image:
            return _grouped(samples)
        return self._with_grounding(samples) if self.grounding_file else samples

    def filter_data(self) -> list[dict]:
        """Keeps every question."""
        return self.data_list

    def get_data_info(self, idx: int) -> dict:
        """Spreads the targets over the vocabulary here: 3,129 numbers for each of 600,000 questions fill no memory."""
        sample = super().get_data_info(idx)
        if 'answer_targets' in sample:
            targets = sample.pop('answer_targets')
            rows = targets if self.group_by_image else [targets]
            scores = np.zeros((len(rows), len(self.answers)), dtype=np.float32)
            for row, row_targets in zip(scores, rows, strict=True):
                row[list(row_targets)] = list(row_targets.values())
            sample['answer_scores'] = scores if self.group_by_image else scores[0]
        return sample

    def _add_answers(self, samples: list[dict]) -> None:
        annotations = by_question(read_entries(self.ann_file, 'annotations', self.backend_args), self.ann_file)
        targets = None if self.answers is None else AnswerTargets(self.answers, self.soft_scores)
        for sample in samples:
            place = f'{self.ann_file}, question {sample["question_id"]}'
            annotation = annotations.get(sample['question_id'])
            if annotation is None:
                raise VQAError(
                    f'{place}: not annotated; expected an entry for every question of '
                    f'"{self.question_file}". Use the two files of one split.'
                )
            sample['gt_answers'] = annotator_answers(annotation, place)
            sample |= {key: annotation[key] for key in ('question_type', 'answer_type') if key in annotation}
            if targets is not None:
                sample['answer_targets'] = targets(sample['gt_answers'])
        if targets is not None:
            print_log(f'{self.ann_file}: {targets.summary()}.', logger='current')

    def _of_types(self, samples: list[dict]) -> list[dict]:
        found = {sample.get('question_type') for sample in samples}
        unknown = [name for name in self.only_types if name not in found]
        if unknown or not self.only_types or isinstance(self.only_types, str):
            raise VQAError(
                f'only_types is {self.only_types!r}; expected a list of question types that '
                f'"{self.ann_file}" has: {shorten(", ".join(sorted(filter(None, found))) or "none")}.'
            )
        return [sample for sample in samples if sample.get('question_type') in self.only_types]

    def _with_grounding(self, samples: list[dict]) -> list[dict]:
        path = self._below_root(self.grounding_file)
        records = dict(read_grounding(path, self.backend_args))
        grounded = []
        for sample in samples:
            record = records.get(sample['question_id'])
            if record is None:
                continue
            if record['text'] != sample['text']:
                raise VQAError(
                    f'{path}: question {sample["question_id"]} is {record["text"]!r} there and '
                    f'{sample["text"]!r} in "{self.question_file}". Make the grounding file again.'
                )
            grounded.append(sample | record)
        if not grounded:
            raise VQAError(
                f'{path}: no record for any of {len(samples)} questions. Was it made from "{self.question_file}"?'
            )
        if len(grounded) < len(samples):
            print_log(
                f'{path}: {len(samples) - len(grounded)} of {len(samples)} questions have no record and are left out.',
                logger='current',
            )
        return grounded

    def _chosen(self, questions: list[dict]) -> list[dict]:
        for file, is_kept in ((self.only_images, True), (self.without_images, False)):
            if file is not None:
                path = self._below_root(file)
                listed = read_json(path, VQAError, 'Expected a list of image ids.', self.backend_args)
                if not isinstance(listed, list) or not all(isinstance(image, (int, str)) for image in listed):
                    raise VQAError(f'{path}: {str(listed)[:60]!r}; expected a list of image ids. Write the file again.')
                images = set(listed)
                questions = [entry for entry in questions if (entry.get('image_id') in images) == is_kept]
        return questions

    def _file_names(self) -> dict[int, str]:
        if self.image_info_file is None:
            return {}
        path = self._below_root(self.image_info_file)
        images = read_entries(path, 'images', self.backend_args)
        with reading(path, VQAError, 'Expected "images" with "id" and "file_name" in each. Fetch the file again.'):
            names = {image['id']: image['file_name'] for image in images}
        wrong = next((name for name in names.values() if not isinstance(name, str)), None)
        if wrong is not None:
            raise VQAError(f'{path}: "file_name" is {str(wrong)[:60]}; expected a text. Fetch the file again.')
        return names

    def _file_name(self, entry: dict, file_names: dict[int, str], place: str) -> str:
        image_id = entry['image_id']
        if self.image_template is not None:
            expected = (
                f'Image {image_id!r} does not go into image_template {self.image_template!r}. Expected a '
                "template such as 'COCO_train2014_{image_id:012d}.jpg' and ids that are numbers."
            )
            with reading(place, VQAError, expected):
                return self.image_template.format(image_id=image_id)
        if image_id not in file_names:
            raise VQAError(f'{place}: image {image_id} is not in "{self.image_info_file}". Use the files of one split.')
        return file_names[image_id]

    def _below_root(self, path: str) -> str:
        return osp.join(self.data_root, path) if self.data_root and not osp.isabs(path) else path


def _grouped(samples: list[dict]) -> list[dict]:
    """One sample per image, in the order in which images come first."""
    images: dict[str, list[dict]] = {}
    for sample in samples:
        images.setdefault(sample['img_path'], []).append(sample)
    grouped = []
    for members in images.values():
        sample = {key: members[0][key] for key in ('img_id', 'img_path', 'instances')}
        sample['questions'] = [member['text'] for member in members]
        for key in ('question_id', 'answer_targets'):
            if key in members[0]:
                sample[key] = [member[key] for member in members]
        grouped.append(sample)
    return grouped
