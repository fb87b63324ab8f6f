"""The explorer as one file: opened from disk, the network off, it says what the model says."""

import numpy as np
import pytest
import torch
from support.browsing import chromium, loaded, other_codes, settled, state
from support.explorer import of_columns, of_scenes, of_sequences, of_words
from support.explorer import session as small

import unweave as uw
from unweave.explorer import embedded
from unweave.explorer.matching import matched
from unweave.explorer.session import Session

DECODE = """async (rows) => {
  const { Embedded } = await import("embedded.js");
  const source = await Embedded.open();
  return rows.map((codes) => Array.from(source.decoders[0].decode(codes)));
}"""

SHOWN = """Array.from(document.querySelector('{}').getContext('2d')
  .getImageData(0, 0, 8, 8).data.filter((_, k) => k % 4 === 0))"""

SELECT = """async (items) => {
  const { Embedded } = await import("embedded.js");
  return (await Embedded.open()).select(items);
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def opened(browser, file):
    """A file without a network."""
    return loaded(browser, file.as_uri(), offline=True)


def written(session, folder, other=None):
    file = folder / "page.html"
    size = embedded.export(file, session, other)
    assert size == file.stat().st_size
    return file


def of_images(folder):
    return small(folder)


def of_convolutions(folder):
    torch.manual_seed(0)
    model = uw.models.hfvae((19, 24, 3), (16,), 4, normals=3, net="conv")
    x = torch.rand(60, 19, 24, 3).numpy()
    return Session(model, uw.data.read(x, say=str), folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [of_images, of_convolutions, of_columns, of_words, of_sequences, of_scenes]
)
def test_the_page_decodes_as_torch_does(make, browser, tmp_path):
    session = make(tmp_path)
    rows = session.codes[:8]
    with opened(browser, written(session, tmp_path)) as page:
        decoded = np.array(page.evaluate(DECODE, rows.tolist()))
    expected = session.decode(rows).reshape(len(rows), -1)
    np.testing.assert_allclose(decoded, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_it_shows_what_the_server_shows(browser, tmp_path):
    session = small(tmp_path)
    with opened(browser, written(session, tmp_path)) as page:
        page.locator('[data-unit="y"] .strip button').nth(3).click()
        settled(page)
        codes = np.array([state(page)["codes"]], dtype=np.float32)
        assert codes[0, 0] == 3
        shown = page.evaluate(SHOWN.format("#decoded"))
        decoded = np.frombuffer(session.pictures(session.decode(codes)), np.uint8)
        np.testing.assert_allclose(shown, decoded, atol=1)
        page.locator("#colour").select_option("bound elbo")
        page.locator("#across").select_option("pca z")
        settled(page)


@pytest.mark.slow
def test_a_selection_is_measured_as_by_the_server(browser, tmp_path):
    session = small(tmp_path)
    inside = session.codes[:, 2] > np.quantile(session.codes[:, 2], 0.7)
    expected = session.selected(inside)
    with opened(browser, written(session, tmp_path)) as page:
        found = page.evaluate(SELECT, np.flatnonzero(inside).tolist())
    known = {unit: (value, error) for unit, value, error in expected["units"]}
    for unit, value, error in found["units"]:
        apart = abs(value - known[unit][0])
        # 4 standard errors: by chance once in 4,000 runs of four units
        assert apart <= 4 * np.hypot(error, known[unit][1]) + 1e-6, unit
    np.testing.assert_allclose(found["mean"], expected["mean"], rtol=1e-5)
    assert found["entropy"] == pytest.approx(expected["entropy"])


@pytest.mark.slow
def test_a_decoder_that_is_unknown_is_a_grid(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "KNOWN", embedded.KNOWN - {"sigmoid"})
    session = small(tmp_path)
    row = session.codes[session.described()["start"]].copy()
    unit = session.described()["sites"][1]["units"][1]
    row[2] = np.linspace(*unit["ends"], embedded.STEPS)[4]  # one unit moved, and on the grid
    with opened(browser, written(session, tmp_path)) as page:
        decoded = np.array(page.evaluate(DECODE, [row.tolist()]))
        assert "interpolated on a grid" in page.locator("#about").inner_text()
    expected = np.frombuffer(session.pictures(session.decode(row[None])), np.uint8)
    np.testing.assert_allclose(decoded[0], expected, atol=1.01)


@pytest.mark.slow
def test_two_runs_are_one_file(browser, tmp_path):
    """The second run's pictures are its own, and follow the first one's slider."""
    session, other = small(tmp_path), small(tmp_path, seed=1)
    match = next(m for m in matched(session, other) if m["unit"] == session.units.index("z[1]"))
    with opened(browser, written(session, tmp_path, other)) as page:
        item = state(page)["item"]
        np.testing.assert_allclose(other_codes(page), other.codes[item], rtol=1e-5)
        page.locator('[data-unit="z[1]"] input').press("Home")
        settled(page)
        codes = other_codes(page)
        moved = np.flatnonzero(~np.isclose(codes, other.codes[item]))
        assert moved.tolist() == [match["other"]]
        decoded = other.pictures(other.decode(codes[None].astype(np.float32)))
        shown = page.evaluate(SHOWN.format("#other-decoded"))
        np.testing.assert_allclose(shown, np.frombuffer(decoded, np.uint8), atol=1)


@pytest.mark.slow
def test_some_items_keep_their_numbers_and_a_link_its_item(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "MOST_BYTES", 64 * 120)
    session = small(tmp_path)
    with opened(browser, written(session, tmp_path)) as page:
        page.locator("#random").click()
        settled(page)
        item = state(page)["item"]
        assert f"item {item}" in page.locator("#item-of").inner_text()
        shown = np.array(page.evaluate(SHOWN.format("#item")))
        np.testing.assert_array_equal(shown, np.frombuffer(session.item(item), np.uint8))
        with loaded(browser, page.url, offline=True) as other:
            assert other.locator("#item-of").inner_text() == page.locator("#item-of").inner_text()


def test_many_items_are_a_part_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "MOST_BYTES", 64 * 120)
    file = written(small(tmp_path), tmp_path)
    assert '"items": 120' in file.read_text()
    assert '"all": 200' in file.read_text()
