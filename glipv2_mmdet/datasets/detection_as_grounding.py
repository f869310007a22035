"""mmdet's detection data sets (COCO, Objects365, LVIS, ...) as samples for ``BuildPrompt``.

mmdet's ``return_classes=True`` stores all class names in every record: 365 names in each of 600,000 records are
gigabytes. Here a record gets them when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.registry import DATASETS

from glipv2_mmdet.datasets.lazy import LazyDataset

#: Published spelling -> what is meant. mmdet's class lists follow the json, typing errors included.
OBJECTS365_V2_RENAMES = {
    'Moniter/TV': 'Monitor/TV',
    'Bakset': 'Basket',
    'Dinning Table': 'Dining Table',
    'Tea pot': 'Teapot',
    'Billards': 'Billiards',
    'Extention Cord': 'Extension Cord',
    'Hotair ballon': 'Hot air balloon',
    'Hamimelon': 'Hami melon',
    'Mushroon': 'Mushroom',
    'Tape Measur/ Ruler': 'Tape Measure/ Ruler',
    'Campel': 'Camel',
    'Meat ball': 'Meatball',
    'Buttefly': 'Butterfly',
    'Table Teniis paddle': 'Table Tennis paddle',
}
RENAMES = {'objects365_v2': OBJECTS365_V2_RENAMES}


@DATASETS.register_module()
class DetectionAsGrounding(LazyDataset):
    """A detection data set whose samples carry their class names as ``text``; boxes around crowds are left out.

    Names with a slash stay whole ('Cabinet/shelf'), as in GLIP. Images without boxes stay or go by the inner data
    set's ``filter_cfg``.

    Args:
        dataset: mmdet data set (config or object); its own pipeline is not used.
        pipeline: transforms.
        renames: better spellings by published name, or the name of a table: 'objects365_v2'.

    Raises:
        ValueError: no such table, a rename of a name the data set does not have, or two names equal afterwards.
    """

    def __init__(
        self, dataset: Any, pipeline: Sequence[Any] = (), renames: Mapping[str, str] | str | None = None
    ) -> None:
        inner = DATASETS.build({**dataset, 'pipeline': []}) if isinstance(dataset, Mapping) else dataset
        super().__init__(pipeline, inner.metainfo)
        self.dataset = inner
        self.names = _renamed(inner.metainfo['classes'], renames)

    def __len__(self) -> int:
        return len(self.dataset)

    def get_data_info(self, idx: int) -> dict:
        sample = self.dataset.get_data_info(idx)
        sample['instances'] = [instance for instance in sample['instances'] if not instance['ignore_flag']]
        sample['text'] = self.names
        sample['custom_entities'] = True
        return sample


def _renamed(names: Sequence[str], renames: Mapping[str, str] | str | None) -> tuple[str, ...]:
    if isinstance(renames, str):
        if renames not in RENAMES:
            raise ValueError(f"renames is '{renames}'; expected one of {sorted(RENAMES)} or a dict of names.")
        renames = RENAMES[renames]
    renames = renames or {}
    unknown = sorted(set(renames) - set(names))
    if unknown:
        raise ValueError(
            f'Renamed class {unknown[0]!r} is not among the {len(names)} classes of this data set. '
            'Spell it as its annotation file does.'
        )
    better = tuple(renames.get(name, name).strip() for name in names)
    if len({name.casefold() for name in better}) < len(names):
        twice = next(name for name in better if sum(name.casefold() == other.casefold() for other in better) > 1)
        raise ValueError(f'Two classes are called {twice!r} after renaming; expected different names.')
    return better
