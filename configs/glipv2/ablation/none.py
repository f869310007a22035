# Ablation on "shapes", row 1 of 6: no pre-training. One step at rate zero writes the start values as a checkpoint, so
# that evaluation and fine-tuning take this row like the others.
#   bash tools/dist_train.sh configs/glipv2/ablation/none.py 2 --cfg-options randomness.seed=0
_base_ = './loc_intra.py'

train_cfg = dict(max_iters=1, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=0.0))
param_scheduler = []
default_hooks = dict(checkpoint=dict(interval=1))
