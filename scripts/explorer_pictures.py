"""Make the pictures of docs/explorer.md from a run: the page in light, dark and on a phone, a film.

    python scripts/explorer_pictures.py RUN FOLDER

It needs chromium. The film is what the page's own button saves, of the unit that says most.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from unweave.again import sessions
from unweave.explorer.server import Explorer, in_background

WIDE = {"width": 1300, "height": 980}
TALL = {"width": 1300, "height": 1390}
PHONE = {"width": 390, "height": 844}


def main(run: Path, folder: Path) -> None:
    """Write the pictures."""
    address, end = in_background(Explorer(*sessions([run])))
    with sync_playwright() as play:
        path = shutil.which("chromium")
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = _opened(browser, address, viewport=WIDE)
        _save(page, folder / "explorer.png")
        _film(page, folder / "explorer.gif")
        _two_items(page)
        _save(page, folder / "explorer-two-items.png")
        page.close()
        dark = _opened(browser, address, viewport=TALL, color_scheme="dark")
        _lasso(dark)
        _save(dark, folder / "explorer-dark.png")
        dark.close()
        phone = _opened(browser, address, viewport=PHONE, color_scheme="dark")
        _save(phone, folder / "explorer-phone.png")
        browser.close()
    end()


def _opened(browser: Browser, address: str, **options: Any) -> Page:
    page = browser.new_page(**options)
    page.goto(address)
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    page.wait_for_timeout(1000)
    return page


def _save(page: Page, file: Path) -> None:
    """Save what is seen, in 256 colours, with the pointer elsewhere."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(1000)
    shot = Image.open(io.BytesIO(page.screenshot()))
    shot.convert("RGB").quantize(256).save(file, optimize=True)


def _film(page: Page, file: Path) -> None:
    unit = page.locator("#panels .unit:has(input)").first.get_attribute("data-unit")
    page.locator("#film-of").focus()
    page.locator("#film-of").select_option(unit)
    with page.expect_download() as download:
        page.locator("#film").click()
    download.value.save_as(file)


def _two_items(page: Page) -> None:
    """Keep the typical item, and take the first that the map has at its left."""
    page.locator("#keep").click()
    box = page.locator("#map").bounding_box()
    assert box is not None
    page.locator("#map").click(position={"x": 0.25 * box["width"], "y": 0.4 * box["height"]})


def _lasso(page: Page) -> None:
    """Draw around the points at the left."""
    box = page.locator("#map").bounding_box()
    assert box is not None
    corners = [(0.02, 0.1), (0.3, 0.1), (0.3, 0.6), (0.02, 0.6)]
    for k, (across, down) in enumerate(corners):
        page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"], steps=5)
        if k == 0:
            page.mouse.down()
    page.mouse.up()
    page.locator("#selection table").wait_for()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
