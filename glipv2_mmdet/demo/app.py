"""The page: one tab per task, built with gradio, and the server that shows it."""

from __future__ import annotations

import functools
import ipaddress
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import gradio as gr
from mmengine.logging import print_log
from starlette.middleware import Middleware

from glipv2_mmdet.apis.inferencer import GLIPv2Inferencer
from glipv2_mmdet.demo.examples import Example, draw_examples, photo_examples
from glipv2_mmdet.demo.guard import RequestGuard
from glipv2_mmdet.demo.handlers import CLASS_NAMES, MOST_THRESHOLD, SENTENCE, Handlers, View
from glipv2_mmdet.demo.limits import FORMATS, Limits
from glipv2_mmdet.demo.log_files import log_files_kept
from glipv2_mmdet.demo.upload_area import private_area
from glipv2_mmdet.demo.worker import ModelWorker

_LOOPBACK_NAMES = ('127.0.0.1', 'localhost', '::1')
_ERROR_SECONDS = 15.0
_CSS = """
.gradio-container {max-width: 1180px !important; margin: 0 auto !important}
.glipv2-summary {min-height: 1.6em}
"""


@dataclass(frozen=True)
class Task:
    """A tab.

    Attributes:
        name: of the command line option that gives its model, and of its address.
        title: on the tab.
        about: one sentence below it.
    """

    name: str
    title: str
    about: str


TASKS = (
    Task('detect', 'Detect and ground', 'Boxes for everything that a list of names, or a sentence, speaks of.'),
    Task('segment', 'Segment', 'Boxes and masks for everything that a list of names, or a sentence, speaks of.'),
    Task('ask', 'Ask', 'Answers to a question about the image.'),
    Task('caption', 'Caption', 'A sentence about the image; where the model can, with boxes for its phrases.'),
)


@contextmanager
def running_demo(
    models: Mapping[str, GLIPv2Inferencer],
    *,
    host: str = '127.0.0.1',
    port: int = 7860,
    limits: Limits | None = None,
    public_url: str | None = None,
    photos: bool = False,
) -> Iterator[str]:
    """Serves the page until the block ends; uploads are deleted then.

    Args:
        models: name of a task in ``TASKS`` → its model; tasks without one show how to give it.
        host: address to listen on. Any but a loopback address opens the demo to the network.
        public_url: where a proxy shows the page, 'https://example.org/glipv2'.
        photos: the examples are photos instead of drawn scenes, for models that were trained on photos.

    Yields:
        The local address.

    Raises:
        MissingHeadError: a model cannot do its task.
        ValueError: no model, or a task that does not exist, or a public address that is none.
        OSError: the port is taken.
    """
    unknown = sorted(set(models) - {task.name for task in TASKS})
    if unknown or not models:
        raise ValueError(
            f'The tasks given are {unknown or "none"}. Expected at least one of '
            f'{", ".join(task.name for task in TASKS)}.'
        )
    limits = limits or Limits()
    hosts = _names_of(host, public_url)
    worker = ModelWorker(limits.seconds)
    with private_area(limits.area_bytes, 60 * limits.minutes_kept) as area:
        handlers = Handlers(dict(models), limits, area, worker)
        handlers.try_models()
        page = build_page(handlers, (photo_examples if photos else draw_examples)(area.folder / 'examples'))
        area.keep_present()
        guard = Middleware(
            RequestGuard,
            area=area,
            file_bytes=limits.file_bytes,
            hosts=hosts,
            waiting=limits.waiting,
            behind_proxy=public_url is not None,
        )
        try:
            page.queue(max_size=limits.waiting, api_open=False, default_concurrency_limit=1)
            with log_files_kept():
                _, address, _ = page.launch(
                    server_name=host,
                    server_port=port,
                    root_path=public_url,
                    app_kwargs={'middleware': [guard]},
                    max_file_size=limits.file_bytes,
                    prevent_thread_lock=True,
                    quiet=True,
                    inline=False,
                    inbrowser=False,
                    # each of these could also be switched on by an environment variable
                    share=False,
                    ssr_mode=False,
                    mcp_server=False,
                    enable_monitoring=False,
                    pwa=False,
                    run_history=False,
                    # fonts that the visitor has: none is fetched
                    theme=gr.themes.Default(
                        primary_hue='indigo', font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace']
                    ),
                    css=_CSS,
                    footer_links=[],
                )
        except OSError as error:
            raise OSError(f'Port {port} of {host} cannot be used ({error}). Give another one with --port.') from error
        try:
            yield address
        finally:
            page.close(verbose=False)
            worker.close()


