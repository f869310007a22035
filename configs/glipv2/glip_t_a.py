# GLIP-T (A): no early fusion, words meet the image only in the dot product. Objects365. After conversion:
#   bash tools/dist_test.sh configs/glipv2/glip_t_a.py glip_t_a.pth 8
_base_ = './glip_t_b.py'

model = dict(fusion=dict(early_fusion=False))
