"""Raw downloads to ODVG records: one file per layout, all streaming; tools/dataset_converters uses them."""

from glipv2_mmdet.datasets.conversion.check import CheckReport, check_odvg
from glipv2_mmdet.datasets.conversion.coco_layout import coco_class_names, coco_records
from glipv2_mmdet.datasets.conversion.imagenet_boxes import imagenet_class_names, imagenet_records
from glipv2_mmdet.datasets.conversion.json_stream import GroupedRows, iterate_array
from glipv2_mmdet.datasets.conversion.mdetr import mdetr_records
from glipv2_mmdet.datasets.conversion.odvg_writer import write_label_map, write_odvg
from glipv2_mmdet.datasets.conversion.open_images import open_images_class_names, open_images_records
from glipv2_mmdet.datasets.conversion.visual_genome import visual_genome_class_names, visual_genome_records
from glipv2_mmdet.datasets.conversion.vqa_grounding import join_labels, question_captions
from glipv2_mmdet.datasets.conversion.vqa_vocabulary import choose_answers, choose_images, count_answers

__all__ = [
    'CheckReport',
    'GroupedRows',
    'check_odvg',
    'choose_answers',
    'choose_images',
    'coco_class_names',
    'coco_records',
    'count_answers',
    'imagenet_class_names',
    'imagenet_records',
    'iterate_array',
    'join_labels',
    'mdetr_records',
    'open_images_class_names',
    'open_images_records',
    'question_captions',
    'visual_genome_class_names',
    'visual_genome_records',
    'write_label_map',
    'write_odvg',
]
