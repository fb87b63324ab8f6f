"""The explorer as one file: opened from disk, the network off, it says what the model says."""

import numpy as np
import pytest
import torch
from support.browsing import chromium, loaded, settled, state
from support.explorer import session as small

import unweave as uw
from unweave.explorer import embedded
from unweave.explorer.session import Session

DECODE = """async (rows) => {
  const { Embedded } = await import("embedded.js");
  const source = await Embedded.open();
  return rows.map((codes) => Array.from(source.decoders[0].decode(codes)));
}"""

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


def written(session, folder):
    file = folder / "page.html"
    size = embedded.export(file, session)
    assert size == file.stat().st_size
    return file


def of_images(folder):
    return small(folder)


def of_convolutions(folder):
    torch.manual_seed(0)
    model = uw.models.hfvae((19, 24, 3), (16,), 4, normals=3, net="conv")
    x = torch.rand(60, 19, 24, 3).numpy()
    return Session(model, uw.data.read(x, say=str), folder)


def of_tables(folder):
    torch.manual_seed(0)
    model = uw.models.vae((7,), (16,), 2, likelihood="normal", standardise=True)
    x = np.random.default_rng(0).normal(size=(60, 7)) * [1, 2, 5, 9, 3, 1, 4] + 8
    return Session(uw.models.measured(model, x), uw.data.read(x, say=str), folder)


@pytest.mark.slow
@pytest.mark.parametrize("make", [of_images, of_convolutions, of_tables])
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
        shown = page.evaluate(
            "Array.from(document.querySelector('#decoded').getContext('2d')"
            ".getImageData(0, 0, 8, 8).data.filter((_, k) => k % 4 === 0))"
        )
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


def test_many_items_are_a_part_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "MOST_BYTES", 64 * 120)
    file = written(small(tmp_path), tmp_path)
    assert '"items": 120' in file.read_text()
    assert '"all": 200' in file.read_text()
