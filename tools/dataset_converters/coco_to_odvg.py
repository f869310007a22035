"""Detection json in COCO's layout (COCO, Objects365 v1 and v2) to ODVG jsonl and a label map.

    python tools/dataset_converters/coco_to_odvg.py data/coco/annotations/instances_train2017.json \
        --out data/coco/coco_train2017_odvg.jsonl --check --image-root data/coco/train2017
    python tools/dataset_converters/coco_to_odvg.py zhiyuan_objv2_train.json --file-names last_folder \
        --renames objects365_v2 --out data/objects365v2/o365v2_train_odvg.jsonl
"""

import argparse
import sys

from glipv2_mmdet.datasets.conversion import coco_class_names, coco_records
from glipv2_mmdet.datasets.conversion.command import add_options, run_conversion, scratch_folder
from glipv2_mmdet.datasets.detection_as_grounding import RENAMES


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', help='detection json')
    parser.add_argument(
        '--file-names',
        choices=['as_given', 'last_folder', 'coco_url'],
        default='as_given',
        help='last_folder: Objects365 v2; coco_url: LVIS (default: %(default)s)',
    )
    parser.add_argument('--renames', choices=sorted(RENAMES), help='correct the typing errors of this data set')
    add_options(parser)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    names = coco_class_names(args.annotations, RENAMES.get(args.renames))
    records = coco_records(args.annotations, args.file_names, scratch_folder(args))
    return run_conversion(args, records, [args.annotations], print, names, file_names=args.file_names)


if __name__ == '__main__':
    sys.exit(main())
