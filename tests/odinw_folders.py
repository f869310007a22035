"""Small ODinW folders made of rendered scenes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path


def make_folders(root: Path, shapes_dir: Path) -> Path:
    """Packages in RoboFlow's own layout (dummy category 0) and dice in the flat layout, two pictures each."""
    content = json.loads((shapes_dir / 'annotations/val.json').read_text())
    pictures = content['images'][:2]
    ids = {picture['id'] for picture in pictures}

    def annotations(categories, category_of):
        boxes = [{**box, 'category_id': category_of(box)} for box in content['annotations'] if box['image_id'] in ids]
        return dict(images=pictures, annotations=boxes, categories=categories)

    roboflow = annotations(
        [dict(id=0, name='packages', supercategory='none'), dict(id=1, name='package', supercategory='packages')],
        lambda box: 1,
    )
    flat = annotations([dict(id=k, name=str(k)) for k in range(1, 7)], lambda box: box['category_id'] % 6 + 1)
    for folder, name, file in (
        ('Packages/Raw/test', '_annotations.coco.json', roboflow),
        ('dice/mediumColor/export', 'test_annotations_without_background.json', flat),
    ):
        (root / folder).mkdir(parents=True)
        (root / folder / name).write_text(json.dumps(file))
        for picture in pictures:
            shutil.copy(shapes_dir / 'images/val' / picture['file_name'], root / folder / picture['file_name'])
    return root
