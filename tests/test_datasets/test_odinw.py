"""ODinW: what the table says of the 35 data sets, and annotations as prompts need them."""

from __future__ import annotations

import pytest
from mmdet.registry import DATASETS as DATASET_REGISTRY

from glipv2_mmdet.datasets.odinw import DATASETS, ODinWSet, coco_settings, odinw_sets, prepared_annotations
from glipv2_mmdet.text import parse_prompt
from tests.odinw_folders import make_folders


def named(name):
    return next(dataset for dataset in DATASETS if dataset.name == name)


def test_the_benchmarks_have_13_and_35_data_sets():
    assert len(odinw_sets(35)) == len({dataset.name for dataset in DATASETS}) == 35
    assert len({dataset.folder for dataset in DATASETS}) == 35
    assert [dataset.folder.split('/')[0] for dataset in odinw_sets(13)] == [
        'AerialMaritimeDrone',
        'Aquarium',
        'CottontailRabbits',
        'EgoHands',
        'NorthAmericaMushrooms',
        'Packages',
        'PascalVOC',
        'pistols',
        'pothole',
        'Raccoon',
        'ShellfishOpenImages',
        'thermalDogsAndPeople',
        'VehiclesOpenImages',
    ]
    assert [dataset.name for dataset in DATASETS if dataset.split != 'test'] == ['PascalVOC']
    assert [dataset.name for dataset in DATASETS if dataset.is_flat] == [
        'boggleBoards',
        'dice',
        'pistols',
        'selfdrivingCar',
    ]
    with pytest.raises(ValueError, match='as 13 or as 35'):
        odinw_sets(14)


def test_files_of_both_layouts_are_found(tmp_path):
    assert named('pistols').annotations(tmp_path) is None
    for file in (
        'pistols/export/val_annotations_without_background.json',
        'Packages/Raw/valid/_annotations.coco.json',
        'Packages/Raw/test/annotations_without_background.json',
        'Packages/Raw/test/_annotations.coco.json',
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text('{}')
    assert named('pistols').annotations(tmp_path, 'valid').name == 'val_annotations_without_background.json'
    assert named('pistols').images(tmp_path, 'valid') == tmp_path / 'pistols/export'
    assert named('Packages').annotations(tmp_path, 'valid').name == '_annotations.coco.json'
    # the cleaned file is preferred
    assert named('Packages').annotations(tmp_path).name == 'annotations_without_background.json'
    assert named('Packages').images(tmp_path) == tmp_path / 'Packages/Raw/test'


def content(names, first_id=1, boxes=()):
    return dict(
        images=[],
        annotations=[dict(id=k, category_id=category) for k, category in enumerate(boxes)],
        categories=[dict(id=first_id + k, name=name) for k, name in enumerate(names)],
    )


def names_of(dataset, raw):
    return [category['name'] for category in prepared_annotations(dataset, raw)['categories']]


def test_the_background_goes_and_a_used_category_0_stays():
    plain = ODinWSet('x', 'x')
    assert names_of(plain, content(['raccoons', 'raccoon'], 0, [1, 1])) == ['raccoon']
    assert names_of(plain, content(['raccoons', 'raccoon'], 0, [0, 1])) == ['raccoons', 'raccoon']
    assert names_of(plain, content(['raccoon'])) == ['raccoon']


def test_names_are_replaced_by_category_id():
    assert names_of(named('CottontailRabbits'), content(['Cottontail-Rabbit'])) == ['rabbit']
    mushrooms = content(['mushroom', 'CoW', 'chanterelle'], 0, [1, 2])
    assert names_of(named('NorthAmericaMushrooms'), mushrooms) == ['flat mushroom', 'yellow mushroom']


def test_a_name_without_letters_goes_with_its_boxes():
    raw = content(['bishop', *(f'piece {k}' for k in range(12))], boxes=[1, 2, 13])
    prepared = prepared_annotations(named('ChessPieces'), raw)
    assert [category['id'] for category in prepared['categories']] == list(range(2, 14))
    assert prepared['categories'][0]['name'] == 'black bishop'
    assert [box['category_id'] for box in prepared['annotations']] == [2, 13]
    with pytest.raises(ValueError, match='x have no category with a name'):
        prepared_annotations(ODinWSet('x', 'x'), content([' ', '?']))


def test_names_that_a_prompt_cannot_tell_apart_are_numbered_and_read_as_they_are():
    names = names_of(named('boggleBoards'), content(['Q', 'o', 'o ', 'q', 't\\']))
    assert names == ['Q', 'o', 'o (2)', 'q (2)', 't\\']
    prompt = parse_prompt(names)
    assert prompt.text == 'Q. o. o. q. t\\' and prompt.names == tuple(names)


@pytest.mark.parametrize(
    ('name', 'classes', 'text', 'phrases'),
    [
        ('Packages', ['package'], 'there is a package on the porch', ['package']),
        ('pothole', ['pothole'], 'there are some holes on the road', ['holes']),
        ('EgoHands_generic', ['hand'], ' hand of a person', ['hand']),
        (
            'Aquarium',
            ['fish', 'penguin', 'puffin', 'stingray'],
            'fish. penguin , which is black and white. puffin with orange beaks . stingray which is flat and round',
            ['fish', 'penguin', 'puffin', 'stingray'],
        ),
        ('Raccoon', ['raccoon'], 'raccoon', ['raccoon']),
    ],
)
def test_prompts_are_glips_and_only_the_name_is_the_phrase(name, classes, text, phrases):
    words = {key: value for key, value in named(name).prompt.items() if key in classes}
    prompt = parse_prompt(classes, overrides=words or None)
    assert prompt.text == text
    assert [text[slice(*phrase.spans[0])] for phrase in prompt.phrases] == phrases


def test_settings_build_mmdets_dataset(tmp_path, shapes_dir):
    root = make_folders(tmp_path / 'odinw', shapes_dir)
    dataset = named('dice')
    built = DATASET_REGISTRY.build(dict(coco_settings(dataset, root, dataset.annotations(root)), pipeline=[]))
    assert len(built) == 2 and built.metainfo['classes'] == tuple('123456')
    item = built.get_data_info(0)
    assert item['text'] == tuple('123456') and item['custom_entities'] and item['caption_prompt'] is None
    assert (root / 'dice/mediumColor/export').samefile(item['img_path'].rsplit('/', 1)[0])
