"""Boxes for the words of real questions: question + answer is labelled like any caption, then joined again.

First ``question_captions`` makes captions for ``tools/pseudo_label.py``, then ``join_labels`` turns what it found into
grounding records of :class:`~glipv2_mmdet.datasets.VQADataset`. Source: GLIPv2 (Zhang et al., 2022), section 4.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from glipv2_mmdet.datasets.vqa_records import VQAError, by_question, check_question, read_entries


def question_captions(question_file: str | Path, annotation_file: str | Path, image_template: str) -> Iterator[dict]:
    """``{"filename", "caption", "question_id", "text"}`` of every question; the caption is question + ' ' + answer.

    Args:
        question_file: official questions.
        annotation_file: official annotations; the answer is ``multiple_choice_answer``.
        image_template: such as ``'COCO_train2014_{image_id:012d}.jpg'``.

    Raises:
        VQAError: a broken record, or a question that is not annotated.
    """
    questions, annotations = str(question_file), str(annotation_file)
    answers = by_question(read_entries(annotations, 'annotations'), annotations)
    for entry in read_entries(questions, 'questions'):
        check_question(entry, f'{questions}, question {entry.get("question_id")}')
        answer = answers.get(entry['question_id'], {}).get('multiple_choice_answer')
        if answer is None:
            raise VQAError(
                f'{annotations}, question {entry["question_id"]}: no "multiple_choice_answer". Use the two '
                'files of one split.'
            )
        yield dict(
            filename=image_template.format(image_id=entry['image_id']),
            question_id=entry['question_id'],
            text=entry['question'],
            caption=f'{entry["question"]} {answer}',
        )


def join_labels(captions: Iterable[dict], label_files: Sequence[str | Path]) -> Iterator[dict]:
    """A grounding record per labelled question, in the order of the labels; each label is read once.

    Args:
        captions: of :func:`question_captions`.
        label_files: jsonl of ``tools/pseudo_label.py`` on these captions.
    """
    # the same question may be asked twice about an image, with the same answer
    waiting: dict[tuple[str, str], list[dict]] = {}
    for caption in captions:
        waiting.setdefault((caption['filename'], caption['caption']), []).append(caption)
    for path in label_files:
        with open(path, encoding='utf-8') as lines:
            for line in filter(str.strip, lines):
                record = json.loads(line)
                grounding = record['grounding']
                for caption in waiting.pop((record['filename'], grounding['caption']), ()):
                    boxes = [
                        (box, region['tokens_positive'], score)
                        for region in grounding['regions']
                        for box, score in zip(region['bbox'], region['score'], strict=True)
                    ]
                    yield dict(
                        question_id=caption['question_id'],
                        text=caption['text'],
                        caption=caption['caption'],
                        tokens_positive=[spans for _, spans, _ in boxes],
                        bboxes=[box for box, _, _ in boxes],
                        scores=[score for _, _, score in boxes],
                        img_h=record['height'],
                        img_w=record['width'],
                    )
