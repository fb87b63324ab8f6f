"""The explorer's page in a browser, as a person uses it."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image
from support.browsing import chromium, loaded, other_codes, settled, state
from support.explorer import of_columns, of_scenes, of_sequences, of_words
from support.explorer import session as small

from unweave.explorer.matching import matched
from unweave.explorer.server import Explorer, in_background

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return small(tmp_path_factory.mktemp("run"))


@contextlib.contextmanager
def served(*sessions):
    """The address of a server in a thread."""
    address, end = in_background(Explorer(*sessions))
    try:
        yield address
    finally:
        end()


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
    page.get_by_text("Its mean codes").click()


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


def two_items(page):
    page.locator("#keep").click()
    page.locator("#random").click()
    settled(page)
    return state(page)["codes"], state(page)["b"]


def figure(page, name):
    return page.locator(f'.pair [data-name="{name}"]')


def chip(page, name, group):
    return figure(page, name).locator(".chip", has_text=group)


def test_a_group_that_is_dragged_changes_places(page):
    a, b = two_items(page)
    chip(page, "B", "z").drag_to(figure(page, "A"))
    settled(page)
    np.testing.assert_allclose(state(page)["codes"], [a[0], *b[1:]], rtol=1e-4)
    np.testing.assert_allclose(state(page)["b"], [b[0], *a[1:]], rtol=1e-4)
    chip(page, "A", "z").press("Enter")  # and back, by the keyboard
    settled(page)
    np.testing.assert_allclose(state(page)["codes"], a, rtol=1e-4)


def test_a_group_turns_into_that_of_the_other_item(page):
    a, b = two_items(page)
    line = page.locator("#exchanges .exchange", has_text="z: A's to B's")
    line.locator("button").nth(6).click()  # six of eight steps
    settled(page)
    expected = np.array(a[1:]) + 0.75 * (np.array(b[1:]) - np.array(a[1:]))
    np.testing.assert_allclose(state(page)["codes"], [a[0], *expected], rtol=1e-4, atol=1e-5)


def test_the_mean_of_a_selection_is_decoded_group_by_group(page, session):
    before = state(page)["codes"]
    lasso(page)
    tiles = page.locator("#selection .strip button")
    tiles.nth(2).click()  # A with its z
    settled(page)
    across = session.units.index(state(page)["across"])
    inside = session.codes[:, across] < np.array(state(page)["lasso"])[:, 0].max()
    expected = [before[0], *session.codes[inside, 1:].mean(0)]
    np.testing.assert_allclose(state(page)["codes"], expected, rtol=1e-4)


def saved(page, of, button, folder):
    """A picture that the page saves as a file."""
    page.locator("#film-of").focus()
    page.locator("#film-of").select_option(of)
    with page.expect_download() as download:
        page.locator(button).click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return Image.open(io.BytesIO(file.read_bytes()))


def test_a_film_has_the_decoded_pictures(page, session, tmp_path):
    codes = np.array(state(page)["codes"], dtype=np.float32)
    film = saved(page, "z[1]", "#film", tmp_path)
    assert (film.n_frames, film.size) == (33, (192, 192))
    unit = session.described()["sites"][1]["units"][1]
    for frame, share in ((0, 2), (16, 50), (32, 98)):
        film.seek(frame)
        small = np.asarray(film.convert("L").resize((8, 8), Image.Resampling.NEAREST))
        row = codes.copy()
        row[2] = unit["quantiles"][share]
        decoded = np.frombuffer(session.pictures(session.decode(row[None])), np.uint8)
        np.testing.assert_allclose(small.ravel(), decoded, atol=1)


def test_a_strip_has_what_one_did(page, session, tmp_path):
    rows = [state(page)["codes"]]
    for k in (3, 7):
        page.locator('[data-unit="y"] .strip button').nth(k).click()
        settled(page)
        rows.append(state(page)["codes"])
    strip = np.asarray(saved(page, "what I did", "#strip", tmp_path).convert("L"))
    assert strip.shape == (192, 3 * 196 - 4)
    decoded = session.pictures(session.decode(np.array(rows, dtype=np.float32)))
    for k, picture in enumerate(np.frombuffer(decoded, np.uint8).reshape(3, 8, 8)):
        shown = strip[12::24, 196 * k + 12 : 196 * k + 192 : 24]
        np.testing.assert_allclose(shown, picture, atol=1)


GIF = """async (pixels) => {
  const { gif } = await import("/page/gif.js");
  const frames = pixels.map((data) => new ImageData(Uint8ClampedArray.from(data), 64, 64));
  return Array.from(new Uint8Array(await gif(frames, 8).arrayBuffer()));
}"""


@pytest.mark.parametrize("colours", [2, 256, 4096])
def test_a_gif_holds_its_frames(page, colours):
    """Exactly if they have 256 colours or fewer; noise fills the table of strings many times."""
    draws = np.random.default_rng(colours)
    table = np.array([[k % 16, k // 16 % 16, k // 256 + k % 7] for k in range(colours)]) * 15
    frames = table[draws.integers(colours, size=(3, 64, 64))].clip(0, 255)
    opaque = np.concatenate([frames, np.full((3, 64, 64, 1), 255)], -1)
    content = page.evaluate(GIF, opaque.reshape(3, -1).tolist())
    film = Image.open(io.BytesIO(bytes(content)))
    assert film.n_frames == 3
    for k in range(3):
        film.seek(k)
        apart = np.asarray(film.convert("RGB")).astype(int) - frames[k]
        if colours <= 256:
            assert not apart.any()
        else:
            assert np.abs(apart).mean() < 15  # a box of 4,096 / 256 colours is 16 of them wide


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


def test_it_fits_a_phone_and_the_dark(browser, address):
    size = {"width": 390, "height": 800}
    with loaded(browser, address, viewport=size, color_scheme="dark") as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.keyboard.press("?")
        page.get_by_text("How to explore").wait_for()


def test_a_tables_units_name_the_columns_that_they_move(browser, tmp_path):
    session = of_columns(tmp_path)
    start = session.described()["start"]
    unit = session.described()["sites"][0]["units"][0]
    rows = np.repeat(session.codes[start][None], 9, 0)
    rows[:, 0] = [unit["quantiles"][share] for share in (2, 12, 25, 37, 50, 63, 75, 88, 98)]
    course = session.decode(rows) / session.drawing.spread
    most = np.ptp(course, axis=0).argmax()
    with served(session) as address, loaded(browser, address) as page:
        row = page.locator(f'[data-unit="{unit["name"]}"] .strip')
        if np.ptp(course, axis=0).max() >= 0.1:
            assert row.locator(".move span").first.inner_text() == session.drawing.names[most]
        else:
            assert not row.locator(".move").count()
        assert "sd at most" in row.inner_text()


def test_topics_have_words(browser, tmp_path):
    session = of_words(tmp_path)
    start = session.described()["start"]
    unit = session.described()["sites"][0]["units"][0]
    rows = np.repeat(session.codes[start][None], 2, 0)
    rows[:, 0] = unit["quantiles"][2], unit["quantiles"][98]
    first, last = session.decode(rows)
    most = (last * np.log(last / first)).argmax()
    with served(session) as address, loaded(browser, address) as page:
        words = page.locator(f'[data-unit="{unit["name"]}"] .words').first.locator("span")
        assert words.first.inner_text() == "more"
        assert words.nth(1).inner_text() == session.drawing.names[most]


def test_sequences_play_and_show_the_units_of_a_step(browser, tmp_path):
    session = of_sequences(tmp_path)
    with served(session) as address, loaded(browser, address) as page:
        assert page.locator(".panel:visible h2").all_inner_texts() == ["z_0"]
        first = pixels(page, "#decoded")
        page.locator("#time input").press("End")
        settled(page)
        assert page.locator(".panel:visible h2").all_inner_texts() == ["z_5"]
        assert pixels(page, "#decoded") != first
        page.locator("#play").click()
        page.locator("#time", has_text="frame 3 of 6").wait_for()
        page.locator("#play").click()
        step = int(page.locator("#time input").input_value())
        assert page.locator(".panel:visible h2").all_inner_texts() == [f"z_{step}"]
        settled(page)
        with loaded(browser, page.url) as other:
            assert other.locator("#time input").input_value() == str(step)


def test_sites_that_do_not_exist_are_not_shown(browser, tmp_path):
    session = of_scenes(tmp_path)
    with served(session) as address, loaded(browser, address) as page:
        counts = page.locator('[data-unit="count"] .strip button')
        counts.nth(0).click()
        gone = page.locator(".panel:visible", has=page.get_by_text("where_0", exact=True))
        assert "exists where count is class 1 or 2" in gone.inner_text()
        assert not gone.locator("input:visible").count()
        counts.nth(1).click()
        assert "exists where" not in gone.inner_text()
