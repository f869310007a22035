# GLIP-T (C): GLIP-T (B) pre-trained on Objects365 and GoldG; same network, other weights. After conversion:
#   bash tools/dist_test.sh configs/glipv2/glip_t_c.py glip_t_c.pth 8
_base_ = './glip_t_b.py'
