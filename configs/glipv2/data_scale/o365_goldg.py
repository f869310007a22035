# Data scale-up (the paper's table 5), row 1 of 3: GLIPv2-B on Objects365 and GoldG, without captions:
#   bash tools/dist_train.sh configs/glipv2/data_scale/o365_goldg.py 8
# Steps of these rows are not published; B's are kept. Rows without L_inter: --cfg-options model.inter_loss=None
_base_ = '../glipv2_b_pretrain.py'

train_dataloader = dict(dataset=dict(dataset=dict(datasets=[_base_.sources.objects365_v1, *_base_.goldg])))
