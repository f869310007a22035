"""Checks any ODVG jsonl: boxes, spans, labels and image files; prints a table and fails when something is wrong.

    python tools/dataset_converters/check_odvg.py data/shapes/annotations/train_odvg.jsonl \
        --label-map data/shapes/annotations/label_map.json --image-root data/shapes/images/train
"""

import argparse
import sys

from glipv2_mmdet.datasets.conversion import check_odvg


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', help='ODVG jsonl')
    parser.add_argument('--label-map', help='of detection records')
    parser.add_argument('--image-root', help='folder in front of every file name; without it images are left out')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    report = check_odvg(args.file, args.label_map, args.image_root)
    print(report.table())
    return 0 if report.ok else 1


if __name__ == '__main__':
    sys.exit(main())
