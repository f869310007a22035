"""One question of VQA v2's files to one sample: the checks, and what its ten answers are worth.

In: entries of the official question and annotation files, and optional grounding records. Out: samples for
``VQADataset``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.fileio import get

from glipv2_mmdet.datasets.record_checks import is_span, read_json, reading, require_boxes
from glipv2_mmdet.evaluation.vqa_answers import soft_scores
from glipv2_mmdet.text.prompt import shorten

_GROUNDING_FIELDS = 'Expected question_id, text, caption, tokens_positive and bboxes. Make the file again.'


class VQAError(ValueError):
    """A file or record cannot be used; the message names file, question, value and fix."""


def read_entries(path: str, key: str, backend_args: dict | None = None) -> list[dict]:
    """The list under ``key`` of an official json file.

    Raises:
        VQAError: the file is not json, or has no such list.
    """
    content = read_json(path, VQAError, 'A download may be incomplete; fetch the file again.', backend_args)
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise VQAError(
            f'{path}: no list "{key}" (found {shorten(str(content))}). Expected a file of VQA v2; are '
            'questions and annotations exchanged?'
        )
    return content[key]


def by_question(entries: Sequence[dict], path: str) -> dict[int, dict]:
    """Entries by ``question_id``.

    Raises:
        VQAError: an entry without an id, or an id twice.
    """
    found: dict[int, dict] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or 'question_id' not in entry:
            raise VQAError(f'{path}, record {number}: no "question_id" in {shorten(str(entry))}. Repair the record.')
        if not isinstance(entry['question_id'], (int, str)):
            raise VQAError(
                f'{path}, record {number}: "question_id" is {shorten(repr(entry["question_id"]))}; '
                'expected a number. Repair the record.'
            )
        if entry['question_id'] in found:
            raise VQAError(f'{path}: question {entry["question_id"]} is there twice. Remove one.')
        found[entry['question_id']] = entry
    return found


def check_question(entry: Mapping[str, Any], place: str) -> None:
    """Refuse a question that nobody could answer: dropped silently it would be missing in a result file.

    Raises:
        VQAError: no image, or a question without letter or digit.
    """
    question = entry.get('question')
    if not isinstance(question, str) or not any(map(str.isalnum, question)):
        raise VQAError(
            f'{place}: question {shorten(repr(question))}; expected a text with a letter or digit. Repair '
            'the record, or remove it from questions and annotations.'
        )
    if 'image_id' not in entry:
        raise VQAError(f'{place}: no "image_id" (keys {sorted(entry)}). Repair the record.')
    if not isinstance(entry['image_id'], (int, str)):
        raise VQAError(
            f'{place}: "image_id" is {shorten(repr(entry["image_id"]))}; expected a number. Repair the record.'
        )


class AnswerTargets:
    """Turns ten answers into soft scores over a vocabulary; ``counts`` sums up what was left out.

    Args:
        answers: the vocabulary.
        kind: see :func:`~glipv2_mmdet.evaluation.vqa_answers.soft_scores`.
    """

    def __init__(self, answers: Sequence[str], kind: str = 'leave_one_out') -> None:
        self.positions = {answer: index for index, answer in enumerate(answers)}
        self.kind = kind
        self.counts: Counter[str] = Counter()

    def __call__(self, annotators: Sequence[str]) -> dict[int, float]:
        """Score by position in the vocabulary, above zero; may be empty."""
        scores = soft_scores(annotators, self.kind)
        known = {self.positions[answer]: score for answer, score in scores.items() if answer in self.positions}
        self.counts['questions'] += 1
        self.counts['answers'] += len(annotators)
        self.counts['unknown'] += sum(answer not in self.positions for answer in annotators)
        self.counts['all_unknown'] += not known
        return known

    def summary(self) -> str:
        """What was left out, in one line."""
        counts = self.counts
        return (
            f'{counts["unknown"]} of {counts["answers"]} answers are not in the vocabulary of '
            f'{len(self.positions)} and are left out; {counts["all_unknown"]} of {counts["questions"]} questions '
            'have no answer in it, and stay with nothing to be right about'
        )


def annotator_answers(annotation: Mapping[str, Any], place: str) -> list[str]:
    """The answers of an annotation, as they stand.

    Raises:
        VQAError: there are none.
    """
    answers = annotation.get('answers')
    if (
        not isinstance(answers, list)
        or not answers
        or not all(isinstance(entry, dict) and isinstance(entry.get('answer'), str) for entry in answers)
    ):
        raise VQAError(
            f'{place}: "answers" is {shorten(repr(answers))}; expected a list of {{"answer": text}}. Repair the record.'
        )
    return [entry['answer'] for entry in answers]


def read_grounding(path: str, backend_args: dict | None = None) -> Iterator[tuple[Any, dict]]:
    """(question id, grounding) of each line of a grounding file; see :func:`grounding_of`."""
    # by bytes: a text has more kinds of line ends than json
    for number, line in enumerate(get(path, backend_args=backend_args).split(b'\n'), start=1):
        if line.strip():
            place = f'{path}:{number}'
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise VQAError(f'{place}: broken json ({error}). Repair or delete the line.') from error
            with reading(place, VQAError, _GROUNDING_FIELDS):
                found = grounding_of(record, place)
            if not isinstance(record['question_id'], (int, str)):
                raise VQAError(f'{place}: "question_id" is {shorten(repr(record["question_id"]))}. {_GROUNDING_FIELDS}')
            yield record['question_id'], found


def grounding_of(record: Mapping[str, Any], place: str) -> dict:
    """Phrases and boxes of one grounding record.

    Args:
        record: ``{"question_id", "text": question, "caption": question + " " + answer, "tokens_positive": one list of
            spans of the caption per box, "bboxes": xyxy edges in image pixels}``; ``scores``, ``img_h``, ``img_w`` are
            not read.
        place: file and line.

    Returns:
        ``text``, ``tokens_positive`` (K lists of spans, one per distinct phrase) and ``instances`` labelled by phrase.

    Raises:
        VQAError: a missing or wrong field, a caption that does not continue the question, a box without spans.
    """
    if not isinstance(record, Mapping):
        raise VQAError(f'{place}: {shorten(repr(record))}; expected an object. Is this a grounding file?')
    missing = [key for key in ('question_id', 'text', 'caption', 'tokens_positive', 'bboxes') if key not in record]
    if missing:
        raise VQAError(f'{place}: no "{missing[0]}" (keys {sorted(record)}). Is this a grounding file?')
    question, caption = record['text'], record['caption']
    if (
        not isinstance(question, str)
        or not isinstance(caption, str)
        or not all(isinstance(record[key], (list, tuple)) for key in ('tokens_positive', 'bboxes'))
    ):
        raise VQAError(
            f'{place}: {shorten(repr(record), 200)}; expected texts under "text" and "caption", lists under '
            '"tokens_positive" and "bboxes". Make the file again.'
        )
    if not caption.startswith(f'{question} '):
        raise VQAError(
            f'{place}: caption {shorten(repr(caption))} does not begin with the question '
            f'{shorten(repr(question))} and a blank. Spans would point to other words; make the file again.'
        )
    if len(record['bboxes']) != len(record['tokens_positive']):
        raise VQAError(
            f'{place}: {len(record["bboxes"])} boxes but {len(record["tokens_positive"])} entries in '
            '"tokens_positive"; expected one list of spans per box.'
        )
    require_boxes(record['bboxes'], place, VQAError)
    phrases: dict[tuple[tuple[int, int], ...], int] = {}
    instances = []
    for box, spans in zip(record['bboxes'], record['tokens_positive'], strict=True):
        if not isinstance(spans, (list, tuple)) or not spans or not all(is_span(span, len(caption)) for span in spans):
            raise VQAError(
                f'{place}: spans {shorten(repr(spans))} do not lie in the caption of {len(caption)} '
                'characters; expected [[start, end], ...], half-open, at least one.'
            )
        key = tuple(map(tuple, spans))
        label = phrases.setdefault(key, len(phrases))
        instances.append(dict(bbox=[float(side) for side in box], bbox_label=label, ignore_flag=0))
    return dict(text=question, tokens_positive=[[list(span) for span in key] for key in phrases], instances=instances)
