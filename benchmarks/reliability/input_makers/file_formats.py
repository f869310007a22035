"""A right file of every format the package reads, and what reads it; a result is looked at as training would."""

from __future__ import annotations

import base64
import io
import json
import math
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.reliability.input_makers.annotations import check_sample
from benchmarks.reliability.input_makers.verdict import InvalidResult
from benchmarks.word_vocabulary import write_vocabulary
from glipv2_mmdet.datasets import (
    CocoCaption,
    Flickr30kEntities,
    GroundedODVGDataset,
    IndexedODVGDataset,
    MDETRGroundingDataset,
    PhraseCutDataset,
    ReferringDataset,
    TSVPairs,
    VQADataset,
    WebDatasetPairs,
)
from glipv2_mmdet.datasets.conversion import coco_class_names, coco_records, visual_genome_records
from glipv2_mmdet.datasets.own_data import prepare_own_data
from glipv2_mmdet.evaluation import GroundedLVISMetric
from glipv2_mmdet.models import TunedPrompt
from glipv2_mmdet.text import PromptTokenizer, prompt_from_caption, read_answers

CAPTION = 'a cat and a dog'
LINE_FORMATS_READ = 3


class Lines(list):
    """Records of a file with one json per line."""


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: for the table.
        files: by name; bytes, :class:`Lines`, or a json value.
        load: reads them from a folder, and looks at what comes out.
        subject: the function or class whose docstring says what may be raised.
    """

    name: str
    files: Mapping[str, Any]
    load: Callable[[Path], object]
    subject: object

    @property
    def also_named(self) -> tuple[str, ...]:
        """An error about two files that do not fit may name either."""
        return tuple(Path(file).name for file in self.files)


def encoded(content: Any) -> bytes:
    """Bytes as they are, records one per line, everything else as one json."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, Lines):
        return b''.join(json.dumps(record).encode() + b'\n' for record in content)
    return json.dumps(content).encode()


def _samples(dataset: Any) -> None:
    for index in range(min(len(dataset), LINE_FORMATS_READ)):
        check_sample(dataset.get_data_info(index))


def _image_bytes() -> bytes:
    buffer = io.BytesIO()
    Image.new('RGB', (60, 40), (200, 30, 30)).save(buffer, format='JPEG')
    return buffer.getvalue()


IMAGE = _image_bytes()
LABEL_MAP = {'0': 'cat', '1': 'dog'}
ODVG = Lines(
    [
        dict(
            filename='a.jpg',
            height=40,
            width=60,
            detection=dict(
                instances=[
                    dict(bbox=[1, 2, 30, 20], label=0, mask=[[1, 2, 30, 2, 30, 20]]),
                    dict(bbox=[5, 5, 9, 9], label=1),
                ]
            ),
        ),
        dict(
            filename='b.jpg',
            height=40,
            width=60,
            grounding=dict(
                caption=CAPTION,
                regions=[
                    dict(bbox=[1, 2, 30, 20], tokens_positive=[[0, 5]]),
                    dict(bbox=[[1, 2, 30, 20], [5, 5, 9, 9]], phrase='a dog'),
                ],
            ),
        ),
    ]
)
GROUNDED = Lines([ODVG[1], dict(ODVG[1], filename='c.jpg')])


def _odvg(folder: Path) -> None:
    _samples(
        GroundedODVGDataset(
            ann_file=str(folder / 'train.jsonl'), label_map_file=str(folder / 'label_map.json'), pipeline=[]
        )
    )


def _indexed(folder: Path) -> None:
    dataset = IndexedODVGDataset(str(folder / 'pairs.jsonl'))
    _samples(dataset)
    dataset.get_caption(0)


