# Tunes the prompt of one ODinW set (Raccoon), all images or few shots (GLIP: 1, 3, 5, 10 with seeds 3, 30, 300):
#   bash tools/dist_train.sh configs/glipv2/glipv2_t_prompt_odinw.py 1 --cfg-options \
#       model.init_cfg.checkpoint=CHECKPOINT train_dataloader.dataset.shots=3 train_dataloader.dataset.seed=30
# Few shots have a patience of 3 and 8: param_scheduler.0.patience=3 custom_hooks.1.patience=8. Another set is a config
# with this one as _base_ that replaces data_root and metainfo of the three data sets, ann_file of the two metrics and
# classes below; tools/finetune.py reads all of that from the folder.
_base_ = [
    '../_base_/models/glipv2_t.py',
    '../_base_/datasets/odinw_raccoon.py',
    '../_base_/schedules/prompt_tuning.py',
    '../_base_/runtime.py',
]

model = dict(
    # words that stand for a class go here, as overrides={'package': {'prefix': 'there is a '}}
    prompt_tuning=dict(type='PromptTuning', classes=('raccoon',)),
    init_cfg=dict(type='Pretrained', checkpoint='checkpoints/glipv2_t.pth'),
)
