# Questions about shapes at laptop scale, from the quickstart checkpoint; accuracy on new scenes per kind of question:
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_shapes_vqa.py 2
_base_ = [
    '../_base_/models/glipv2_nano.py', '../_base_/datasets/shapes_vqa.py', '../_base_/schedules/nano.py',
    '../_base_/runtime.py'
]

load_from = f'work_dirs/quickstart/iter_{_base_.max_iters}.pth'
model = dict(
    vqa_head=dict(type='VQAHead', text_channels=96, num_answers=len(_base_.answers), answers=_base_.answers),
    frozen_parts=('bbox_head', ))

default_hooks = dict(logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=_base_.max_iters))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
