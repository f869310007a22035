"""The scripts in tools/: their options, how they lay the command line over a config, and real runs."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from glipv2_mmdet.compat.cpu_distributed import use_cpu_where_no_gpu, use_single_precision_where_no_gpu
from glipv2_mmdet.engine.work_folder_lock import hold_folder

REPOSITORY = Path(__file__).resolve().parents[1]
TOOLS = REPOSITORY / 'tools'
CONFIG = REPOSITORY / 'configs/compat/atss_r18_shapes.py'
TIME_OUT = 300


def run(command, **variables):
    """Run to the end; the test fails with everything the command wrote when it does not succeed."""
    search_path = os.pathsep.join([str(REPOSITORY), os.environ.get('PYTHONPATH', '')])
    environment = dict(os.environ, PYTHON=sys.executable, OMP_NUM_THREADS='1', PYTHONPATH=search_path, **variables)
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=TIME_OUT,
        env=environment,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, f'{command}\n{done.stdout}\n{done.stderr}'
    return done.stdout + done.stderr


def load_tool(name):
    """A script as a module, without running its main()."""
    spec = importlib.util.spec_from_file_location(f'tool_{name}', TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tiny_options(shapes_dir):
    """Overrides that put ATSS on the small rendering, three steps long."""
    folder = f'{shapes_dir}/'
    options = {
        'train_cfg.max_epochs': 1,
        'train_dataloader.batch_size': 4,
        'train_dataloader.dataset.data_root': folder,
        'default_hooks.logger.interval': 1,
        'model.test_cfg.score_thr': 0.0,
    }
    for split in ('val', 'test'):
        options[f'{split}_dataloader.dataset.data_root'] = folder
        options[f'{split}_evaluator.ann_file'] = folder + 'annotations/val.json'
    for split in ('train', 'val', 'test'):
        options[f'{split}_dataloader.num_workers'] = 0
        options[f'{split}_dataloader.persistent_workers'] = False
    return ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]


# ---- command line over config


def test_train_puts_the_command_line_over_the_config():
    train = load_tool('train')
    args = train.parse_args(
        [str(CONFIG), '--amp', '--auto-scale-lr', '--cfg-options', 'train_cfg.max_epochs=3', 'model.neck.num_outs=4']
    )
    cfg = train.build_config(args)
    assert cfg.work_dir == 'work_dirs/atss_r18_shapes'
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'
    assert cfg.auto_scale_lr.enable is True
    assert (cfg.train_cfg.max_epochs, cfg.model.neck.num_outs) == (3, 4)
    assert (cfg.resume, cfg.load_from, cfg.launcher) == (False, None, 'none')


@pytest.mark.parametrize(('given', 'load_from'), [(['--resume'], None), (['--resume', 'a.pth'], 'a.pth')])
def test_train_resumes_from_the_folder_or_from_a_file(given, load_from):
    train = load_tool('train')
    cfg = train.build_config(train.parse_args([str(CONFIG), '--work-dir', 'somewhere', *given]))
    assert (cfg.resume, cfg.load_from, cfg.work_dir) == (True, load_from, 'somewhere')


def test_train_does_not_scale_a_learning_rate_of_unknown_batch_size(tmp_path):
    train = load_tool('train')
    config = tmp_path / 'config.py'
    config.write_text('optim_wrapper = dict()\n')
    with pytest.raises(ValueError, match=r'Add auto_scale_lr = dict\(base_batch_size='):
        train.build_config(train.parse_args([str(config), '--auto-scale-lr']))


def test_test_loads_the_checkpoint_and_paints_when_asked():
    test = load_tool('test')
    cfg = test.build_config(test.parse_args([str(CONFIG), 'a.pth', '--show-dir', 'painted']))
    assert (cfg.load_from, cfg.resume) == ('a.pth', False)
    assert cfg.default_hooks.visualization.draw is True
    assert cfg.default_hooks.visualization.test_out_dir == 'painted'


def test_test_mirrors_images_with_tta():
    test = load_tool('test')
    cfg = test.build_config(test.parse_args([str(CONFIG), 'a.pth', '--tta']))
    assert cfg.model.type == 'DetTTAModel' and cfg.model.module.type == 'ATSS'
    flips, pack = cfg.test_dataloader.dataset.pipeline[-1].transforms
    assert [flip.prob for flip in flips] == [1.0, 0.0]
    assert {'flip', 'flip_direction'} <= set(pack[0].meta_keys)


def test_test_takes_the_views_of_the_config_for_glipv2():
    test = load_tool('test')
    config = REPOSITORY / 'configs/glipv2/glipv2_t_coco_multi_scale.py'
    cfg = test.build_config(test.parse_args([str(config), 'a.pth', '--tta']))
    assert cfg.model.type == 'GroundedTTAModel' and cfg.model.module.type == 'GLIPv2'
    assert len(cfg.test_dataloader.dataset.pipeline[-1].transforms[0]) == 12
    plain = test.build_config(
        test.parse_args([str(CONFIG.parents[1] / 'glipv2/glipv2_nano_shapes_masks.py'), 'a.pth', '--tta'])
    )
    assert plain.model.type == 'GroundedTTAModel'
    flips, pack = plain.test_dataloader.dataset.pipeline[-1].transforms
    assert [flip.prob for flip in flips] == [1.0, 0.0] and 'text' in pack[0].meta_keys


def test_test_refuses_another_file_type_for_predictions(capsys):
    with pytest.raises(SystemExit):
        load_tool('test').parse_args([str(CONFIG), 'a.pth', '--out', 'results.json'])
    assert "--out is 'results.json'; expected a name that ends in .pkl" in capsys.readouterr().err


# ---- several processes without a GPU


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr('glipv2_mmdet.compat.cpu_distributed.get_device', lambda: 'cpu')


def distributed_config(**settings):
    environment = dict(dist_cfg=dict(backend='nccl', timeout=60))
    return Config(dict(launcher='pytorch', env_cfg=environment, **settings))


def test_without_a_gpu_gloo_and_cpu_modules_are_chosen(no_gpu):
    cfg = distributed_config(find_unused_parameters=True)
    assert use_cpu_where_no_gpu(cfg)
    assert cfg.env_cfg.dist_cfg == dict(backend='gloo', timeout=60)
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel', broadcast_buffers=False, find_unused_parameters=True, device_ids=None
    )


def test_a_wrapper_of_the_config_is_kept(no_gpu):
    cfg = distributed_config(model_wrapper_cfg=dict(type='MMDistributedDataParallel', static_graph=True))
    use_cpu_where_no_gpu(cfg)
    assert cfg.model_wrapper_cfg == dict(type='MMDistributedDataParallel', static_graph=True, device_ids=None)


def test_with_a_gpu_or_one_process_nothing_changes(monkeypatch, no_gpu):
    single = distributed_config()
    single.launcher = 'none'
    assert not use_cpu_where_no_gpu(single)
    monkeypatch.setattr('glipv2_mmdet.compat.cpu_distributed.get_device', lambda: 'cuda')
    cfg = distributed_config()
    assert not use_cpu_where_no_gpu(cfg)
    assert cfg.env_cfg.dist_cfg.backend == single.env_cfg.dist_cfg.backend == 'nccl'


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_mixed_precision_is_left_out_where_no_gpu_is_visible(device, monkeypatch):
    monkeypatch.setattr('glipv2_mmdet.compat.cpu_distributed.get_device', lambda: device)
    mixed = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale='dynamic', clip_grad=dict(max_norm=1.0))
    cfg = Config(dict(optim_wrapper=mixed))
    assert use_single_precision_where_no_gpu(cfg) == (device == 'cpu')
    single = dict(type='OptimWrapper', clip_grad=dict(max_norm=1.0))
    assert cfg.optim_wrapper == (single if device == 'cpu' else mixed)
    assert not use_single_precision_where_no_gpu(Config(dict(optim_wrapper=dict(type='OptimWrapper'))))


def test_slurm_without_a_gpu_says_what_to_use(no_gpu):
    cfg = distributed_config()
    cfg.launcher = 'slurm'
    with pytest.raises(ValueError, match=r'Use tools/dist_train\.sh'):
        use_cpu_where_no_gpu(cfg)


# ---- shell scripts, with a stand-in for Python or srun that shows what it was called with


def recorder(folder, name):
    """An executable that writes its arguments and the variables of interest as json."""
    path = folder / name
    path.write_text(
        f'#!{sys.executable}\nimport json, os, sys\n'
        'if sys.argv[1:2] == ["-"]:\n'
        '    exec(sys.stdin.read())\n'
        '    sys.exit()\n'
        'keep = ("OMP_NUM_THREADS", "PYTHONPATH")\n'
        'print(json.dumps(dict(args=sys.argv[1:], env={k: os.environ.get(k) for k in keep})))\n'
    )
    path.chmod(0o755)
    return path


def called_with(command, **variables):
    environment = {key: value for key, value in os.environ.items() if key not in ('OMP_NUM_THREADS', 'PORT')}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=60, env=dict(environment, **variables)
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_dist_train_starts_torchrun_with_the_variables_of_mmdet(tmp_path):
    python = recorder(tmp_path, 'python')
    call = called_with(
        ['bash', TOOLS / 'dist_train.sh', 'a.py', '4', '--amp', '--cfg-options', 'a=b c'],
        PYTHON=str(python),
        NNODES='2',
        NODE_RANK='1',
        MASTER_ADDR='10.0.0.7',
        PORT='29501',
    )
    assert call['args'] == [
        '-m',
        'torch.distributed.run',
        '--nnodes=2',
        '--node_rank=1',
        '--master_addr=10.0.0.7',
        '--master_port=29501',
        '--nproc_per_node=4',
        str(TOOLS / 'train.py'),
        'a.py',
        '--launcher',
        'pytorch',
        '--amp',
        '--cfg-options',
        'a=b c',
    ]
    assert call['env']['PYTHONPATH'].split(os.pathsep)[0] == str(REPOSITORY)
    assert int(call['env']['OMP_NUM_THREADS']) >= 1


def test_dist_test_takes_the_checkpoint_and_keeps_a_thread_count(tmp_path):
    python = recorder(tmp_path, 'python')
    call = called_with(
        ['bash', TOOLS / 'dist_test.sh', 'a.py', 'b.pth', '2', '--out', 'c.pkl'],
        PYTHON=str(python),
        OMP_NUM_THREADS='7',
    )
    assert call['args'][-6:] == ['a.py', 'b.pth', '--launcher', 'pytorch', '--out', 'c.pkl']
    assert '--nproc_per_node=2' in call['args']
    assert call['env']['OMP_NUM_THREADS'] == '7'


def test_a_taken_port_is_avoided_on_one_machine_only(tmp_path):
    python = str(recorder(tmp_path, 'python'))
    command = ['bash', TOOLS / 'dist_train.sh', 'a.py', '1']
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(('127.0.0.1', 29500))
        except OSError:
            pytest.skip('another program holds port 29500')
        taken.listen()
        assert '--master_port=29500' not in called_with(command, PYTHON=python)['args']
        assert '--master_port=29500' in called_with(command, PYTHON=python, NNODES='2')['args']


@pytest.mark.parametrize(
    ('script', 'arguments', 'message'),
    [
        ('dist_train.sh', ['a.py'], 'Usage'),
        ('dist_train.sh', ['a.py', '--amp'], "Number of processes is '--amp'"),
        ('dist_test.sh', ['a.py', 'b.pth'], 'Usage'),
        ('dist_test.sh', ['a.py', 'b.pth', '0'], "Number of processes is '0'"),
        ('slurm_train.sh', ['part', 'job', 'a.py'], 'Usage'),
    ],
)
def test_shell_scripts_refuse_incomplete_calls(script, arguments, message):
    done = subprocess.run(['bash', TOOLS / script, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert message in done.stdout + done.stderr


def test_slurm_train_asks_for_what_it_uses(tmp_path):
    recorder(tmp_path, 'srun')
    call = called_with(
        ['bash', TOOLS / 'slurm_train.sh', 'part', 'job', 'a.py', 'out', '--resume'],
        PATH=f'{tmp_path}:{os.environ["PATH"]}',
        GPUS='4',
        SRUN_ARGS='--quiet --time=10',
        PYTHON='python3',
    )
    assert call['args'] == [
        '-p',
        'part',
        '--job-name=job',
        '--gres=gpu:4',
        '--ntasks=4',
        '--ntasks-per-node=4',
        '--cpus-per-task=5',
        '--kill-on-bad-exit=1',
        '--quiet',
        '--time=10',
        'python3',
        '-u',
        str(TOOLS / 'train.py'),
        'a.py',
        '--work-dir',
        'out',
        '--launcher',
        'slurm',
        '--resume',
    ]


def test_training_in_a_folder_in_use_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['train.py', str(CONFIG), '--work-dir', str(tmp_path)])
    with hold_folder(tmp_path):
        before = sorted(tmp_path.iterdir())
        assert load_tool('train').main() == 2
        assert f'train: {tmp_path} is in use by process {os.getpid()} on host' in capsys.readouterr().err
        assert sorted(tmp_path.iterdir()) == before


# ---- real runs


#: Every tool, each in a fork of a process that has imported what all of them need: starting anew costs five seconds.
ASK_FOR_HELP = """
import os, runpy, sys
import glipv2_mmdet
import glipv2_mmdet.apis, mmdet.apis, mmdet.evaluation
for tool in sys.argv[1:]:
    print(f"=== {tool}", flush=True)
    if os.fork() == 0:
        sys.argv[:] = [tool, "--help"]
        sys.path[0] = os.path.dirname(tool)
        try:
            runpy.run_path(tool, run_name="__main__")
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code or 0)
        os._exit(1)
    print(f"=== ended with {os.waitstatus_to_exitcode(os.wait()[1])}", flush=True)