def build_page(handlers: Handlers, examples: Sequence[Example]) -> gr.Blocks:
    """The page without a server; must be called inside ``private_area``, see there."""
    limits = handlers.limits
    with gr.Blocks(title='GLIPv2', analytics_enabled=False) as page:
        gr.Markdown(
            '# GLIPv2\nOne grounded model for finding, segmenting, answering and describing. Images: '
            f'{", ".join(FORMATS)}, at most {limits.megabytes:g} MB and {limits.megapixels:g} megapixels; they '
            f'are deleted after {limits.minutes_kept:g} minutes.'
        )
        first = next(task.name for task in TASKS if task.name in handlers.models)
        with gr.Tabs(selected=first):
            for task in TASKS:
                with gr.Tab(task.title, id=task.name):
                    if task.name in handlers.models:
                        _BUILDERS[task.name](handlers, task, examples)
                    else:
                        gr.Markdown(
                            f'{task.about}\n\nThe demo was started without a model for it. To have one '
                            f'here:\n\n```\nglipv2 demo --{task.name} CONFIG CHECKPOINT\n```'
                        )
    return page


def _build_finding_tab(handlers: Handlers, task: Task, examples: Sequence[Example]) -> None:
    limits = handlers.limits
    gr.Markdown(task.about)
    with gr.Row():
        with gr.Column(scale=5):
            image = _image_field(examples)
            prompt = gr.Textbox(
                examples[0].prompt,
                label='Prompt',
                max_length=limits.characters,
                info='Names with " . " between them, or a sentence.',
            )
            kind = gr.Radio([CLASS_NAMES, SENTENCE], value=CLASS_NAMES, label='The prompt is')
            button = gr.Button('Find', variant='primary')
            start = handlers.models[task.name].default_threshold
            threshold = gr.Slider(0.0, MOST_THRESHOLD, start, step=0.01, label='Threshold')
            boxes = gr.Slider(1, limits.boxes, min(100, limits.boxes), step=1, label='Most boxes')
        with gr.Column(scale=6):
            shown = _ResultFields.build(text='Prompt', has_picture=True)
    rows = [row for e in examples for row in ([e.image, e.prompt, CLASS_NAMES], [e.image, e.sentence, SENTENCE])]
    gr.Examples(
        rows,
        [image, prompt, kind],
        cache_examples=False,
        api_name=f'{task.name}_example',
        examples_per_page=len(examples),
    )
    method = getattr(handlers, task.name)
    shown.connect([button.click, prompt.submit], method, [image, prompt, kind, threshold, boxes], task)


def _build_question_tab(handlers: Handlers, task: Task, examples: Sequence[Example]) -> None:
    gr.Markdown(task.about)
    with gr.Row():
        with gr.Column(scale=5):
            image = _image_field(examples)
            question = gr.Textbox(examples[0].question, label='Question', max_length=handlers.limits.characters)
            button = gr.Button('Ask', variant='primary')
        with gr.Column(scale=6):
            shown = _ResultFields.build(text='Question', has_picture=False, has_answers=True)
    gr.Examples(
        [[e.image, e.question] for e in examples],
        [image, question],
        cache_examples=False,
        api_name=f'{task.name}_example',
    )
    shown.connect([button.click, question.submit], handlers.ask, [image, question], task)


def _build_caption_tab(handlers: Handlers, task: Task, examples: Sequence[Example]) -> None:
    gr.Markdown(task.about)
    with gr.Row():
        with gr.Column(scale=5):
            image = _image_field(examples)
            button = gr.Button('Describe', variant='primary')
        with gr.Column(scale=6):
            shown = _ResultFields.build(text='Caption', has_picture=False)
    gr.Examples([[e.image] for e in examples], [image], cache_examples=False, api_name=f'{task.name}_example')
    shown.connect([button.click], handlers.caption, [image], task)


_BUILDERS = {
    'detect': _build_finding_tab,
    'segment': _build_finding_tab,
    'ask': _build_question_tab,
    'caption': _build_caption_tab,
}


