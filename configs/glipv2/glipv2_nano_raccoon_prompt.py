# Tunes the prompt "raccoon" on real photos and leaves the quickstart checkpoint as it is:
#   bash tools/dist_train.sh configs/glipv2/glipv2_nano_raccoon_prompt.py 2
#   python tools/test.py configs/glipv2/glipv2_nano_raccoon.py work_dirs/quickstart/iter_2600.pth \
#       --cfg-options model.tuned_prompt=work_dirs/glipv2_nano_raccoon_prompt/best_prompt.safetensors
_base_ = [
    '../_base_/models/glipv2_nano.py',
    '../_base_/datasets/raccoon.py',
    '../_base_/schedules/prompt_tuning.py',
    '../_base_/runtime.py',
]

model = dict(
    prompt_tuning=dict(type='PromptTuning', classes=_base_.classes),
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/quickstart/iter_2600.pth'),
)

max_epochs = 8
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(logger=dict(interval=10))
