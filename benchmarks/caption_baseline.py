"""What captions of "shapes" score that do not look at the image; a captioning model has to beat them.

python benchmarks/caption_baseline.py --data data/shapes

Two captions, each given to every scene of the split: the most frequent one of the training set, and a sentence of the
training set's most frequent length in phrases, made of its most frequent phrases. Scored by CaptionMetric and
ShapesCaptionTruth; one json line each, and flat figures with --json.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import glipv2_mmdet  # noqa: F401

# isort: split
from mmdet.registry import METRICS

from benchmarks.report import make_parser, publish


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = make_parser(__doc__)
    parser.add_argument('--data', type=Path, default=Path('data/shapes'), help='folder of the data set')
    parser.add_argument('--metrics', nargs='+', default=['BLEU', 'METEOR', 'ROUGE_L', 'CIDEr'])
    args = parser.parse_args(arguments)
    folder = args.data / 'annotations'
    truth = {image['id'] for image in json.loads((folder / 'captions_val.json').read_text())['images']}
    rows = []
    for name, caption in dict(frequent=frequent_caption(folder), template=template_caption(folder)).items():
        samples = [dict(img_id=key, pred_caption=caption) for key in sorted(truth)]
        row = dict(baseline=name, caption=caption)
        for settings in (
            dict(type='CaptionMetric', ann_file=str(folder / 'captions_val.json'), metrics=args.metrics),
            dict(type='ShapesCaptionTruth', ann_file=str(folder / 'val.json')),
        ):
            metric = METRICS.build(settings)
            metric.process({}, samples)
            row |= {key: round(value, 4) for key, value in metric.evaluate(size=len(samples)).items()}
        rows.append(row)
    figures = {
        f'caption_baseline_{row["baseline"]}_{key.replace("/", "_")}': value
        for row in rows
        for key, value in row.items()
        if key != 'baseline'
    }
    publish(figures, '\n'.join(map(json.dumps, rows)), args.json)
    return rows


def frequent_caption(folder: Path) -> str:
    """The caption that most training scenes share."""
    entries = json.loads((folder / 'captions_train.json').read_text())['annotations']
    return Counter(entry['caption'] for entry in entries).most_common(1)[0][0]


def template_caption(folder: Path) -> str:
    """'p1, p2 and p3.' of the most frequent phrases; as many as most training captions have."""
    phrases: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    for line in (folder / 'grounding_train.jsonl').read_text().splitlines():
        names = [region['phrase'] for region in json.loads(line)['grounding']['regions']]
        phrases.update(names)
        lengths[len(names)] += 1
    *first, last = [name for name, _ in phrases.most_common(lengths.most_common(1)[0][0])]
    return f'{", ".join(first)} and {last}.' if first else f'{last}.'


if __name__ == '__main__':
    main()
