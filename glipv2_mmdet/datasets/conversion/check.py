"""Reads an ODVG file as training would and says what is wrong with it: boxes, spans, labels, image files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from glipv2_mmdet.datasets.odvg_records import ODVGError, Place, RecordParser, load_class_lists, parse_line
from glipv2_mmdet.image_reading import ImageInputError, read_head

_KEPT_MESSAGES = 20


@dataclass
class CheckReport:
    """Counts by what was found; the first messages of each kind of error.

    Args:
        counts: 'records', 'detection', 'grounding', 'boxes', 'clipped', 'dropped', 'empty', and the errors
            'broken_records', 'blank_spans', 'missing_images', 'broken_images', 'wrong_sizes'.
        messages: at most 20.
    """

    counts: Counter[str] = field(default_factory=Counter)
    messages: list[str] = field(default_factory=list)

    ERRORS = ('broken_records', 'blank_spans', 'missing_images', 'broken_images', 'wrong_sizes')

    @property
    def ok(self) -> bool:
        return not any(self.counts[kind] for kind in self.ERRORS)

    def add(self, kind: str, message: str) -> None:
        self.counts[kind] += 1
        if len(self.messages) < _KEPT_MESSAGES:
            self.messages.append(message)

    def table(self) -> str:
        """Markdown rows, errors last, then the messages."""
        kinds = ('records', 'detection', 'grounding', 'boxes', 'clipped', 'dropped', 'empty', *self.ERRORS)
        lines = ['| what | count |', '| --- | ---: |']
        lines += [f'| {kind.replace("_", " ")} | {self.counts[kind]:,} |' for kind in kinds]
        return '\n'.join([*lines, *self.messages])


def check_odvg(
    path: str | Path, label_map: str | Path | None = None, image_root: str | Path | None = None, progress: bool = True
) -> CheckReport:
    """Checks every record of an ODVG file.

    Args:
        path: jsonl file.
        label_map: for detection records.
        image_root: images are looked for here: there, readable, of the size in the record (the header is read, not
            the pixels). None leaves images out.
        progress: bar on standard error.

    Raises:
        ODVGError: the label map is broken, or the file has no record.
    """
    report = CheckReport()
    parser = RecordParser('', load_class_lists(None if label_map is None else str(label_map)), str(label_map))
    with open(path, 'rb') as lines:
        for number, line in enumerate(tqdm(lines, desc=Path(path).name, unit=' records', disable=not progress), 1):
            if not line.strip():
                continue
            report.counts['records'] += 1
            place = Place(str(path), number)
            try:
                sample = parser(parse_line(line, place), place)
            except ODVGError as error:
                report.add('broken_records', str(error))
                continue
            _check_words(sample, place, report)
            if image_root is not None:
                _check_image(Path(image_root), sample, place, report)
    if not report.counts['records']:
        raise ODVGError(f'{path}: no records; expected one json object per line. Check the path.')
    report.counts.update(parser.counts)
    return report


def _check_words(sample: dict, place: Place, report: CheckReport) -> None:
    """A span of blanks has no token, so its boxes would be background."""
    for spans in sample.get('tokens_positive', ()):
        for start, end in spans:
            if not any(map(str.isalnum, sample['text'][start:end])):
                report.add(
                    'blank_spans',
                    str(
                        place.error(
                            f'span [{start}, {end}] is {sample["text"][start:end]!r}',
                            'at least one letter or digit',
                            'Move the span to its words.',
                        )
                    ),
                )


def _check_image(root: Path, sample: dict, place: Place, report: CheckReport) -> None:
    path = root / sample['img_path']
    try:
        size = read_head(path).size
    except FileNotFoundError:
        report.add('missing_images', f'{place.file}:{place.record}: no file "{path}"')
    except ImageInputError as error:
        report.add('broken_images', f'{place.file}:{place.record}: {error}')
    else:
        if size != (sample['width'], sample['height']):
            report.add(
                'wrong_sizes',
                f'{place.file}:{place.record}: "{path}" is {size[0]} x {size[1]}, the record '
                f'says {sample["width"]} x {sample["height"]}',
            )