MDETR = dict(
    images=[dict(id=1, file_name='a.jpg', height=40, width='60', caption=CAPTION, data_source='coco')],
    annotations=[dict(id=7, image_id=1, bbox=[1, 2, 20, 10], tokens_positive=[[0, 5]], iscrowd=0, category_id=1)],
    categories=[],
)
ENTITIES = dict(
    images=[
        dict(
            id=1,
            file_name='12.jpg',
            height='40',
            width='60',
            caption=CAPTION,
            sentence_id=0,
            tokens_positive_eval=[[[0, 5]], [[10, 15]]],
        )
    ],
    annotations=[
        dict(image_id=1, bbox=[1, 2, 20, 10], tokens_positive=[[0, 5]]),
        dict(image_id=1, bbox=[1, 2, 20, 10], tokens_positive=[[10, 15]]),
    ],
)
SENTENCES = b'[/EN#1/animals a cat] and [/EN#2/animals a dog]\n'
REFERRING = Lines(
    [
        dict(
            phrase_id=1,
            image_id=2,
            filename='a.jpg',
            height=40,
            width=60,
            phrase='the cat',
            boxes=[[1, 2, 30, 20]],
            masks=[[[1, 2, 30, 2, 30, 20]]],
        )
    ]
)
REFER = [
    dict(
        task_id='1__2',
        image_id=5,
        phrase='the cat',
        instance_boxes=[[1, 2, 20, 10]],
        Polygons=[[[[1, 2], [20, 2], [20, 10]]]],
    )
]
REFER_SIZES = [dict(image_id=5, height=40, width=60)]
QUESTIONS = dict(
    questions=[
        dict(question_id=1, image_id=5, question='is the cat wet?'),
        dict(question_id=2, image_id=5, question='how many?'),
    ]
)
ANSWERS = dict(
    annotations=[
        dict(
            question_id=number,
            image_id=5,
            question_type='is',
            answer_type='yes/no',
            multiple_choice_answer='yes',
            answers=[dict(answer='yes', answer_id=k) for k in range(3)],
        )
        for number in (1, 2)
    ]
)
VQA_IMAGES = dict(images=[dict(id=5, file_name='5.jpg')])
VQA_GROUNDING = Lines(
    [
        dict(
            question_id=1,
            text='is the cat wet?',
            caption='is the cat wet? yes',
            tokens_positive=[[[3, 10]]],
            bboxes=[[1, 2, 30, 20]],
            scores=[0.5],
        )
    ]
)
KARPATHY = dict(
    images=[
        dict(
            filepath='val2014',
            filename='a_1.jpg',
            cocoid=1,
            split='train',
            sentences=[dict(raw='A cat.'), dict(raw='A dog.')],
        )
    ]
)
BLIP = [dict(image='val2014/a_1.jpg', caption=['a cat', 'a dog']), dict(image='b_2.jpg', caption='a cat')]
COCO_CAPTIONS = dict(
    images=[dict(id=1, file_name='a.jpg', height=40, width=60)], annotations=[dict(id=3, image_id=1, caption='a cat')]
)
COCO = dict(
    images=[dict(id=k, file_name=f'{k}.jpg', height=40, width=60) for k in (1, 2)],
    annotations=[dict(id=k, image_id=k, category_id=1, bbox=[1, 2, 20, 10], iscrowd=0) for k in (1, 2)],
    categories=[dict(id=1, name='cat', supercategory='animal'), dict(id=2, name='dog', supercategory='animal')],
)
LVIS = dict(
    images=[
        dict(
            id=1,
            height=40,
            width=60,
            coco_url='http://images/train2017/1.jpg',
            neg_category_ids=[2],
            not_exhaustive_category_ids=[],
        )
    ],
    annotations=[
        dict(id=1, image_id=1, category_id=1, bbox=[1, 2, 20, 10], area=200, segmentation=[[1, 2, 20, 2, 20, 10]])
    ],
    categories=[dict(id=1, name='cat', frequency='f'), dict(id=2, name='dog', frequency='r')],
)
VG_OBJECTS = [dict(image_id=1, objects=[dict(x=1, y=2, w=20, h=10, names=['cat'])])]
VG_IMAGES = [dict(image_id=1, url='https://x/VG_100K_2/1.jpg', height=40, width=60)]
TSV_LABEL = dict(caption=CAPTION, tokens_positive=[[[0, 5]]], bboxes=[[1, 2, 30, 20]], scores=[0.9], img_h=40, img_w=60)


def _mdetr(folder: Path) -> None:
    _samples(MDETRGroundingDataset(ann_file=str(folder / 'mixed.json'), pipeline=[], image_folders={'coco': 'coco'}))


def _entities(folder: Path) -> None:
    dataset = Flickr30kEntities(
        ann_file=str(folder / 'separateGT.json'),
        sentences_folder=str(folder / 'Sentences'),
        pipeline=[],
        test_mode=True,
    )
    _samples(dataset)


def _referring(folder: Path) -> None:
    _samples(ReferringDataset(ann_file=str(folder / 'referring.jsonl'), pipeline=[]))


def _phrasecut(folder: Path) -> None:
    _samples(
        PhraseCutDataset(
            ann_file=str(folder / 'refer_val.json'), pipeline=[], image_info_file=str(folder / 'image_data_split.json')
        )
    )


def _vqa(folder: Path) -> None:
    dataset = VQADataset(
        ann_file=str(folder / 'annotations.json'),
        question_file=str(folder / 'questions.json'),
        pipeline=[],
        image_info_file=str(folder / 'images.json'),
        answers=['yes', 'no'],
        only_images=str(folder / 'development.json'),
        grounding_file=str(folder / 'grounding.jsonl'),
    )
    _questions(dataset)


