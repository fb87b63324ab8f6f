"""The explorer's page in a browser, as a person uses it."""

import contextlib
import threading

import numpy as np
import pytest
import uvicorn
from support.browsing import chromium, loaded, settled, state
from support.explorer import session as small

from unweave.explorer.gate import Gate
from unweave.explorer.matching import matched
from unweave.explorer.server import Explorer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return small(tmp_path_factory.mktemp("run"))


@contextlib.contextmanager
def served(*sessions):
    """The address of a server in a thread."""
    config = uvicorn.Config(
        Gate(Explorer(*sessions).app(), "127.0.0.1"), port=0, log_level="critical", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        pass
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def address(session):
    with served(session) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser, address):
    with loaded(browser, address) as page:
        yield page


def pixels(page, selector):
    return page.evaluate(f"document.querySelector({selector!r}).toDataURL()")


def test_a_slider_moves_the_picture_and_nothing_else(page, session):
    slider = page.locator('[data-unit="z[1]"] input')
    before = pixels(page, "#decoded")
    slider.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    settled(page)
    codes = state(page)["codes"]
    moved = np.flatnonzero(~np.isclose(codes, session.codes[session.described()["start"]]))
    assert moved.tolist() == [session.units.index("z[1]")]
    assert pixels(page, "#decoded") != before
    decoded = session.pictures(session.decode(np.array([codes], dtype=np.float32)))
    shown = page.evaluate(
        "Array.from(document.querySelector('#decoded').getContext('2d')"
        ".getImageData(0, 0, 8, 8).data.filter((_, k) => k % 4 === 0))"
    )
    np.testing.assert_allclose(shown, np.frombuffer(decoded, np.uint8), atol=1)


def test_where_no_data_are_the_picture_has_a_frame(page):
    slider = page.locator('[data-unit="z[0]"] input')
    assert not page.locator("#decoded.outside").count()
    slider.focus()
    page.keyboard.press("End")
    page.locator("#decoded.outside").wait_for()
    assert page.locator("#decoded-of").inner_text() == "decoded, where no data are"


def test_a_class_is_picked(page):
    page.locator('[data-unit="y"] .strip button').nth(3).click()
    settled(page)
    assert state(page)["codes"][0] == 3


def test_a_point_gives_its_codes(page, session):
    box = page.locator("#map").bounding_box()
    page.evaluate("scrollTo(0, 0)")
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for across in range(-60, 60, 6):
        page.mouse.click(middle[0] + across, middle[1])
    settled(page)
    item = state(page)["item"]
    np.testing.assert_allclose(state(page)["codes"], session.codes[item], rtol=1e-4)
    assert f"item {item}" in page.locator("#item-of").inner_text()


def lasso(page):
    box = page.locator("#map").bounding_box()
    left, top = box["x"] + 5, box["y"] + 5
    right, bottom = box["x"] + box["width"] / 2, box["y"] + box["height"] - 5
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    page.locator("#selection table").wait_for()


def test_a_lasso_tells_what_its_points_have_in_common(page, session):
    lasso(page)
    settled(page)
    path = np.array(state(page)["lasso"])
    across = session.units.index(state(page)["across"])
    inside = session.codes[:, across] < path[:, 0].max()
    expected = session.selected(inside)["units"][0]
    assert page.locator("#selection td").first.inner_text() == expected[0]
    assert "items selected" in page.locator("#selection p").inner_text()
    page.get_by_text("Take its mean codes").click()


def test_a_link_restores_the_view_to_the_pixel(page, browser):
    page.locator('[data-unit="y"] .strip button').nth(7).click()
    lasso(page)
    page.locator("#colour").select_option("bound elbo")
    settled(page)
    with loaded(browser, page.url) as other:
        other.locator("#selection table").wait_for()
        settled(other)
        for canvas in ("#decoded", "#map", "#item"):
            assert pixels(other, canvas) == pixels(page, canvas), canvas
        assert other.locator("#selection").inner_text() == page.locator("#selection").inner_text()


def test_a_name_is_kept(page, session):
    answers = iter(["slant", "leans to the right"])
    page.on("dialog", lambda dialog: dialog.accept(next(answers)))
    page.locator('[data-unit="z[2]"] .name').click()
    page.locator(".name", has_text="slant (z[2])").wait_for()
    assert session.names()["z[2]"] == {"name": "slant", "note": "leans to the right"}
    session.rename("z[2]", "", "")


def test_groups_change_places(page, session):
    page.locator("#keep").click()
    page.locator("#random").click()
    settled(page)
    swapped = page.locator("#exchanges .exchange", has_text="y changed").locator("button").first
    a, b = state(page)["codes"], state(page)["b"]
    swapped.click()
    settled(page)
    np.testing.assert_allclose(state(page)["codes"], [b[0], *a[1:]], rtol=1e-4)


def test_one_slider_drives_two_runs(browser, session, tmp_path):
    other = small(tmp_path, seed=1)
    matches = {match["unit"]: match for match in matched(session, other)}
    column = session.units.index("z[1]")
    with served(session, other) as address, loaded(browser, address) as page:
        item = state(page)["item"]
        before = other_codes(page)
        np.testing.assert_allclose(before, other.codes[item], rtol=1e-5)
        page.locator('[data-unit="z[1]"] input').focus()
        page.keyboard.press("Home")
        settled(page)
        moved = np.flatnonzero(~np.isclose(other_codes(page), before))
        assert moved.tolist() == [matches[column]["other"]]
        end = 0.0 if matches[column]["alike"] > 0 else 1.0
        expected = np.quantile(other.draws[:, moved[0]], end)
        assert other_codes(page)[moved[0]] == pytest.approx(expected, rel=1e-4)


def other_codes(page):
    text = page.locator("#other-decoded").get_attribute("data-codes")
    return np.array([float(code) for code in text.split()])


def test_it_fits_a_phone_and_the_dark(browser, address):
    size = {"width": 390, "height": 800}
    with loaded(browser, address, viewport=size, color_scheme="dark") as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.keyboard.press("?")
        page.get_by_text("How to explore").wait_for()