def _image_field(examples: Sequence[Example]) -> gr.Image:
    """Its value is the path of the upload; gradio would decode the image before the limits are checked."""
    # no 'webcam': it asks for the permission of the browser, and gradio streams it through other addresses
    field = gr.Image(
        examples[0].image,
        type='filepath',
        sources=['upload', 'clipboard'],
        label='Image',
        show_label=False,
        height=300,
        buttons=['fullscreen'],
    )
    # on the object: beside a module that derives from a component gradio writes a .pyi file
    field.preprocess = lambda payload: None if payload is None else payload.path
    return field


@dataclass(frozen=True)
class _ResultFields:
    """The right side of a tab."""

    answers: gr.Label | None
    picture: gr.Image
    text: gr.HighlightedText
    summary: gr.Markdown
    download: gr.DownloadButton

    @classmethod
    def build(cls, text: str, has_picture: bool, has_answers: bool = False) -> _ResultFields:
        """Places the fields; a picture that is not there from the start comes with the first result that has one."""
        return cls(
            answers=gr.Label(label='Answers', num_top_classes=5) if has_answers else None,
            picture=gr.Image(
                label='Result',
                show_label=False,
                interactive=False,
                visible=has_picture,
                height=440,
                format='png',
                buttons=['download', 'fullscreen'],
            ),
            text=gr.HighlightedText(
                [(f'The {text.lower()} comes here, its phrases in the colours of their boxes.', None)],
                label=text,
                show_inline_category=False,
            ),
            summary=gr.Markdown(elem_classes='glipv2-summary'),
            download=gr.DownloadButton('Download json', interactive=False, size='sm'),
        )

    def connect(
        self, triggers: Sequence[Callable], method: Callable[..., View], inputs: Sequence[gr.Component], task: Task
    ) -> None:
        """Shows the view that ``method`` makes of the inputs; its address is the name of the task."""
        outputs = [part for part in (self.answers, self.picture, self.text, self.summary, self.download) if part]

        def show(view: View) -> list:
            answers = [] if self.answers is None else [view.answers]
            return [
                *answers,
                gr.update(value=view.picture, visible=view.picture is not None),
                gr.update(value=list(view.pieces), color_map=view.colours),
                _plain(view.summary),
                gr.update(value=view.json_file, interactive=True),
            ]

        # all tasks wait in one queue: there is one thread that runs models
        gr.on(
            triggers,
            _readable(method, show),
            list(inputs),
            outputs,
            api_name=task.name,
            concurrency_limit=1,
            concurrency_id='models',
            show_progress='minimal',
        )


def _readable(method: Callable[..., View], show: Callable[[View], list]) -> Callable[..., list]:
    """``show(method(...))`` whose errors are a sentence on the page instead of a traceback in the log."""

    @functools.wraps(method)  # gradio reads the names of the parameters
    def answer(*values: object) -> list:
        try:
            return show(method(*values))
        except ValueError as error:
            raise gr.Error(str(error), duration=_ERROR_SECONDS, title='Not possible', print_exception=False) from error
        except Exception as error:
            logging.getLogger('mmengine').exception('The demo could not answer a request')
            raise gr.Error(
                'The model failed on this request. The log of the server says why.',
                duration=_ERROR_SECONDS,
                title='Failed',
                print_exception=False,
            ) from error

    return answer


def _plain(text: str) -> str:
    """Markdown that shows a text as it is: a visitor may look for 'traffic_light' or '<b>'."""
    return re.sub(r'([\\`*_\[\]<>&|~$#])', r'\\\1', text)


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


def _names_of(host: str, public_url: str | None) -> tuple[str, ...]:
    """Host names under which requests are answered."""
    public = []
    if public_url is not None:
        parts = urlsplit(public_url)
        if parts.scheme not in ('http', 'https') or not parts.hostname:
            raise ValueError(f'The public address is "{public_url}". Expected a full one: https://example.org/glipv2')
        public = [parts.hostname]
    if is_loopback(host):
        return (*_LOOPBACK_NAMES, *public)
    print_log(
        f'The demo listens on {host}: everybody who reaches this machine can use it. There is no password; put a '
        'proxy with one before it (docs/demo.md), or leave --host out.',
        logger='current',
        level=logging.WARNING,
    )
    return ('*', *public)
