"""Weights of public encoders under our names: every tensor accounted for, and the same function."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from timm.models.swin_transformer import SwinTransformer
from torch import nn
from transformers import BertConfig, BertForMaskedLM, CLIPConfig, CLIPModel

from glipv2_mmdet.checkpoints import CheckpointError, detect_encoder, encoder_to_ours, load_weights
from glipv2_mmdet.checkpoints.text_encoder_names import fit_positions
from glipv2_mmdet.models import BertTextEncoder, CLIPTextEncoder, TimmSwin
from glipv2_mmdet.text import TokenBatch
from tests.tiny_clip import write_folder

WIDTH, LAYERS, HEADS, VOCAB, POSITIONS = 24, 2, 4, 600, 7
TEXT = dict(
    hidden_size=WIDTH,
    num_hidden_layers=LAYERS,
    num_attention_heads=HEADS,
    intermediate_size=4 * WIDTH,
    vocab_size=VOCAB,
)
SWIN = dict(embed_dim=12, depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2), window_size=4)
IDS = torch.tensor([[3, 14, 15, 9, 2, 6]])
SCRIPT = Path(__file__).parents[2] / 'tools' / 'model_converters' / 'encoders_to_glipv2.py'


class Block(nn.Module):
    """A layer in the names of OpenAI's CLIP."""

    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH, eps=1e-12), nn.LayerNorm(WIDTH, eps=1e-12)
        self.mlp = nn.ModuleDict(dict(c_fc=nn.Linear(WIDTH, 4 * WIDTH), c_proj=nn.Linear(4 * WIDTH, WIDTH)))

    def forward(self, x):
        read = self.ln_1(x)
        x = x + self.attn(read, read, read, need_weights=False)[0]
        inner = self.mlp['c_fc'](self.ln_2(x))
        return x + self.mlp['c_proj'](inner * torch.sigmoid(1.702 * inner))


