"""What captions of "shapes" score that do not look at the image; a captioning model has to beat them.

python benchmarks/caption_baseline.py --data data/shapes

Two captions, each given to every scene of the split: the most frequent one of the training set, and a sentence of the
training set's most frequent length in phrases, made of its most frequent phrases. Scored by CaptionMetric and
ShapesCaptionTruth; one json line each.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import glipv2_mmdet  # noqa: F401

# isort: split
from mmdet.registry import METRICS


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
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
                dict(type='ShapesCaptionTruth', ann_file=str(folder / 'val.json'))):
            metric = METRICS.build(settings)
            metric.process({}, samples)
            row |= {key: round(value, 4) for key, value in metric.evaluate(size=len(samples)).items()}
        print(json.dumps(row), flush=True)
        rows.append(row)
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
