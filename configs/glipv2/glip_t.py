# GLIP-T: GLIP-T (C) pre-trained on Cap4M too; same network, other weights. After "glipv2 download glip-t --out .":
#   bash tools/dist_test.sh configs/glipv2/glip_t.py glip_t-c24ce662.pth 8
_base_ = './glip_t_b.py'
