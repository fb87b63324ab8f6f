"""Nothing is lost and nothing damaged is believed: replaced runs, checksums, locks, signals."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from support.training import bits, environment, interrupting, tiny

import unweave as uw
from unweave.runs.files import write_json
from unweave.runs.kinds import claim, kind_of
from unweave.runs.lock import held
from unweave.studies.child import is_finished
from unweave.training import checkpoints, loop, overwrite
from unweave.training.checkpoints import load_checkpoint
from unweave.training.loop import Interrupted
from unweave.training.trainer import Trainer


def fit(recipe, folder, **options):
    return uw.fit(recipe, folder, evaluate=False, quiet=True, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of another seed, to be replaced."""
    folder = tmp_path_factory.mktemp("old") / "run"
    fit(tiny(seed=5), folder)
    return folder


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference") / "run"
    fit(tiny(), folder)
    return bits(folder)


def copied(folder, place):
    return shutil.copytree(folder, place / "run")


# -- a run that replaces another -------------------------------------------------------------------


def test_a_run_is_not_replaced_before_the_new_one_has_a_checkpoint(tmp_path, trained, monkeypatch):
    run = copied(trained, tmp_path)
    before = bits(run)

    def broken(self, items):
        raise MemoryError("no memory left")

    monkeypatch.setattr(Trainer, "one_step", broken)
    with pytest.raises(MemoryError):
        fit(tiny(), run, overwrite=True)
    assert bits(run) == before
    monkeypatch.undo()
    with interrupting(2), pytest.raises(Interrupted):
        fit(tiny(), run, overwrite=True)
    assert not overwrite.aside(run).exists()
    assert load_checkpoint(run)["step"] == 2
    assert not (run / "model.safetensors").exists()


@pytest.mark.parametrize("moves", range(4))
def test_an_exchange_that_was_killed_is_completed(tmp_path, trained, reference, monkeypatch, moves):
    """Whatever the number of files that were moved before."""
    run = copied(trained, tmp_path)
    left = [moves]
    plain = shutil.move

    def move(source, target):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        plain(source, target)

    monkeypatch.setattr(overwrite.shutil, "move", move)
    with pytest.raises(KeyboardInterrupt):
        fit(tiny(), run, overwrite=True)
    monkeypatch.undo()
    fit(tiny(), run, resume=True)
    assert bits(run) == reference
    assert not overwrite.aside(run).exists()


def test_a_killed_exchange_is_completed_before_the_config_is_read(tmp_path, trained):
    run = copied(trained, tmp_path)
    shutil.copytree(trained, overwrite.aside(run))
    config = json.loads((run / "config.json").read_text())
    write_json(overwrite.aside(run) / "config.json", config | {"seed": 77})
    write_json(overwrite.aside(run) / overwrite.MARK, ["config.json"])
    with held(run):
        overwrite.recover(run)  # another process is at it
    assert json.loads((run / "config.json").read_text())["seed"] == 5
    overwrite.recover(run)
    assert json.loads((run / "config.json").read_text())["seed"] == 77


def test_a_step_that_is_saved_again_stays_good_until_it_is_replaced(tmp_path, monkeypatch):
    run = tmp_path / "run"
    with interrupting(7), pytest.raises(Interrupted):
        fit(tiny(), run)
    trainer = Trainer(tiny())
    trainer.restore(load_checkpoint(run))

    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "replacing", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save_checkpoint(run, trainer)
    assert load_checkpoint(run)["step"] == 7


def test_old_checkpoints_on_another_disk_do_not_come_back(tmp_path, trained):
    run = copied(trained, tmp_path)
    shutil.move(run / "checkpoints", tmp_path / "scratch")
    (run / "checkpoints").symlink_to(tmp_path / "scratch")
    with interrupting(7), pytest.raises(Interrupted):
        fit(tiny(), run, overwrite=True)
    assert load_checkpoint(run)["step"] == 7
    assert sorted(path.stem for path in (tmp_path / "scratch").glob("*.pt")) == [
        "000000005",
        "000000007",
    ]


def test_drafts_of_a_killed_process_are_no_content(tmp_path, reference):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".config.json.123.part").write_text("{")
    fit(tiny(), run)
    assert bits(run) == reference
    assert not list(run.glob(".*.part"))


