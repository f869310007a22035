# Data scale-up (the paper's table 5), row 2 of 3: GLIPv2-B on Objects365, GoldG and Cap4M:
#   bash tools/dist_train.sh configs/glipv2/data_scale/cap4m.py 8
_base_ = './o365_goldg.py'

train_dataloader = dict(
    dataset=dict(dataset=dict(datasets=[_base_.sources.objects365_v1, *_base_.goldg, _base_.sources.cap4m]))
)