class TextTower(nn.Module):
    """A text transformer in the names of UniCL, bidirectional."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.token_embedding = nn.Embedding(VOCAB, WIDTH)
        self.positional_embedding = nn.Parameter(torch.randn(POSITIONS, WIDTH))
        self.resblocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.ln_final = nn.LayerNorm(WIDTH, eps=1e-12)
        for parameter in self.parameters():
            nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.3)

    def forward(self, ids):
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        for block in self.resblocks:
            x = block(x)
        return self.ln_final(x)


def openai_weights():
    weights = {
        f'transformer.{name}' if name.startswith('resblocks') else name: value
        for name, value in TextTower().state_dict().items()
    }
    return weights | {
        'visual.conv1.weight': torch.zeros(2, 3, 4, 4),
        'visual.transformer.resblocks.0.attn.in_proj_weight': torch.zeros(6, 2),
        'text_projection': torch.zeros(WIDTH, 8),
        'logit_scale': torch.zeros(()),
        'input_resolution': torch.tensor(224),
        'context_length': torch.tensor(77),
        'vocab_size': torch.tensor(49408),
    }


def swin_weights():
    """Random weights under the original names: a merging ends a stage there and begins the next in timm."""
    torch.manual_seed(1)
    weights = {}
    for name, value in SwinTransformer(**SWIN, num_classes=5, always_partition=True).state_dict().items():
        if '.downsample.' in name:
            stage = int(name.split('.')[1])
            name = name.replace(f'layers.{stage}.', f'layers.{stage - 1}.')
        weights[name.replace('head.fc.', 'head.')] = torch.randn_like(value)
    return weights | {
        'layers.0.blocks.0.attn.relative_position_index': torch.zeros(16, 16, dtype=torch.long),
        'layers.0.blocks.0.attn_mask': torch.zeros(1),
    }


def unicl_weights(text='text_encoder.', image='image_encoder.', image_projection='image_projection'):
    return {
        **{f'{text}{name}': value for name, value in TextTower().state_dict().items()},
        **{f'{image}{name}': value for name, value in swin_weights().items()},
        'text_projection': torch.zeros(WIDTH, 8),
        image_projection: torch.zeros(96, 8),
        'logit_scale': torch.ones(()),
    }


def hugging_face_weights():
    torch.manual_seed(0)
    text = dict(TEXT, max_position_embeddings=POSITIONS, bos_token_id=1, eos_token_id=2)
    vision = dict(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=8, patch_size=4
    )
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=6)).eval()


def part_of(weights, part):
    return {name.removeprefix(f'{part}.'): value for name, value in weights.items() if name.startswith(f'{part}.')}


def as_batch(ids):
    return TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool), (ids.shape[1],) * len(ids))


@pytest.fixture(scope='module')
def vocab(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp('clip') / 'vocabulary')


@pytest.mark.parametrize(
    ('source', 'make'),
    [
        ('OpenAI CLIP', openai_weights),
        ('UniCL', unicl_weights),
        ('UniCL', lambda: unicl_weights('lang_encoder.')),
        ('UniCL', lambda: unicl_weights('text.', 'visual.', 'vision_projection')),
    ],
    ids=['openai', 'unicl', 'unicl lang_encoder', 'unicl old names'],
)
@torch.no_grad()
def test_the_converted_text_encoder_is_the_same_function(source, make, vocab):
    weights = {f'module.{name}': value.half() if value.dim() == 1 else value for name, value in make().items()}
    conversion = encoder_to_ours(weights, max_tokens=POSITIONS)
    assert conversion.source == source
    encoder = CLIPTextEncoder(vocab, TEXT, max_tokens=POSITIONS).eval()
    load_weights(encoder, part_of(conversion.state_dict, 'language_model'))
    assert {value.dtype for value in conversion.state_dict.values()} == {torch.float32}
    torch.testing.assert_close(encoder(as_batch(IDS)).hidden, TextTower()(IDS), rtol=0, atol=5e-3)


@torch.no_grad()
def test_hugging_face_clip_is_taken_whole(vocab):
    peer = hugging_face_weights()
    conversion = encoder_to_ours(peer.state_dict(), max_tokens=POSITIONS)
    assert conversion.source == 'Hugging Face CLIP'
    encoder = CLIPTextEncoder(vocab, dict(TEXT, layer_norm_eps=1e-5), max_tokens=POSITIONS).eval()
    load_weights(encoder, part_of(conversion.state_dict, 'language_model'))
    assert len(conversion.state_dict) + len(conversion.excused) == len(peer.state_dict())
    # the last of one token sees the same in both directions
    one = IDS[:, :1]
    expected = peer.text_model(input_ids=one).last_hidden_state
    torch.testing.assert_close(encoder(as_batch(one)).hidden, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('make', [unicl_weights, swin_weights], ids=['unicl', 'swin'])
@torch.no_grad()
def test_the_converted_swin_is_the_same_function(make):
    backbone = TimmSwin(**SWIN, drop_path_rate=0.0).eval()
    converted = part_of(encoder_to_ours(make()).state_dict, 'backbone')
    load_weights(backbone, converted, allow_missing=('norms.*',))
    peer = SwinTransformer(**SWIN, num_classes=5, always_partition=True, strict_img_size=False)
    own = {
        name.replace('head.', 'head.fc.') if name.startswith('head.') else name: value
        for name, value in swin_weights().items()
        if not name.endswith(('index', 'mask'))
    }
    for stage in (2, 1, 0):
        own = {
            name.replace(f'layers.{stage}.downsample', f'layers.{stage + 1}.downsample'): value
            for name, value in own.items()
        }
    peer.load_state_dict(own)
    for name, value in backbone.model.state_dict().items():
        assert torch.equal(value, peer.state_dict()[name]), name


def test_bert_is_taken_whole_in_old_and_new_names():
    torch.manual_seed(0)
    config = dict(TEXT, max_position_embeddings=16)
    weights = BertForMaskedLM(BertConfig(**config)).state_dict()
    weights |= {'bert.pooler.dense.weight': torch.zeros(2, 2)}
    old = {
        name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta'): value
        for name, value in weights.items()
    }
    for given in (weights, old):
        conversion = encoder_to_ours(given)
        assert all(name.startswith(('cls.', 'pooler.')) for name in conversion.excused)
        own = part_of(conversion.state_dict, 'language_model')
        encoder = BertTextEncoder(dict(config, vocab_size=30522))
        own['model.embeddings.word_embeddings.weight'] = encoder.word_embeddings.detach()
        load_weights(encoder, own)
        assert torch.equal(
            encoder.model.state_dict()['encoder.layer.1.output.LayerNorm.weight'],
            weights['bert.encoder.layer.1.output.LayerNorm.weight'],
        )


def test_positions_are_stretched_between_row_centres():
    table = torch.tensor([[0.0], [10.0]])
    # rows at -0.25, 0.25, 0.75, 1.25 of the table; beyond its ends nothing is made up
    assert fit_positions(table, 4).flatten().tolist() == [0.0, 2.5, 7.5, 10.0]
    assert torch.equal(fit_positions(table, 2), table)
    assert torch.equal(fit_positions(table, 1), table[:1])
    assert fit_positions(torch.randn(77, 5), 256).shape == (256, 5)


def test_the_conversion_says_what_became_of_positions_and_leftovers():
    conversion = encoder_to_ours(openai_weights())
    assert conversion.num_positions == (POSITIONS, 256)
    assert conversion.state_dict['language_model.model.embeddings.position_embedding.weight'].shape == (256, WIDTH)
    assert set(conversion.excused) == {
        'visual.conv1.weight',
        'visual.transformer.resblocks.0.attn.in_proj_weight',
        'text_projection',
        'logit_scale',
        'input_resolution',
        'context_length',
        'vocab_size',
    }


def test_leftovers_and_strangers_are_named():
    with pytest.raises(CheckpointError, match=r'1 tensor\(s\) of these OpenAI CLIP weights .* "surprise"'):
        encoder_to_ours(openai_weights() | {'surprise': torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r'None of the encoders .* 1 tensors such as "conv1.weight"'):
        encoder_to_ours({'conv1.weight': torch.zeros(1)})
    assert detect_encoder(['fc.weight']) is None


@pytest.fixture(scope='module')
def script():
    spec = importlib.util.spec_from_file_location('encoders_to_glipv2', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_joins_two_files_and_tries_them(script, vocab, tmp_path, capsys):
    torch.save(openai_weights(), tmp_path / 'clip.pth')
    torch.save({'model': swin_weights()}, tmp_path / 'swin.pth')
    config = tmp_path / 'config.py'
    Config(
        dict(
            model=dict(
                backbone=dict(type='TimmSwin', **SWIN),
                language_model=dict(type='CLIPTextEncoder', vocab=vocab, config=TEXT, max_tokens=9),
            )
        )
    ).dump(config)
    arguments = [str(tmp_path / 'clip.pth'), str(tmp_path / 'swin.pth'), '--out', str(tmp_path / 'out.pth')]

    script.main([*arguments, '--max-tokens', '9', '--config', str(config)])

    printed = capsys.readouterr().out
    assert 'clip.pth: OpenAI CLIP' in printed
    assert f'positions: {POSITIONS} -> 9' in printed and 'swin.pth: Swin' in printed
    content = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert {name.split('.')[0] for name in content['state_dict']} == {'backbone', 'language_model'}
    assert content['meta']['sources'] == ['OpenAI CLIP: clip.pth', 'Swin: swin.pth']
    with pytest.raises(SystemExit, match=r'position_embedding.weight" has shape \(256, 24\), .* \(9, 24\)'):
        script.main([*arguments[:3], str(tmp_path / 'other.pth'), '--config', str(config)])
    with pytest.raises(SystemExit, match='tensors that an earlier file has too'):
        script.main([arguments[0], arguments[0], *arguments[2:]])
