"""LVIS v1 json to ODVG jsonl and a label map; images are those of COCO, in train2017/ and val2017/.

    python tools/dataset_converters/lvis_to_odvg.py data/coco/annotations/lvis_v1_train.json \
        --out data/coco/lvis_v1_train_odvg.jsonl --check --image-root data/coco
"""

import argparse
import sys

from glipv2_mmdet.datasets.conversion import coco_class_names, coco_records
from glipv2_mmdet.datasets.conversion.command import add_options, run_conversion, scratch_folder


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', help='lvis_v1_train.json or lvis_v1_val.json')
    add_options(parser)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    records = coco_records(args.annotations, 'coco_url', scratch_folder(args))
    return run_conversion(args, records, [args.annotations], print, coco_class_names(args.annotations))


if __name__ == '__main__':
    sys.exit(main())
