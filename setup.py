"""Packaging of glipv2_mmdet as a plugin of MMDetection.

Like the other packages of that family it carries its configs and tools inside the package, in the folder
``.mim``: an installed copy then serves them to ``mim`` and to configs that inherit by ``glipv2_mmdet::...``.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = 'glipv2_mmdet'
MIM_PARTS = ('configs', 'tools', 'model-index.yml')

# mmengine, mmcv and mmdet are deliberately not here. Each is published under several names that install the
# same import package (mmcv, mmcv-lite, onedl-mmcv; mmengine, onedl-mmengine; mmdet, onedl-mmdetection), and
# pip does not know that they replace each other: asking for mmcv-lite would write over a compiled mmcv,
# asking for mmcv would start a long compilation. The package checks for them when it is imported; the extra
# 'mm' installs a matching set.
INSTALL_REQUIRES = [
    'torch>=2.6',
    'torchvision>=0.21',
    'transformers>=5',
    'timm>=1.0.22',
    'pycocotools',
    'numpy',
    'pillow',
    'pyyaml',
    'safetensors',
    'tqdm',
    'ijson',
    'packaging',
]
EXTRAS_REQUIRE = {
    'mm': [
        'mmengine>=0.10.3',
        # mmdet 3.3.0 refuses mmcv 2.2 and later
        'mmcv-lite>=2.0,<2.2',
        'mmdet>=3.3',
        # mmengine imports pkg_resources, which setuptools 82 no longer has
        'setuptools<81',
    ],
    'tests': [
        'pytest',
        'pytest-xdist',
        'hypothesis',
        'ruff',
        'webdataset',
        'pycocoevalcap',
        'lvis',
        'onnx',
        'onnxruntime',
        'supervision',
        'gradio>=6.31,<7',
        'selenium',
    ],
    'caption': ['pycocoevalcap'],
    'nlp': ['spacy', 'nltk'],
    'webdataset': ['webdataset'],
    'lvis': ['lvis'],
    'export': ['onnx>=1.15', 'onnxruntime>=1.16'],
    'demo': ['gradio>=6.31,<7', 'pillow>=10.1'],
    'supervision': ['supervision'],
    'docs': ['mkdocs', 'mkdocs-material', 'mkdocstrings[python]'],
}


class BuildWithMim(build_py):
    """Adds ``.mim``: copied into a built distribution, linked in an editable install (edits count)."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            _fill_mim(ROOT / PACKAGE / '.mim', link=True)
        else:
            _fill_mim(Path(self.build_lib) / PACKAGE / '.mim', link=False)


def _fill_mim(mim: Path, link: bool) -> None:
    """Replace the folder ``mim`` by links to, or copies of, the parts that exist."""
    shutil.rmtree(mim, ignore_errors=True)
    mim.mkdir(parents=True)
    for name in MIM_PARTS:
        source, target = ROOT / name, mim / name
        if not source.exists():
            continue
        if link:
            try:
                target.symlink_to(source, target_is_directory=source.is_dir())
                continue
            except OSError:
                # Windows allows links only to privileged users; a copy works, but must be refreshed by
                # reinstalling
                pass
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy2(source, target)


def _version() -> str:
    text = (ROOT / PACKAGE / 'version.py').read_text(encoding='utf-8')
    match = re.search(r"__version__ = '([^']+)'", text)
    if match is None:
        raise RuntimeError(f"{PACKAGE}/version.py has no line __version__ = '...'; add it.")
    return match.group(1)


def _readme() -> str:
    readme = ROOT / 'README.md'
    return readme.read_text(encoding='utf-8') if readme.exists() else ''


setup(
    name=PACKAGE,
    version=_version(),
    description='GLIPv2, grounded vision-language understanding, as an MMDetection plugin',
    long_description=_readme(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE', 'NOTICE'],
    keywords='computer vision, object detection, phrase grounding, open vocabulary',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['text/bert_base_uncased_vocab.txt', 'weights/*', 'demo/photos/*']},
    entry_points={'console_scripts': ['glipv2=glipv2_mmdet.cli:main']},
    python_requires='>=3.10',
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
