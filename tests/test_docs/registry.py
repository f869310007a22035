"""Which test runs each command and snippet of the documentation, or why none does. One section per page.

``pages`` of a rule are names below the repository (``'*'``: every page); ``pattern`` is a regular expression that has
to be found in the command or block. The first rule that fits counts. ``test`` is a pytest node without its parameters;
``reason`` stands instead where nothing runs it here. Commands of ``tools/*.py`` and configs are, in addition and
always, checked by ``test_commands.py``: the script is there, its parser takes the arguments, the config can be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.test_docs.snippets import Snippet

NEEDS_DATA = 'needs full data sets and several GPUs; config and options are checked, the same code runs at nano size'
MINUTES = 'takes minutes of training; run for the printed figures, and config and options are checked'
INSTALLS = 'installs packages; run by hand when the pinned versions change'


@dataclass(frozen=True)
class Rule:
    """One line of the registry."""

    pattern: str
    test: str = ''
    reason: str = ''
    pages: tuple[str, ...] = ('*',)
    kind: str = 'bash'

    def fits(self, snippet: Snippet) -> bool:
        return (
            snippet.kind == self.kind
            and ('*' in self.pages or snippet.page in self.pages)
            and re.search(self.pattern, snippet.text) is not None
        )


def rule_of(snippet: Snippet) -> Rule | None:
    """The first rule that fits."""
    return next((rule for rule in RULES if rule.fits(snippet)), None)


RULES = [
    # README.md, install.md, contributing.md: environment
    Rule(
        r'^make (quickstart|test|test-fast|env|docs)( && source \.venv/bin/activate)?$',
        reason='the whole run, by hand and in continuous integration',
    ),
    Rule(r'^make soak$', reason='20 minutes; a sample of each campaign is tests/test_reliability'),
    Rule(r'^(pip|python -m pip) (install|download)', reason=INSTALLS),
    Rule(
        r'^python -c "import glipv2_mmdet', test='tests/test_docs/test_commands.py::test_the_package_says_its_version'
    ),
    Rule(r'tools/test_with_onedl\.sh', reason='makes an environment of several GB; its --help is tested'),
    Rule(r'^ln -s ', reason="links the reader's own folder"),
    Rule(r'^(mkdir|cp) .*data/held_out', reason='lays files out for a run of minutes', pages=('docs/finetuning.md',)),
    Rule(r'^bash benchmarks/peer/make_env\.sh', reason=INSTALLS),
    Rule(r'^bash tools/slurm_train\.sh', test='tests/test_tools.py'),
    Rule(r'^tensorboard ', reason='a server that runs until it is stopped'),
    # configs/glipv2/README.md
    Rule(r'^mim ', reason='needs openmim and an installed package; what mim reads is tested in tests/test_zoo.py'),
    Rule(
        r'glipv2_mmdet::',
        test='tests/test_zoo.py::test_a_config_of_ones_own_project_inherits_from_the_package',
        kind='python',
    ),
    Rule(r'^python -m glipv2_mmdet\.run ', test='tests/test_run.py'),
    # all pages: python snippets
    Rule('.', test='tests/test_docs/test_extending.py', kind='python', pages=('docs/extending.md',)),
    Rule(
        r'init_detector\(.*(nano_shapes_pretrain)',
        kind='python',
        test='tests/test_docs/test_python.py::test_the_three_lines_run',
    ),
    Rule(r'init_detector\(.*(nano_shapes_masks)', kind='python', test='tests/test_models/test_glipv2_masks.py'),
    Rule(r'set_prompt|tuned_prompt', kind='python', test='tests/test_models/test_prompt_tuning.py'),
    Rule(
        r"init_detector\('configs/glipv2/glipv2_t_vqa\.py'", kind='python', test='tests/test_models/test_glipv2_vqa.py'
    ),
    Rule(r'pred_caption', kind='python', test='tests/test_models/test_captioning.py'),
    Rule(r'^\s*\w+ = (dict\(|\(|\[)', kind='python', reason='part of a config; its Python is compiled'),
    # all pages: tools at laptop scale
    Rule(r'tools/make_shapes\.py', test='tests/test_datasets/test_shapes.py'),
    Rule(r'tools/show_referring\.py', test='tests/test_show_referring.py'),
    Rule(r'tools/browse_dataset\.py', test='tests/test_visualization/test_browsing.py'),
    Rule(r'tools/show_heatmaps\.py', test='tests/test_visualization/test_heatmaps.py'),
    Rule(r'tools/plot\.py', test='tests/test_plot.py'),
    Rule(r'tools/finetune\.py', test='tests/test_apis/test_finetuning.py'),
    Rule(r'tools/pseudo_label\.py', test='tests/test_apis/test_pseudo_labels.py'),
    Rule(r'tools/(dist_odinw\.sh|odinw\.py)', test='tests/test_odinw_tool.py'),
    Rule(r'tools/model_converters/', test='tests/test_checkpoints/test_convert_cli.py'),
    Rule(r'tools/dataset_converters/', test='tests/test_datasets/test_conversion'),
    Rule(r'tests/parity/check\.py', test='tests/parity/test_parity.py'),
    Rule(r'^python -m pytest', reason='is the test suite'),
    Rule(
        r'^python tests/test_docs/list_commands\.py',
        test='tests/test_docs/test_commands.py::test_the_list_has_a_line_per_snippet',
    ),
    # reliability.md, bad_input.md, security.md
    Rule(r'tools/replay_batch\.py', test='tests/test_engine/test_replay.py::test_every_loss_is_that_of_the_run'),
    Rule(
        r'benchmarks/reliability/extreme_numbers\.py',
        test='tests/test_reliability/test_numbers.py::test_the_program_counts_and_fails_where_a_step_went_wrong',
    ),
    Rule(
        r'benchmarks/reliability/inputs\.py',
        test='tests/test_reliability/test_inputs.py::test_every_input_gives_a_result_or_a_documented_error',
    ),
    Rule(r'data_changed=warn', test='tests/test_engine/test_data_fingerprint.py'),
    Rule(r'^python benchmarks/', reason='measures for minutes; run for the printed figures'),
    # all pages: training and testing
    Rule(r'tools/(dist_)?(train|test)\.(sh|py) .*_nano_', reason=MINUTES),
    Rule(r'tools/(dist_)?(train|test)\.(sh|py) .*_mini_', reason=MINUTES),
    Rule(r'tools/(dist_)?(train|test)\.(sh|py) .*/ablation/', reason=MINUTES),
    Rule(r'tools/ship_mini\.py', test='tests/test_mini.py::test_the_shipped_file_is_made_from_a_checkpoint'),
    Rule(r'tools/(dist_)?(train|test)\.(sh|py) ', reason=NEEDS_DATA),
    # inference.md, demo.md, export.md: the command line
    Rule(r'^glipv2 ', test='tests/test_cli'),
    Rule(r'GLIPv2Inferencer', kind='python', test='tests/test_apis'),
    Rule(r'^model\.ask\(', kind='python', test='tests/test_apis/test_inferencer.py', pages=('docs/inference.md',)),
    Rule(r'gradio_client', kind='python', test='tests/test_demo/test_app.py'),
    Rule(r'glipv2_runtime', kind='python', test='tests/test_export/test_runtime.py'),
    Rule(r'load_program', kind='python', test='tests/test_export/test_torch_export.py'),
]
