"""The page in headless Chromium: upload, prompt, boxes; a broken file is said in words; nothing comes from elsewhere.

Needs chromium and chromedriver (bash tools/make_browser.sh) and the packages gradio and selenium.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip('gradio', reason="needs the extra 'demo': pip install 'glipv2_mmdet[demo]'")
pytest.importorskip('selenium', reason="needs the extra 'tests': pip install 'glipv2_mmdet[tests]'")

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.test_demo.conftest import RunningDemo

pytestmark = pytest.mark.slow
_SECONDS = 60
_OPTIONS = ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--window-size=1180,1000')


@pytest.fixture(scope='module')
def browser(demo: RunningDemo) -> Iterator[webdriver.Chrome]:
    chromium = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    driver = shutil.which('chromedriver')
    if not chromium or not driver:
        pytest.skip('needs chromium and chromedriver: bash tools/make_browser.sh')
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in _OPTIONS:
        options.add_argument(option)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    try:
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    except WebDriverException as error:
        pytest.skip(f'Chromium does not start here: {error.msg}')
    try:
        browser.get(demo.address)
        yield browser
    finally:
        browser.quit()


def wait(browser: webdriver.Chrome, found: Callable[[], object]) -> object:
    # an element can be replaced between finding and reading it
    return WebDriverWait(
        browser, _SECONDS, poll_frequency=0.2, ignored_exceptions=[StaleElementReferenceException]
    ).until(lambda _: found())


def visible(browser: webdriver.Chrome, selector: str, text: str = '') -> list[WebElement]:
    """What is shown now, and has this text in it."""
    return [
        element
        for element in browser.find_elements(By.CSS_SELECTOR, selector)
        if element.is_displayed() and text in element.text
    ]


def open_tab(browser: webdriver.Chrome, title: str) -> None:
    wait(browser, lambda: visible(browser, 'button[role=tab]', title))[0].click()


def upload(browser: webdriver.Chrome, path: Path) -> None:
    """Through the button of the shown tab's image field: what is there is taken away first."""
    for clear in visible(browser, 'button[aria-label="Remove Image"], button[aria-label="Clear"]'):
        clear.click()
    # the field is invisible: browsers show their own dialog for it
    wait(
        browser,
        lambda: [
            field
            for field in browser.find_elements(By.CSS_SELECTOR, 'input[type=file]')
            if field.find_element(By.XPATH, './ancestor::*[@role="tabpanel"]').is_displayed()
        ],
    )[0].send_keys(str(path))


def run(browser: webdriver.Chrome, button: str) -> None:
    wait(browser, lambda: visible(browser, 'button.primary', button))[0].click()


def test_upload_prompt_boxes(browser: webdriver.Chrome, scene_file: Path) -> None:
    open_tab(browser, 'Detect and ground')
    wait(browser, lambda: visible(browser, 'button.primary', 'Find'))
    before = visible(browser, 'img')[0].get_attribute('src')
    upload(browser, scene_file)
    wait(browser, lambda: (images := visible(browser, 'img')) and images[0].get_attribute('src') != before)
    prompt = visible(browser, 'textarea')[0]
    prompt.clear()
    prompt.send_keys('green cross . yellow star')
    threshold = visible(browser, 'input[type=number]')[0]
    threshold.clear()
    threshold.send_keys('0\t')
    run(browser, 'Find')
    wait(browser, lambda: re.match(r'\d+ boxes: ', visible(browser, '.glipv2-summary')[0].text))

    def colours() -> dict[str, str]:
        return {
            element.text: element.value_of_css_property('background-color')
            for element in visible(browser, '.token-container > span')
        }

    found = wait(browser, lambda: (now := colours()).keys() >= {'green cross', 'yellow star'} and now)
    assert len({found['green cross'], found['yellow star'], 'rgba(0, 0, 0, 0)'}) == 3
    # the picture of the result, which is enlarged; the upload beside it is as it was
    width = 'return arguments[0].naturalWidth'
    assert wait(browser, lambda: any(browser.execute_script(width, image) >= 480 for image in visible(browser, 'img')))
    assert visible(browser, 'a[download], button', 'Download json')


def test_an_example_fills_the_fields(browser: webdriver.Chrome) -> None:
    open_tab(browser, 'Detect and ground')
    before = visible(browser, 'textarea')[0].get_attribute('value')
    wait(browser, lambda: visible(browser, 'tr.tr-body'))[1].click()
    wait(browser, lambda: visible(browser, 'textarea')[0].get_attribute('value') != before)


def test_a_broken_file_is_said_in_words(browser: webdriver.Chrome, scene_file: Path, tmp_path: Path) -> None:
    broken = tmp_path / 'broken.png'
    broken.write_bytes(scene_file.read_bytes()[:3000])
    open_tab(browser, 'Caption')
    wait(browser, lambda: visible(browser, 'button.primary', 'Describe'))
    upload(browser, broken)
    wait(
        browser,
        lambda: [
            image
            for image in browser.find_elements(By.CSS_SELECTOR, 'img')
            if 'broken.png' in (image.get_attribute('src') or '')
        ],
    )
    run(browser, 'Describe')
    message = wait(browser, lambda: visible(browser, '.toast-body, [data-testid=toast-body]', 'damaged'))[0].text
    assert 'The image file is damaged or incomplete.' in message and 'Traceback' not in message


def test_nothing_comes_from_elsewhere(browser: webdriver.Chrome, demo: RunningDemo) -> None:
    loaded = browser.execute_script('return performance.getEntriesByType("resource").map(entry => entry.name)')
    assert len(loaded) > 10
    assert [name for name in loaded if not name.startswith((demo.address, 'data:', 'blob:'))] == []
    # a blocked attempt would be here, too
    messages = [line['message'] for line in browser.get_log('browser')]
    assert [message for message in messages if 'Content Security Policy' in message] == []
