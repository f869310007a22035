"""mmdet's own GLIP and Grounding DINO with the installed transformers: the parts by numbers, the models as a whole."""

from __future__ import annotations

from pathlib import Path

import mmdet
import pytest
import torch
import transformers
from mmdet.models.language_models import BertModel
from mmdet.models.utils import BertEncoderLayer
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from transformers.models.bert.modeling_bert import BertLayer

CONFIGS = Path(mmdet.__file__).parent / '.mim/configs'
WORDS = '[PAD] [UNK] [CLS] [SEP] [MASK] . ? cat dog bus traffic light a red car two dogs on bench'.split()
#: mmdet's fusion is made for 768 numbers per word.
SIZES = dict(hidden_size=768, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, vocab_size=len(WORDS))


@pytest.fixture(scope='module')
def bert_folder(tmp_path_factory) -> str:
    """A small BERT, as ``from_pretrained`` reads it."""
    folder = tmp_path_factory.mktemp('bert')
    (folder / 'words.txt').write_text('\n'.join(WORDS))
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    transformers.BertModel(config).save_pretrained(folder)
    transformers.BertTokenizerFast(str(folder / 'words.txt')).save_pretrained(folder)
    return str(folder)


def test_the_layer_of_the_fusion_head_is_a_layer_of_bert_that_reads_real_words_only(bert_folder):
    config = transformers.BertConfig.from_pretrained(bert_folder, attn_implementation='eager')
    torch.manual_seed(0)
    theirs = BertLayer(config).eval()
    ours = BertEncoderLayer(config, clamp_min_for_underflow=True, clamp_max_for_overflow=True).eval()
    ours.load_state_dict(theirs.state_dict())
    hidden = torch.randn(2, 5, 768)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    out = ours(dict(visual=None, lang=dict(hidden=hidden, masks=mask)))['lang']['hidden']
    torch.testing.assert_close(out[:1], theirs(hidden[:1]))
    torch.testing.assert_close(out[1:, :3], theirs(hidden[1:, :3]))


def test_words_of_one_class_do_not_read_those_of_another(bert_folder):
    encoder = BertModel(
        name=bert_folder,
        max_tokens=16,
        pad_to_max=False,
        use_sub_sentence_represent=True,
        special_tokens_list=['[CLS]', '[SEP]', '.', '?'],
    ).eval()
    first, second = encoder(['cat . traffic light .']), encoder(['cat . dog . bus .'])
    assert first['masks'].shape == (1, 7, 7) and first['embedded'].shape == (1, 7, 768)
    torch.testing.assert_close(first['embedded'][:, 1:3], second['embedded'][:, 1:3])
    # "traffic" and "light" are read together, by their own positions
    alone = encoder(['traffic light .'])
    torch.testing.assert_close(first['embedded'][:, 3:6], alone['embedded'][:, 1:4])
    assert not torch.allclose(first['embedded'][:, 3], encoder(['traffic .'])['embedded'][:, 1])


def test_padded_captions_give_what_they_give_alone(bert_folder):
    encoder = BertModel(name=bert_folder, max_tokens=12).eval()
    both, one = encoder(['a red car', 'two dogs on a bench']), encoder(['a red car'])
    assert both['embedded'].shape == (2, 12, 768) and both['masks'].sum(1).tolist() == [5, 7]
    torch.testing.assert_close(both['embedded'][:1], one['embedded'])
    assert not both['embedded'][0, 5:].any()


def glip(bert_folder):
    """mmdet's GLIP-T by its own config, narrowed."""
    cfg = Config.fromfile(CONFIGS / 'glip/glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco.py').model
    cfg.backbone.update(embed_dims=24, depths=[1, 1, 1, 1], init_cfg=None, drop_path_rate=0.0)
    cfg.neck.update(in_channels=[48, 96, 192])
    cfg.bbox_head.update(lang_model_name=bert_folder, num_dyhead_blocks=1)
    cfg.bbox_head.update(early_fuse=True, use_checkpoint=False)
    cfg.language_model.name = bert_folder
    return cfg


def grounding_dino(bert_folder):
    """mmdet's Grounding DINO by its own config, narrowed."""
    cfg = Config.fromfile(CONFIGS / 'grounding_dino/grounding_dino_swin-t_finetune_16xb2_1x_coco.py').model
    cfg.backbone.update(embed_dims=24, depths=[1, 1, 1, 1], init_cfg=None, drop_path_rate=0.0)
    cfg.neck.update(in_channels=[48, 96, 192])
    cfg.language_model.name = bert_folder
    cfg.update(num_queries=20, test_cfg=dict(max_per_img=10))
    for part, layers in (('encoder', 1), ('decoder', 1)):
        cfg[part].num_layers = layers
    cfg.encoder.num_cp = 0
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('make', [glip, grounding_dino])
def test_mmdets_model_is_built_trains_a_step_and_finds_boxes(make, bert_folder):
    torch.manual_seed(0)
    model = MODELS.build(make(bert_folder))
    model.init_weights()  # some parameters of mmdet's are memory as it was found until then
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(64, 96),
            batch_input_shape=(64, 96),
            ori_shape=(64, 96),
            pad_shape=(64, 96),
            scale_factor=(1.0, 1.0),
            text='cat. traffic light.',
            custom_entities=True,
        ),
        gt_instances=InstanceData(
            bboxes=torch.tensor([[10.0, 10.0, 50.0, 50.0], [40.0, 5.0, 90.0, 60.0]]), labels=torch.tensor([0, 1])
        ),
    )
    image = torch.randn(1, 3, 64, 96)
    losses = model.loss(image, [sample])
    total = sum(value if torch.is_tensor(value) else sum(value) for name, value in losses.items() if 'loss' in name)
    total.backward()
    assert torch.isfinite(total)
    words = model.language_model.language_backbone.body.model.embeddings.word_embeddings.weight
    assert words.grad is not None and words.grad.abs().sum() > 0
    model.eval()
    with torch.no_grad():
        (found,) = model.predict(image, [sample])
    boxes = found.pred_instances
    assert boxes.bboxes.shape[1] == 4 and torch.isfinite(boxes.bboxes).all() and set(boxes.labels.tolist()) <= {0, 1}
