# "shapes" with the zero-shot split as validation: colour-shape pairs that training never drew or named.
# A base instead of shapes_pretrain.py, not beside it (mmengine refuses the same key from two bases).
_base_ = ['./shapes_pretrain.py']
zero_shot_classes = ('red star', 'green triangle', 'blue circle', 'yellow square', 'purple cross', 'white diamond')

val_dataloader = dict(
    dataset=dict(
        ann_file='annotations/zero_shot.json',
        data_prefix=dict(img='images/zero_shot/'),
        metainfo=dict(classes=zero_shot_classes),
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=_base_.data_root + 'annotations/zero_shot.json')
test_evaluator = val_evaluator