def _vqa_template(folder: Path) -> None:
    _questions(
        VQADataset(
            ann_file='',
            question_file=str(folder / 'questions.json'),
            pipeline=[],
            image_template='COCO_train2014_{image_id:012d}.jpg',
        )
    )


def _questions(dataset: VQADataset) -> None:
    for index in range(len(dataset)):
        sample = dataset.get_data_info(index)
        scores = sample.get('answer_scores', np.zeros(1))
        if (
            not isinstance(sample['text'], str)
            or not np.isfinite(scores).all()
            or not isinstance(sample['img_path'], str)
        ):
            raise InvalidResult(f'sample {sample}')
        for instance in sample['instances']:
            if not all(map(math.isfinite, instance['bbox'])):
                raise InvalidResult(f'box {instance["bbox"]}')


def _captions(name: str, test_mode: bool) -> Callable[[Path], None]:
    def load(folder: Path) -> None:
        dataset = CocoCaption(ann_file=str(folder / name), splits=('train',), pipeline=[], test_mode=test_mode)
        for index in range(min(len(dataset), LINE_FORMATS_READ)):
            sample = dataset.get_data_info(index)
            if not isinstance(sample['img_path'], str) or not isinstance(sample['img_id'], (int, str)):
                raise InvalidResult(f'sample {sample}')
            if not test_mode:
                prompt_from_caption(sample['text'], [])

    return load


def _own(folder: Path) -> None:
    ready = prepare_own_data(folder / 'data', folder / 'out')
    for file in ready.ann_files.values():
        content = json.loads(file.read_text(), parse_constant=_no_constant)
        sizes = {image['id']: (image['width'], image['height']) for image in content['images']}
        for box in content['annotations']:
            x, y, width, height = box['bbox']
            size = sizes[box['image_id']]
            if not (
                x >= 0 and y >= 0 and width >= 1 and height >= 1 and x + width <= size[0] and y + height <= size[1]
            ):
                raise InvalidResult(f'box {box["bbox"]} in {size}')


def _no_constant(text: str) -> None:
    raise InvalidResult(f'{text} in the written file')


def _yolo() -> dict[str, bytes]:
    files = {'data/data.yaml': b'train: train/images\nval: valid/images\nnames: [cat, dog]\n'}
    for split in ('train', 'valid'):
        files |= {
            f'data/{split}/images/{split}1.jpg': IMAGE,
            f'data/{split}/labels/{split}1.txt': b'0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.3 0.1 0.3 0.3\n',
        }
    return files


def _voc() -> dict[str, bytes]:
    files = {'data/ImageSets/Main/train.txt': b'a\nb\n', 'data/ImageSets/Main/val.txt': b'c\n'}
    for name in 'abc':
        files[f'data/JPEGImages/{name}.jpg'] = IMAGE
        files[f'data/Annotations/{name}.xml'] = (
            f'<annotation><filename>{name}.jpg</filename><size><width>60</width><height>40</height></size><object><name>cat'
            '</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object></annotation>'
        ).encode()
    return files


def _tsv() -> dict[str, bytes]:
    label = json.dumps([TSV_LABEL]).encode()
    image = base64.b64encode(IMAGE)
    return {
        'pairs.yaml': b'img: image.tsv\nlabel: label.tsv\nlinelist: rows.txt\n',
        'rows.txt': b'1\n0\n',
        'label.tsv': b'7\t' + label + b'\n8\t' + label + b'\n',
        'image.tsv': b'7\t' + image + b'\n8\t' + image + b'\n',
    }


