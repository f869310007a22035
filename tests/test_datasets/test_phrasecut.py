"""PhraseCutDataset on records in the layout of the download."""

from __future__ import annotations

import json

import pytest

from glipv2_mmdet.datasets import PhraseCutDataset
from glipv2_mmdet.datasets.referring import ReferringError

TASK = {
    'task_id': '2372979__12_45',
    'image_id': 2372979,
    'ann_ids': [12, 45],
    'phrase': 'wooden chair',
    'instance_boxes': [[10, 20, 60, 90], [200, 22, 55, 88]],
    'Polygons': [
        [[[10, 20], [70, 20], [68, 110]]],
        [[[200, 22], [255, 24], [250, 110]], [[230, 5], [240, 5], [235, 15]]],
    ],
    'phrase_structure': {'name': 'chair', 'attributes': ['wooden'], 'type': 'attribute'},
}
IMAGES = [{'image_id': 2372979, 'height': 375, 'width': 500, 'split': 'val'}]


def read(folder, tasks, images=IMAGES) -> PhraseCutDataset:
    for name, content in (('refer_val.json', tasks), ('image_data_split.json', images)):
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return PhraseCutDataset(
        data_root=str(folder),
        ann_file='refer_val.json',
        image_info_file='image_data_split.json',
        data_prefix=dict(img='images'),
        pipeline=[],
        test_mode=True,
    )


def test_a_task_is_one_phrase_with_all_its_objects_and_all_their_polygons(tmp_path):
    data = read(tmp_path, [TASK])
    sample = data.get_data_info(0)
    assert len(data) == 1
    assert (sample['task_id'], sample['img_id'], sample['height'], sample['width']) == (
        '2372979__12_45',
        2372979,
        375,
        500,
    )
    assert sample['img_path'] == str(tmp_path / 'images' / '2372979.jpg')
    assert sample['text'] == 'wooden chair' and sample['tokens_positive'] == [[[0, 12]]]
    assert [instance['bbox'] for instance in sample['instances']] == [[10, 20, 70, 110], [200, 22, 255, 110]]
    assert sample['instances'][1]['mask'] == [[200, 22, 255, 24, 250, 110], [230, 5, 240, 5, 235, 15]]


def test_objects_without_area_stay_because_the_metric_counts_them(tmp_path):
    flat = TASK | {'instance_boxes': [[10, 20, 0, 0]], 'Polygons': [[[[10, 20], [10, 20], [10, 20]]]]}
    assert len(read(tmp_path, [flat]).get_data_info(0)['instances']) == 1


@pytest.mark.parametrize(
    ('tasks', 'images', 'message'),
    [
        ([TASK, {'task_id': 1}], IMAGES, r'refer_val.json, record 1: no "image_id"'),
        (
            [TASK],
            [{'image_id': 5, 'height': 1, 'width': 1}],
            r'\(task 2372979__12_45\): picture 2372979 is not in "image_',
        ),
        ([TASK], [{'image_id': 5}], r'image_data_split.json, record 0: no "height"'),
        ([TASK | {'instance_boxes': [[1, 2, 3, 4]]}], IMAGES, r'record 0 \(task .*\): 1 boxes but 2 masks'),
        ([TASK | {'phrase': ''}], IMAGES, r"record 0 \(task .*\): phrase ''; expected a text"),
        ({'images': []}, IMAGES, r'refer_val.json: expected a list of records'),
        ('[{"task_id', IMAGES, r'refer_val.json: not json .* fetch the file again'),
    ],
)
def test_a_broken_download_is_named(tmp_path, tasks, images, message):
    with pytest.raises(ReferringError, match=message):
        read(tmp_path, tasks, images)
