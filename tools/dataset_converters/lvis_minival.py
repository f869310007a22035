"""LVIS v1 minival: the 4,809 pictures of LVIS v1 val that are in COCO val2017, with their masks.

    python tools/dataset_converters/lvis_minival.py data/coco/annotations/lvis_v1_val.json

Writes lvis_v1_minival.json beside it; every picture gets a file_name such as val2017/000000000139.jpg.
"""

import argparse
import json
import sys
from pathlib import Path, PurePosixPath

from glipv2_mmdet.datasets.conversion.json_stream import iterate_array
from glipv2_mmdet.files import atomic_write

NUM_IMAGES = 4809
FOLDER = 'val2017'


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', type=Path, help='lvis_v1_val.json')
    parser.add_argument('--out', type=Path, help='default: lvis_v1_minival.json in the same folder')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    out = args.out or args.annotations.with_name('lvis_v1_minival.json')
    try:
        content = minival(args.annotations)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    with atomic_write(out) as file:
        file.write(json.dumps(content).encode())
    print(
        f'{out}: {len(content["images"])} images, {len(content["annotations"])} objects, '
        f'{len(content["categories"])} categories'
    )
    if len(content['images']) != NUM_IMAGES:
        print(
            f'Expected {NUM_IMAGES} images, as lvis_v1_val.json has of {FOLDER}. Figures on another file are not '
            'comparable.',
            file=sys.stderr,
        )
    return 0


def minival(annotations: Path) -> dict:
    """Images of COCO val2017, their objects, all categories."""
    images = []
    for image in iterate_array(annotations, 'images'):
        if 'coco_url' not in image:
            raise ValueError(
                f'{annotations}: image {image.get("id")} has no "coco_url". Expected lvis_v1_val.json as '
                'it was published.'
            )
        *_, folder, name = PurePosixPath(image['coco_url']).parts
        if folder == FOLDER:
            images.append({**image, 'file_name': f'{folder}/{name}'})
    kept = {image['id'] for image in images}
    objects = [row for row in iterate_array(annotations, 'annotations') if row['image_id'] in kept]
    return dict(images=images, annotations=objects, categories=list(iterate_array(annotations, 'categories')))


if __name__ == '__main__':
    sys.exit(main())