def _read_tsv(folder: Path) -> None:
    dataset = TSVPairs(yaml_file=str(folder / 'pairs.yaml'))
    for index in range(min(len(dataset), LINE_FORMATS_READ)):
        sample = dataset.load(index)
        check_sample(sample)
        if not isinstance(sample['img_bytes'], bytes):
            raise InvalidResult('no bytes')


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as tar:
        for key in ('1', '2'):
            for name, content in ((f'{key}.jpg', IMAGE), (f'{key}.json', json.dumps(GROUNDED[0]).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _read_tar(folder: Path) -> None:
    dataset = WebDatasetPairs(str(folder / 'shard.tar'), num_samples=4, shuffle_buffer=1, seed=0)
    for index in range(4):
        check_sample(dataset.get_data_info(index))


def _tuned_prompt() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / 'prompt.safetensors'
        TunedPrompt(
            residuals=(torch.zeros(4, 8),),
            token_ids=((101, 4937, 3899, 102),),
            names=('cat', 'dog'),
            overrides={},
            chunked_size=-1,
            fingerprint='0' * 16,
            base='x.pth',
        ).save(path)
        return path.read_bytes()


def _clip() -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        write_vocabulary(Path(folder), ['cat', 'dog', 'a'])
        return {f'clip/{name}': (Path(folder) / name).read_bytes() for name in ('merges.txt', 'vocab.json')}


def _tokenize(name: str) -> Callable[[Path], None]:
    def load(folder: Path) -> None:
        tokenizer = PromptTokenizer(folder / name, max_tokens=16)
        found = tokenizer(prompt_from_caption(CAPTION, [[[0, 5]]]))
        if not 0 < len(found.input_ids) <= 16 or max(found.input_ids) >= tokenizer.vocab_size:
            raise InvalidResult(f'tokens {found.input_ids} of {tokenizer.vocab_size}')

    return load


def _lvis(folder: Path) -> None:
    metric = GroundedLVISMetric(str(folder / 'lvis_val.json'))
    if not metric.category_ids:
        raise InvalidResult('no categories')


def _coco(folder: Path) -> None:
    names = coco_class_names(folder / 'instances.json')
    for record in coco_records(folder / 'instances.json'):
        if not all(0 <= instance['label'] < len(names) for instance in record['detection']['instances']):
            raise InvalidResult(f'record {record}')


BERT_VOCABULARY = (
    '\n'.join(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', 'cat', 'and', 'dog', '##s']).encode() + b'\n'
)
FORMATS = (
    Format('ODVG', {'train.jsonl': ODVG, 'label_map.json': LABEL_MAP}, _odvg, GroundedODVGDataset),
    Format('ODVG, indexed', {'pairs.jsonl': GROUNDED}, _indexed, IndexedODVGDataset),
    Format('MDETR', {'mixed.json': MDETR}, _mdetr, MDETRGroundingDataset),
    Format(
        'Flickr30k Entities', {'separateGT.json': ENTITIES, 'Sentences/12.txt': SENTENCES}, _entities, Flickr30kEntities
    ),
    Format('referring', {'referring.jsonl': REFERRING}, _referring, ReferringDataset),
    Format('PhraseCut', {'refer_val.json': REFER, 'image_data_split.json': REFER_SIZES}, _phrasecut, PhraseCutDataset),
    Format(
        'VQA v2',
        {
            'questions.json': QUESTIONS,
            'annotations.json': ANSWERS,
            'images.json': VQA_IMAGES,
            'development.json': [5],
            'grounding.jsonl': VQA_GROUNDING,
        },
        _vqa,
        VQADataset,
    ),
    Format('VQA v2, questions', {'questions.json': QUESTIONS}, _vqa_template, VQADataset),
    Format('Karpathy captions', {'dataset_coco.json': KARPATHY}, _captions('dataset_coco.json', False), CocoCaption),
    Format('BLIP captions', {'captions.json': BLIP}, _captions('captions.json', False), CocoCaption),
    Format('COCO captions', {'captions_val.json': COCO_CAPTIONS}, _captions('captions_val.json', True), CocoCaption),
    Format(
        'own data, COCO',
        {'data/train/_annotations.coco.json': COCO, 'data/train/1.jpg': IMAGE, 'data/train/2.jpg': IMAGE},
        _own,
        prepare_own_data,
    ),
    Format('own data, YOLO', _yolo(), _own, prepare_own_data),
    Format('own data, VOC', _voc(), _own, prepare_own_data),
    Format('COCO', {'instances.json': COCO}, _coco, coco_records),
    Format('LVIS', {'lvis_val.json': LVIS}, _lvis, GroundedLVISMetric),
    Format(
        'Visual Genome',
        {'objects.json': VG_OBJECTS, 'image_data.json': VG_IMAGES},
        lambda folder: list(visual_genome_records(folder / 'objects.json', folder / 'image_data.json', ('cat',))),
        visual_genome_records,
    ),
    Format('GLIP tsv', _tsv(), _read_tsv, TSVPairs),
    Format('WebDataset', {'shard.tar': _tar()}, _read_tar, WebDatasetPairs),
    Format(
        'tuned prompt',
        {'prompt.safetensors': _tuned_prompt()},
        lambda folder: TunedPrompt.load(folder / 'prompt.safetensors'),
        TunedPrompt.load,
    ),
    Format(
        'answer vocabulary',
        {'answers.json': ['yes', 'no', '2']},
        lambda folder: read_answers(folder / 'answers.json'),
        read_answers,
    ),
    Format('BERT vocabulary', {'vocab.txt': BERT_VOCABULARY}, _tokenize('vocab.txt'), PromptTokenizer),
    Format('CLIP vocabulary', _clip(), _tokenize('clip'), PromptTokenizer),
)
