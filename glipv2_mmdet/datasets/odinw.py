"""ODinW, "object detection in the wild": 35 detection data sets, 13 of which the papers report.

What is known of each data set that its files do not say: where it lies, which split is reported, which of its names
are replaced, and the words that prompts put around them. Class names themselves come from the files.

Sources: GLIP (Li et al., 2022) and its public settings for folders, renamed classes and prompts; GLIPv2 (Zhang et
al., 2022), tables 1 and 2, for the 13 data sets and the split (test; valid for PascalVOC, which has no test).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLEANED, ROBOFLOW = 'annotations_without_background.json', '_annotations.coco.json'
BACKGROUND = 0  # RoboFlow's exports begin with a category of this id that no box has


@dataclass(frozen=True)
class ODinWSet:
    """One data set.

    Args:
        name: as the tables call it.
        folder: below the root of ODinW. A flat ``export/`` folder has its images and ``<split>_...json`` side by
            side; the others have a folder per split.
        in_13: one of the 13.
        split: what is reported.
        renamed: class names by category id that replace those of the file.
        prompt: words by class name, see :func:`glipv2_mmdet.text.prompt_from_classes`.
    """

    name: str
    folder: str
    in_13: bool = False
    split: str = 'test'
    renamed: Mapping[int, str] = field(default_factory=dict)
    prompt: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def is_flat(self) -> bool:
        """Whether all splits share one folder."""
        return self.folder.endswith('/export')

    def images(self, root: Path, split: str | None = None) -> Path:
        """Folder that the file names of a split are relative to."""
        return root / self.folder / ('' if self.is_flat else split or self.split)

    def annotations(self, root: Path, split: str | None = None) -> Path | None:
        """Annotation file of a split: the cleaned one, else RoboFlow's own; None when the data set is not there."""
        split = split or self.split
        # the flat folders say val where the others say valid
        prefix = f'{"val" if split == "valid" else split}_' if self.is_flat else ''
        files = (self.images(root, split) / f'{prefix}{name}' for name in (CLEANED, ROBOFLOW))
        return next((file for file in files if file.is_file()), None)


def prepared_annotations(dataset: ODinWSet, content: Mapping[str, Any]) -> dict[str, Any]:
    """Annotations with the categories that a prompt can ask for.

    RoboFlow's background goes, names are replaced, and names that are equal but for case ("Q", "q") or blanks ("o",
    "o ") get a number in parentheses, which prompts do not read. A category whose name has no letter or digit goes
    with its boxes: nothing can be asked for.

    Args:
        dataset: where renamed classes come from.
        content: COCO json as it is in the file.

    Raises:
        ValueError: no category is left.
    """
    used = {box['category_id'] for box in content['annotations']}
    categories, names = [], set()
    for category in sorted(content['categories'], key=lambda category: category['id']):
        name = dataset.renamed.get(category['id'], category['name']).strip()
        is_background = category['id'] == BACKGROUND and BACKGROUND not in used
        if is_background or not any(map(str.isalnum, name)):
            continue
        unique, number = name, 1
        while unique.casefold() in names:
            number += 1
            unique = f'{name} ({number})'
        names.add(unique.casefold())
        categories.append({**category, 'name': unique})
    if not categories:
        raise ValueError(
            f'The annotations of {dataset.name} have no category with a name. Expected COCO json with '
            f'"categories", as in {CLEANED}; download the data set again.'
        )
    kept = {category['id'] for category in categories}
    boxes = [box for box in content['annotations'] if box['category_id'] in kept]
    return {**content, 'categories': categories, 'annotations': boxes}


def coco_settings(dataset: ODinWSet, root: Path, ann_file: Path, split: str | None = None) -> dict[str, Any]:
    """Settings of mmdet's ``CocoDataset`` without its pipeline.

    Args:
        dataset: which one.
        root: of ODinW.
        ann_file: prepared annotations.
        split: of ``ann_file``; by default the reported one.
    """
    categories = json.loads(ann_file.read_text(encoding='utf-8'))['categories']
    names = tuple(category['name'] for category in categories)
    return dict(
        type='CocoDataset',
        data_root='',
        ann_file=str(ann_file),
        test_mode=True,
        data_prefix=dict(img=f'{dataset.images(root, split)}/'),
        metainfo=dict(classes=names),
        return_classes=True,
        caption_prompt=_words(dataset, names),
    )


def _words(dataset: ODinWSet, names: tuple[str, ...]) -> dict[str, dict[str, str]] | None:
    return {name: dict(words) for name, words in dataset.prompt.items() if name in names} or None


