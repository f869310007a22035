# GLIPv2-B, second stage: the first stage's weights, without masked language modelling, on detection and gold grounding
# data only:
#   bash tools/dist_train.sh configs/glipv2/glipv2_b_pretrain_stage2.py 8
# 500,000 more steps are the paper's; it does not say the rates of this stage, those of the first are used.
_base_ = './glipv2_b_pretrain.py'

load_from = 'work_dirs/glipv2_b_pretrain/iter_1000000.pth'

# no word is hidden here, so the model sees prompts as inference will show them
model = dict(mlm_head=None)
train_dataloader = dict(dataset=dict(dataset=dict(datasets=[*_base_.detection, *_base_.goldg])))

max_iters = 500000
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=False, milestones=[335000, 445000], gamma=0.1),
    dict(
        type='MultiStepParamScheduler',
        param_name='weight_decay',
        by_epoch=False,
        milestones=[223445, 296815],
        gamma=0.1,
    ),
]
