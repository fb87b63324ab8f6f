"""A run knows its data by their content: other items or labels are refused, wherever it goes on."""

import dataclasses
import json
import os
import sys
import time

import numpy as np
import pytest
from support.training import tiny

import unweave as uw
from unweave import cli
from unweave.training import content
from unweave.training.content import fingerprint

DIGITS = uw.data.digits().subset(range(200))


def changed(**parts):
    return dataclasses.replace(DIGITS, **parts)


def one_other(array, value):
    array = array.copy()
    array[7] = value
    return array


def test_equal_data_have_equal_fingerprints_and_others_do_not():
    assert fingerprint(DIGITS) == fingerprint(changed(x=DIGITS.x.copy(), name="others"))
    items = changed(x=one_other(DIGITS.x, 0))
    factors = changed(factors=one_other(DIGITS.factors, -1))
    for other, part in (
        (items, "items"),
        (factors, "factors"),
        (DIGITS.subset(range(199)), "items"),
    ):
        assert fingerprint(other)[part] != fingerprint(DIGITS)[part]
    assert fingerprint(items)["factors"] == fingerprint(DIGITS)["factors"]
    assert fingerprint(changed(values=(tuple("abcdefghij"),))) != fingerprint(DIGITS)


@pytest.mark.parametrize("kind", ["floats", "bytes", "bits"])
def test_of_large_data_some_items_are_read_from_all_over(monkeypatch, tmp_path, kind):
    monkeypatch.setattr(content, "WHOLE", 10)
    monkeypatch.setattr(content, "SAMPLE", 50)
    pixels = (DIGITS.x * 255).astype(np.uint8)
    np.save(tmp_path / "x.npy", DIGITS.x)
    stored = {
        "floats": np.load(tmp_path / "x.npy", mmap_mode="r"),
        "bytes": pixels,
        "bits": uw.data.Bits.pack(pixels > 128),
    }
    data = changed(x=stored[kind])
    for items, is_same in (([0], False), ([199], False), (range(100, 108), False), ([1], True)):
        x = np.array(data.x)
        x[list(items)] = 0 if x[items[0]].any() else 1
        x[list(items), 0] = 1
        other = changed(x=uw.data.Bits.pack(x) if kind == "bits" else x)
        assert (fingerprint(other) == fingerprint(data)) == is_same


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": changed(x=one_other(DIGITS.x, 0))}, "the content of the training items differs"),
        (
            {"data": changed(factors=one_other(DIGITS.factors, -1))},
            "the content of the training factors differs",
        ),
        ({"test": changed(x=one_other(DIGITS.x, 0))}, "the content of the test items differs"),
        ({"data": DIGITS.subset(range(199))}, "there were 200 items, now 199"),
    ],
)
def test_a_run_does_not_go_on_with_other_data(tmp_path, changes, said):
    recipe = tiny(data=DIGITS, test=DIGITS, epochs=1)
    run = {"out": tmp_path / "run", "evaluate": False, "quiet": True}
    uw.fit(recipe, **run)
    with pytest.raises(ValueError, match=f"trained on other data than there are now: {said}"):
        uw.fit(dataclasses.replace(recipe, **changes), **run, resume=True)
    uw.fit(dataclasses.replace(recipe, data=changed(x=DIGITS.x.copy())), **run, resume=True)


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    run = {"out": tmp_path, "evaluate": False, "quiet": True}
    uw.fit(tiny(epochs=1), **run)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["data"]["content"], config["cwd"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    uw.fit(tiny(epochs=2), **run, resume=True)


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the command in this process: what it said, with its exit code in front."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["unweave", *map(str, words)])
        try:
            cli.main()
            code = 0
        except SystemExit as left:
            code = left.code or 0
        out, err = capsys.readouterr()
        return f"{code}: {out}{err}"

    return run


@pytest.mark.slow
def test_relative_paths_work_from_elsewhere_and_a_changed_file_is_named(
    tmp_path, monkeypatch, command
):
    """A run is evaluated and resumed from another folder, until one of its images changes."""
    from PIL import Image

    home, away = tmp_path / "home", tmp_path / "away"
    (home / "pics").mkdir(parents=True)
    away.mkdir()
    for i, x in enumerate(DIGITS.x[:40]):
        Image.fromarray((255 * x).astype("uint8")).save(home / "pics" / f"{i:02}.png")
        os.utime(home / "pics" / f"{i:02}.png", (1e9, 1e9))
    monkeypatch.chdir(home)
    flags = ("--epochs", 1, "--batch", 8, "--latents", 2, "--net", "mlp")
    assert command("train", "own", "--data", "pics", *flags, "--out", "run").startswith("0: ")
    monkeypatch.chdir(away)
    for word in ("evaluate", "resume"):
        said = command(word, home / "run")
        assert said.startswith("0: "), said
    for picture in ("03.png", "11.png"):
        Image.new("L", (8, 8), 200).save(home / "pics" / picture)
        os.utime(home / "pics" / picture, (time.time() + 60, time.time() + 60))
    for word in ("evaluate", "resume"):
        said = command(word, home / "run")
        assert said.startswith("1: "), said
        assert "trained on other data than there are now: the content of the " in said
        assert "(changed since it began: pics/03.png, pics/11.png)" in said
