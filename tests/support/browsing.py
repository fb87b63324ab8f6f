"""Pages in a browser; errors in their consoles fail the test."""

import contextlib
import json
import urllib.parse

import numpy as np
from playwright.sync_api import sync_playwright

from support.chromium import executable


@contextlib.contextmanager
def chromium():
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def loaded(browser, address, **options):
    """The explorer's page, loaded."""
    page = browser.new_page(**{"viewport": {"width": 1300, "height": 900}} | options)
    wrong = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    settled(page)
    yield page
    page.close()
    assert not wrong


def settled(page):
    """Wait until rows have followed, and the address holds the state."""
    page.wait_for_timeout(500)


def state(page):
    text = urllib.parse.unquote(page.evaluate("location.hash.slice(1)"))
    return json.loads(text)


def other_codes(page):
    """The codes of the run that stands beside."""
    text = page.locator("#other-decoded").get_attribute("data-codes")
    return np.array([float(code) for code in text.split()])
