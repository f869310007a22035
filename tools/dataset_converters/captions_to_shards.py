"""COCO's caption json to jsonl shards of {"filename", "caption"}, which tools/pseudo_label.py labels.

    python tools/dataset_converters/captions_to_shards.py data/shapes/annotations/captions_train.json \
        --out data/shapes/captions
"""

import argparse
import sys
from itertools import islice
from pathlib import Path

from glipv2_mmdet.datasets.conversion import GroupedRows, iterate_array, write_odvg


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('captions', help='json with "images" and "annotations", such as captions_train2017.json')
    parser.add_argument('--out', type=Path, required=True, help='folder of captions-00000.jsonl, ...')
    parser.add_argument('--shard-size', type=int, default=10000, help='captions per shard (default: %(default)s)')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    names = ((image['id'], image['file_name']) for image in iterate_array(args.captions, 'images'))
    with GroupedRows(names, args.out) as images:
        pairs = (
            dict(filename=images[entry['image_id']][0], caption=entry['caption'])
            for entry in iterate_array(args.captions, 'annotations')
        )
        number = 0
        while shard := list(islice(pairs, args.shard_size)):
            # written again each time: whether a shard is up to date is known only after reading up to it
            write_odvg(args.out / f'captions-{number:05d}.jsonl', shard, [args.captions], force=True)
            number += 1
    print(f'{args.out}: {number} shards')
    return 0


if __name__ == '__main__':
    sys.exit(main())