def test_drafts_of_others_are_left_alone(tmp_path):
    (tmp_path / "film").mkdir()
    (tmp_path / "film" / ".download.part").write_text("mine")
    with pytest.raises(FileNotFoundError):
        fit(tiny(), tmp_path, resume=True)
    assert (tmp_path / "film" / ".download.part").read_text() == "mine"


# -- damage ----------------------------------------------------------------------------------------


def flipped(path, share):
    """Turn one bit of a file round."""
    content = bytearray(path.read_bytes())
    content[int(share * (len(content) - 1))] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_a_flipped_bit_is_seen(tmp_path, trained, reference, share):
    run = tmp_path / "run"
    with interrupting(13), pytest.raises(Interrupted):
        fit(tiny(), run)
    flipped(max((run / "checkpoints").glob("*.pt")), share)
    assert load_checkpoint(run)["step"] == 10
    fit(tiny(), run, resume=True)
    assert bits(run) == reference
    flipped(run / "model.safetensors", share)
    with pytest.raises(ValueError, match="damaged"):
        uw.load(run)


def test_a_checkpoint_of_another_run_is_not_taken(tmp_path, trained):
    run = tmp_path / "run"
    with interrupting(7), pytest.raises(Interrupted):
        fit(tiny(), run)
    for path in (trained / "checkpoints").iterdir():
        shutil.copy(path, run / "checkpoints" / path.name)
    assert load_checkpoint(run)["step"] == 7


# -- locks and folders -----------------------------------------------------------------------------


def test_one_process_works_on_a_run(tmp_path, trained):
    run = copied(trained, tmp_path)
    said = rf"being worked on by process {os.getpid()} of .*: wait for it, stop it, or choose"
    with held(run), pytest.raises(BlockingIOError, match=said):
        fit(tiny(seed=5), run, resume=True)
    fit(tiny(seed=5), run, resume=True)


def test_each_command_writes_into_its_own_kind(tmp_path, trained):
    assert kind_of(trained) == "run"
    with pytest.raises(FileExistsError, match="holds a run, which is left alone: choose another"):
        claim(trained, "score card")
    (tmp_path / "score.html").write_text("…")
    assert kind_of(tmp_path) == "score card"
    claim(tmp_path, "score card")
    claim(tmp_path / "new", "score card")
    with pytest.raises(FileExistsError, match="holds a score card"):
        claim(tmp_path, "study")
    (tmp_path / "score.html").rename(tmp_path / "scores.json")  # killed before its page
    claim(tmp_path, "score card")
    (tmp_path / "scores.json").rename(tmp_path / "thesis.tex")
    with pytest.raises(FileExistsError, match="files that are no unweave score card"):
        claim(tmp_path, "score card")


@pytest.mark.parametrize(
    ("scores", "page", "finished"),
    [
        ({"test": {}}, True, True),
        ({"test": {}}, False, False),
        (None, True, False),
        ({"skipped": {"everything after it": "Ctrl-C"}}, True, False),
    ],
)
def test_a_run_is_finished_with_its_page(tmp_path, scores, page, finished):
    (tmp_path / "scores.json").write_text("{" if scores is None else json.dumps(scores))
    if page:
        (tmp_path / "report.html").write_text("…")
    assert is_finished(tmp_path) is finished


# -- signals and time ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_schedulers_signal_saves_the_state(tmp_path, reference, monkeypatch, number):
    plain = Trainer.one_step

    def one_step(self, items):
        plain(self, items)
        if self.step == 8:
            signal.raise_signal(number)

    monkeypatch.setattr(Trainer, "one_step", one_step)
    with pytest.raises(Interrupted, match="stopped at step 8 and saved"):
        fit(tiny(), tmp_path / "run")
    monkeypatch.undo()
    fit(tiny(), tmp_path / "run", resume=True)
    assert bits(tmp_path / "run") == reference


@pytest.mark.slow
def test_under_nohup_a_closed_terminal_ends_nothing(tmp_path):
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from unweave.training.loop import _interruptible\n"
        "with _interruptible() as asked:\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "    assert not asked()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(), timeout=60)


def test_checkpoints_are_written_within_an_epoch_as_time_passes(tmp_path, reference, monkeypatch):
    monkeypatch.setattr(loop, "MINUTE", -1.0)  # each step is late
    seen = []
    monkeypatch.setattr(loop, "save_checkpoint", lambda _, trainer: seen.append(trainer.step))
    fit(tiny(), tmp_path / "run")
    assert seen == list(range(1, 16))
    assert bits(tmp_path / "run") == reference