"""


@pytest.mark.slow
def test_every_tool_explains_itself():
    tools = sorted(str(path) for path in TOOLS.rglob('*.py'))
    answers = run([sys.executable, '-c', ASK_FOR_HELP, *tools]).split('=== ')[1:]
    assert [answer.split()[0] for answer in answers[::2]] == tools
    for tool, ending in zip(answers[::2], answers[1::2], strict=True):
        assert 'usage' in tool.lower(), tool
        assert ending.strip() == 'ended with 0', tool


@pytest.mark.distributed
def test_two_processes_train_and_test_on_cpu(tiny_options, tmp_path):
    hidden = dict(CUDA_VISIBLE_DEVICES='')
    log = run(['bash', TOOLS / 'dist_train.sh', CONFIG, 2, '--work-dir', tmp_path / 'train', *tiny_options], **hidden)
    # 24 pictures, 2 processes of batch 4
    assert 'Epoch(train) [1][3/3]' in log
    checkpoint = tmp_path / 'train/epoch_1.pth'
    assert checkpoint.is_file()
    log = run(
        [
            'bash',
            TOOLS / 'dist_test.sh',
            CONFIG,
            checkpoint,
            2,
            '--work-dir',
            tmp_path / 'test',
            '--out',
            tmp_path / 'predictions.pkl',
            *tiny_options,
        ],
        **hidden,
    )
    assert 'coco/bbox_mAP' in log
    assert (tmp_path / 'predictions.pkl').stat().st_size > 0
    assert 0 <= load_tool('quickstart').read_metrics(tmp_path / 'test')['coco/bbox_mAP'] <= 1
