"""A run that tunes a prompt leaves prompts and small checkpoints behind, and goes on where it was stopped."""

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.runner import Runner

from glipv2_mmdet.engine import PromptCheckpointHook
from glipv2_mmdet.models import TunedPrompt, TunedPromptError, base_fingerprint
from tests.test_models.nano import build_detector, data_sample

NAMES = ('cat', 'red car')
#: Score of each validation; the second is the best.
SCORES = (0.1, 0.5, 0.2)


class TwoImages(torch.utils.data.Dataset):
    metainfo = dict(classes=NAMES)

    def __len__(self):
        return 2

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        sample = data_sample(NAMES, boxes=[[4, 6, 50, 58]], labels=[index])
        return dict(
            inputs=torch.randint(0, 255, (3, 64, 64), generator=generator, dtype=torch.uint8), data_samples=sample
        )


def run(folder, model, epochs, resume=False, monitor='ap'):
    class ListedScores(BaseMetric):
        default_prefix = None
        calls = iter(SCORES[1:] if resume else SCORES)

        def process(self, data_batch, data_samples):
            self.results.append(0)

        def compute_metrics(self, results):
            return dict(ap=next(self.calls))

    loader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
        dataset=TwoImages(),
    )
    runner = Runner(
        model,
        str(folder),
        train_dataloader=dict(loader),
        val_dataloader=dict(loader),
        val_evaluator=Evaluator(ListedScores()),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_cfg=dict(),
        resume=resume,
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.05, weight_decay=0.25)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1)),
        custom_hooks=[PromptCheckpointHook(monitor)],
        log_level='WARNING',
        default_scope='mmdet',
        experiment_name=f'{folder.name}_{epochs}_{resume}',
        cfg=Config(dict(load_from='base.pth')),
    )
    runner.train()
    return runner


def tuning_model():
    return build_detector(dict(prompt_tuning=dict(type='PromptTuning', classes=NAMES)))


@pytest.fixture(scope='module')
def three_epochs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    return folder, run(folder, tuning_model(), 3).model


def test_best_and_last_prompt_are_saved_with_their_base(three_epochs):
    folder, model = three_epochs
    best, last = (TunedPrompt.load(folder / f'{name}_prompt.safetensors') for name in ('best', 'last'))
    assert torch.equal(last.residuals[0], model.prompt_tuning.residuals[0])
    assert not torch.equal(best.residuals[0], last.residuals[0])
    assert best.fingerprint == last.fingerprint == base_fingerprint(model)
    assert best.base == 'base.pth' and best.names == NAMES


def test_checkpoints_hold_the_prompt_and_not_the_base(three_epochs):
    folder, _ = three_epochs
    (checkpoint,) = folder.glob('epoch_*.pth')
    assert list(torch.load(checkpoint, weights_only=True)['state_dict']) == ['prompt_tuning.residuals.0']
    assert checkpoint.stat().st_size < 200_000


def test_a_resumed_run_ends_with_the_same_prompt_and_remembers_the_best(three_epochs, tmp_path):
    folder = tmp_path / 'run'
    run(folder, tuning_model(), 1)
    best = TunedPrompt.load(folder / 'best_prompt.safetensors').residuals[0]
    resumed = run(folder, tuning_model(), 3, resume=True).model
    torch.testing.assert_close(resumed.prompt_tuning.residuals[0], three_epochs[1].prompt_tuning.residuals[0])
    assert not torch.equal(TunedPrompt.load(folder / 'best_prompt.safetensors').residuals[0], best)
    torch.testing.assert_close(
        TunedPrompt.load(folder / 'best_prompt.safetensors').residuals[0],
        TunedPrompt.load(three_epochs[0] / 'best_prompt.safetensors').residuals[0],
    )


def test_a_run_is_not_resumed_on_other_weights(tmp_path):
    folder = tmp_path / 'run'
    run(folder, tuning_model(), 1)
    other = tuning_model()
    torch.nn.init.ones_(other.bbox_head.box.bias)
    with pytest.raises(TunedPromptError, match='This run was started on base weights with fingerprint'):
        run(folder, other, 3, resume=True)


def test_a_model_without_prompt_tuning_and_an_unknown_metric_are_refused(tmp_path):
    with pytest.raises(ValueError, match='this model tunes none'):
        run(tmp_path / 'plain', build_detector(), 1)
    with pytest.raises(KeyError, match=r'monitor is "AP"; the validation has ap'):
        run(tmp_path / 'metric', tuning_model(), 1, monitor='AP')
