"""The explorer in a frame: pages on this machine may hold it, others not."""

import http.server
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from support.browsing import chromium
from support.explorer import session as small

import unweave as uw
from unweave.explorer.server import Explorer
from unweave.notebook import Explored


@pytest.fixture
def explored(tmp_path):
    page = Explored(Explorer(small(tmp_path)), height=700)
    yield page
    page.close()


def answered(address):
    with urllib.request.urlopen(address, timeout=20) as answer:
        return answer.read().decode()


def test_a_frame_has_the_page_until_it_is_closed(explored):
    html = explored._repr_html_()
    assert f'src="{explored.address}"' in html
    assert "height: 700px" in html
    assert explored.address in repr(explored)
    assert "unweave explorer" in answered(explored.address)
    explored.close()
    explored.close()
    with pytest.raises(urllib.error.URLError):
        answered(explored.address)


class Notebook(http.server.SimpleHTTPRequestHandler):
    """A page that holds the frame, by any name."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(self.server.page.encode())

    def log_message(self, *about):
        """Say nothing."""


@pytest.fixture
def notebook(explored):
    server = http.server.ThreadingHTTPServer(("", 0), Notebook)
    server.page = f'<link rel="icon" href="data:,">{explored._repr_html_()}'
    threading.Thread(target=server.serve_forever).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_pages_on_this_machine_hold_it_and_others_do_not(notebook):
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        said = []
        page.on("console", lambda message: said.append(message.text))
        held = page.frame_locator("iframe")
        for name in ("localhost", "127.0.0.1"):
            page.goto(f"http://{name}:{notebook}/")
            held.locator("body[data-ready]").wait_for()
            classes = held.locator('[data-unit="y"] .strip button')
            classes.nth(3).click()
            assert "chosen" in classes.nth(3).get_attribute("class")
            assert not said
        page.goto(f"http://127.0.0.2:{notebook}/")  # this machine by a name that anyone may have
        page.wait_for_timeout(500)
        assert not held.locator("body[data-ready]").count()
        assert any("frame-ancestors" in text for text in said)
        page.close()


def test_a_run_and_items_of_ones_own(tmp_path):
    model = uw.models.hfvae((8, 8), (16,), 10, normals=3, temperature=None)
    run = uw.Run(tmp_path, model, [], {}, build=uw.recipes.digits)
    data = uw.data.digits("test").subset(np.arange(40))
    page = uw.explore(run, data=data)
    assert '"all":40' in answered(f"{page.address}run.json")
    page.close()


def test_a_folder_that_is_no_run_is_told_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        uw.explore(tmp_path)
    with pytest.raises(ValueError, match="0 runs: expected one, or two"):
        uw.explore()