DATASETS: tuple[ODinWSet, ...] = (
    ODinWSet('AerialMaritimeDrone_large', 'AerialMaritimeDrone/large', in_13=True),
    ODinWSet('AerialMaritimeDrone_tiled', 'AerialMaritimeDrone/tiled'),
    ODinWSet('AmericanSignLanguageLetters', 'AmericanSignLanguageLetters/American Sign Language Letters.v1-v1.coco'),
    ODinWSet(
        'Aquarium',
        'Aquarium/Aquarium Combined.v2-raw-1024.coco',
        in_13=True,
        prompt={
            'penguin': dict(suffix=' , which is black and white'),
            'puffin': dict(suffix=' with orange beaks '),
            'stingray': dict(suffix=' which is flat and round'),
        },
    ),
    ODinWSet('BCCD', 'BCCD/BCCD.v3-raw.coco'),
    ODinWSet('boggleBoards', 'boggleBoards/416x416AutoOrient/export'),
    ODinWSet('brackishUnderwater', 'brackishUnderwater/960x540'),
    # GLIP's first name is two blanks
    ODinWSet(
        'ChessPieces',
        'ChessPieces/Chess Pieces.v23-raw.coco',
        renamed={
            1: '  ',
            2: 'black bishop',
            3: 'black king',
            4: 'black knight',
            5: 'black pawn',
            6: 'black queen',
            7: 'black rook',
            8: 'white bishop',
            9: 'white king',
            10: 'white knight',
            11: 'white pawn',
            12: 'white queen',
            13: 'white rook',
        },
    ),
    ODinWSet('CottontailRabbits', 'CottontailRabbits', in_13=True, renamed={1: 'rabbit'}),
    ODinWSet('dice', 'dice/mediumColor/export'),
    ODinWSet('DroneControl', 'DroneControl/Drone Control.v3-raw.coco'),
    ODinWSet(
        'EgoHands_generic', 'EgoHands/generic', in_13=True, prompt={'hand': dict(prefix=' ', suffix=' of a person')}
    ),
    ODinWSet('EgoHands_specific', 'EgoHands/specific'),
    ODinWSet('HardHatWorkers', 'HardHatWorkers/raw'),
    ODinWSet('MaskWearing', 'MaskWearing/raw'),
    ODinWSet('MountainDewCommercial', 'MountainDewCommercial'),
    ODinWSet(
        'NorthAmericaMushrooms',
        'NorthAmericaMushrooms/North American Mushrooms.v1-416x416.coco',
        in_13=True,
        renamed={1: 'flat mushroom', 2: 'yellow mushroom'},
    ),
    ODinWSet('openPoetryVision', 'openPoetryVision/512x512'),
    ODinWSet('OxfordPets_by_breed', 'OxfordPets/by-breed'),
    ODinWSet('OxfordPets_by_species', 'OxfordPets/by-species'),
    ODinWSet('PKLot', 'PKLot/640'),
    ODinWSet(
        'Packages', 'Packages/Raw', in_13=True, prompt={'package': dict(prefix='there is a ', suffix=' on the porch')}
    ),
    ODinWSet('PascalVOC', 'PascalVOC', in_13=True, split='valid'),
    ODinWSet('pistols', 'pistols/export', in_13=True),
    ODinWSet('plantdoc', 'plantdoc/416x416'),
    ODinWSet(
        'pothole',
        'pothole',
        in_13=True,
        prompt={'pothole': dict(prefix='there are some ', name='holes', suffix=' on the road')},
    ),
    ODinWSet('Raccoon', 'Raccoon/Raccoon.v2-raw.coco', in_13=True),
    ODinWSet('selfdrivingCar', 'selfdrivingCar/fixedLarge/export'),
    ODinWSet('ShellfishOpenImages', 'ShellfishOpenImages/raw', in_13=True),
    ODinWSet('ThermalCheetah', 'ThermalCheetah'),
    ODinWSet('thermalDogsAndPeople', 'thermalDogsAndPeople', in_13=True),
    ODinWSet('UnoCards', 'UnoCards/raw'),
    ODinWSet('VehiclesOpenImages', 'VehiclesOpenImages/416x416', in_13=True),
    ODinWSet('WildfireSmoke', 'WildfireSmoke'),
    ODinWSet('websiteScreenshots', 'websiteScreenshots'),
)


def odinw_sets(number: int) -> tuple[ODinWSet, ...]:
    """The 13 or the 35 data sets.

    Raises:
        ValueError: another number.
    """
    if number not in (13, 35):
        raise ValueError(f'ODinW comes as 13 or as 35 data sets, not as {number}.')
    return tuple(dataset for dataset in DATASETS if dataset.in_13 or number == 35)
