"""Training: an interrupted run equals an uninterrupted one bit for bit, and loses nothing.

Run as a program, this file trains in child processes and kills each at one moment (see `MOMENTS`).
"""

import dataclasses
import errno
import io
import json
import os
import pathlib
import random
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from support.training import (
    DIGITS,
    STEPS,
    at_step,
    bits,
    die,
    environment,
    interrupting,
    model,
    tiny,
)
from torch import nn

import unweave as uw
from unweave import run
from unweave.data import Data
from unweave.run import fit
from unweave.runs import artifact
from unweave.runs import files as disk
from unweave.runs.files import read_lines
from unweave.training import loop, settings
from unweave.training.checkpoints import load_checkpoint
from unweave.training.faults import NonFinite
from unweave.training.loop import Interrupted
from unweave.training.trainer import Trainer, trained


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def warmed_up(step):
    return uw.beta_vae(min(1.0, step / 10))


def worse_after_two_epochs(step):
    """The same gradients' directions, but from the third epoch on a larger loss."""
    return (1.0 if step <= 2 * STEPS else 10.0) * uw.elbo


def with_missing_labels():
    data = DIGITS.subset(range(200))
    factors = np.where(np.arange(200)[:, None] % 4 == 0, data.factors, -1)
    return tiny(
        data=dataclasses.replace(data, factors=factors),
        objective=uw.elbo + 10 * uw.label,
        labels={"y": "digit"},
    )


RECIPES = {
    "plain": tiny,
    "schedule": lambda: tiny(objective=warmed_up),
    "early": lambda: tiny(objective=worse_after_two_epochs, patience=3, epochs=20),
    "labels": with_missing_labels,
    "stratified": lambda: tiny(weights=uw.stratified, held_out=0),
}


# -- bits ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Uninterrupted runs, each made once."""
    torch.set_num_threads(1)
    made = {}

    def run(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp("reference") / kind
            fit(RECIPES[kind](), folder, evaluate=False, quiet=True)
            made[kind] = bits(folder)
        return made[kind]

    return run


# -- kill -9 ---------------------------------------------------------------------------------------


def halfway(name, turn=1):
    """Die with half of a file on disk, the `turn`-th time that a file of this name is written."""
    seen = []

    def broken(write):
        def half(self, content, *args, **kwargs):
            if name in self.name:
                seen.append(self)
                if len(seen) == turn:
                    write(
                        self,
                        bytes(content)[: len(content) // 2]
                        if write is plain_bytes
                        else content[: len(content) // 2],
                    )
                    die()
            return write(self, content, *args, **kwargs)

        return half

    plain_bytes = pathlib.Path.write_bytes
    pathlib.Path.write_bytes = broken(pathlib.Path.write_bytes)
    pathlib.Path.write_text = broken(pathlib.Path.write_text)


def around_replacing(name, turn, *, before):
    """Die just before or after a whole file takes its place."""
    plain, seen = os.replace, []

    def replace(source, target):
        if name in str(target):
            seen.append(target)
            if len(seen) == turn and before:
                die()
        plain(source, target)
        if len(seen) == turn:
            die()

    os.replace = replace


def halfway_through_the_log(turn):
    plain, seen = disk.append, []

    def append(path, text):
        seen.append(path)
        if len(seen) == turn:
            plain(path, text[: len(text) // 2])
            die()
        plain(path, text)

    loop.append = append


MOMENTS = {
    "before-the-first-step": ("plain", lambda: at_step(0)),
    "in-the-first-epoch": ("plain", lambda: at_step(3)),
    "in-the-middle-of-an-epoch": ("plain", lambda: at_step(8)),
    "in-the-first-checkpoint": ("plain", lambda: halfway(".pt", 1)),
    "in-the-second-checkpoint": ("plain", lambda: halfway(".pt", 2)),
    "before-a-checkpoint-is-in-place": ("plain", lambda: around_replacing(".pt", 2, before=True)),
    "after-a-checkpoint-is-in-place": ("plain", lambda: around_replacing(".pt", 3, before=False)),
    "in-a-line-of-the-log": ("plain", lambda: halfway_through_the_log(2)),
    "in-the-model": ("plain", lambda: halfway("model.safetensors")),
    "in-the-final-config": ("plain", lambda: halfway("config.json", 2)),
    "schedule": ("schedule", lambda: at_step(12)),
    "early-while-good": ("early", lambda: at_step(8)),
    "early-while-stale": ("early", lambda: at_step(21)),
    "early-when-done": ("early", lambda: halfway("model.safetensors")),
    "labels": ("labels", lambda: at_step(9)),
    "stratified": ("stratified", lambda: at_step(10)),
}


def kill_one_run_at_each_moment(root):
    torch.set_num_threads(1)
    Trainer(tiny())  # the optimiser's imports, once for all children
    for name, (kind, arrange) in MOMENTS.items():
        child = os.fork()
        if not child:
            try:
                arrange()
                fit(RECIPES[kind](), Path(root, name), evaluate=False, quiet=True)
            finally:
                os._exit(1)  # it should not have come so far
        assert os.waitpid(child, 0)[1] == signal.SIGKILL, name


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    root = tmp_path_factory.mktemp("killed")
    subprocess.run(
        [sys.executable, __file__, str(root)], check=True, env=environment(), timeout=120
    )
    return root


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_and_resumed_to_the_same_bits(killed, reference, moment):
    kind, _ = MOMENTS[moment]
    fit(RECIPES[kind](), killed / moment, resume=True, evaluate=False, quiet=True)
    assert bits(killed / moment) == reference(kind)
    assert not [*(killed / moment).rglob("*.part")]  # drafts of the killed process are swept up


@pytest.mark.slow
def test_the_command_killed_and_interrupted_resumes_to_the_same_bits(tmp_path):
    """kill -9, then Ctrl-C, then to the end."""
    words = [sys.executable, "-c", "from unweave.cli import main; main()"]
    folder = tmp_path / "a run"

    def start(*args):
        return subprocess.Popen(
            [*words, *args], env=environment(), stderr=subprocess.PIPE, text=True
        )

    def wait_for(epochs):
        end = time.monotonic() + 60
        while len(read_lines(folder / "metrics.jsonl")) < 2 * epochs:
            assert time.monotonic() < end
            time.sleep(0.01)

    process = start("train", "digits-hfvae", "--epochs", "40", "--out", str(folder))
    wait_for(2)
    process.kill()
    assert process.communicate() is not None
    assert process.returncode == -signal.SIGKILL

    process = start("resume", str(folder))
    wait_for(len(read_lines(folder / "metrics.jsonl")) // 2 + 3)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in said
    *_, last = said.splitlines()
    assert last.startswith("stopped at step ")
    command = shlex.split(last.partition("go on with: ")[2])
    assert command == ["unweave", "resume", str(folder)]
    assert load_checkpoint(folder)["step"] == int(last.split()[3])

    for place in (folder, tmp_path / "whole"):
        fit(
            uw.recipes.digits_hfvae(epochs=40),
            place,
            resume=place == folder,
            evaluate=False,
            quiet=True,
        )
    assert bits(folder) == bits(tmp_path / "whole")


# -- interrupted and damaged, in one process -------------------------------------------------------


@pytest.mark.parametrize("step", [1, 7, 10])
def test_an_interrupt_saves_in_the_middle_of_an_epoch(tmp_path, reference, step):
    before = signal.getsignal(signal.SIGINT)
    with (
        interrupting(step),
        pytest.raises(Interrupted, match=rf"stopped at step {step} and saved; go on with: unwea"),
    ):
        fit(tiny(), tmp_path / "run", evaluate=False, quiet=True)
    assert signal.getsignal(signal.SIGINT) == before
    assert load_checkpoint(tmp_path / "run")["step"] == step
    assert not (tmp_path / "run" / "model.safetensors").exists()
    fit(tiny(), tmp_path / "run", resume=True, evaluate=False, quiet=True)
    assert bits(tmp_path / "run") == reference("plain")


def test_a_second_interrupt_is_obeyed_at_once(tmp_path, monkeypatch, reference):
    """During the write that the first one asked for, say: the checkpoint before stays the last."""

    def saving(folder, trainer, plain=loop.save_checkpoint):
        if trainer.step == 8:
            signal.raise_signal(signal.SIGINT)
        return plain(folder, trainer)

    monkeypatch.setattr(loop, "save_checkpoint", saving)
    with interrupting(8), pytest.raises(KeyboardInterrupt):
        fit(tiny(), tmp_path / "run", evaluate=False, quiet=True)
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "run")["step"] == 5
    fit(tiny(), tmp_path / "run", resume=True, evaluate=False, quiet=True)
    assert bits(tmp_path / "run") == reference("plain")


def test_interrupted_after_every_step(tmp_path, reference):
    for step in range(1, 14):
        with interrupting(step), pytest.raises(Interrupted):
            fit(tiny(), tmp_path / "run", resume=step > 1, evaluate=False, quiet=True)
    fit(tiny(), tmp_path / "run", resume=True, evaluate=False, quiet=True)
    assert bits(tmp_path / "run") == reference("plain")


@pytest.mark.parametrize("kind", ["plain", "early"])
def test_a_finished_run_resumed_is_the_same_run(tmp_path, reference, kind):
    """The same model in memory, too: with early stopping, the best weights and not the last."""
    first = fit(RECIPES[kind](), tmp_path / "run", evaluate=False, quiet=True)
    again = fit(RECIPES[kind](), tmp_path / "run", resume=True, evaluate=False, quiet=True)
    assert bits(tmp_path / "run") == reference(kind)
    same_weights(first.model, again.model)
    same_weights(first.model, uw.load(tmp_path / "run", model=model()))
    assert first.history == again.history


def test_a_finished_run_without_checkpoints_is_left_alone(tmp_path):
    fit(tiny(epochs=1), tmp_path / "run", evaluate=False, quiet=True)
    before = bits(tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(
        ValueError, match=r"finished model without its checkpoints.*unweave evaluate"
    ):
        fit(tiny(epochs=1), tmp_path / "run", resume=True, evaluate=False, quiet=True)
    assert bits(tmp_path / "run") == before


def test_a_run_may_be_given_more_epochs(tmp_path, reference):
    fit(tiny(epochs=1), tmp_path / "run", evaluate=False, quiet=True)
    fit(tiny(), tmp_path / "run", resume=True, evaluate=False, quiet=True)
    assert bits(tmp_path / "run") == reference("plain")


def stopped_run(folder, step=13):
    """A run with checkpoints of steps 10 and `step`."""
    with interrupting(step), pytest.raises(Interrupted):
        fit(tiny(), folder, evaluate=False, quiet=True)
    paths = sorted((folder / "checkpoints").glob("*.pt"))
    assert [path.name for path in paths] == ["000000010.pt", f"{step:09d}.pt"]
    return paths


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "cut-to-half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(random.Random(0).randbytes(5000)),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a-list": lambda path: torch.save([1, 2], path),
    "other-format": lambda path: torch.save({"format": artifact.FORMAT + 1}, path),
    "a-program": lambda path: torch.save(print, path),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over(tmp_path, reference, damage):
    _, last = stopped_run(tmp_path / "run")
    DAMAGE[damage](last)
    assert load_checkpoint(tmp_path / "run")["step"] == 10
    fit(tiny(), tmp_path / "run", resume=True, evaluate=False, quiet=True)
    assert bits(tmp_path / "run") == reference("plain")


@pytest.mark.parametrize("damage", DAMAGE)
def test_if_all_checkpoints_are_damaged_nothing_is_touched(tmp_path, damage):
    for path in stopped_run(tmp_path / "run"):
        DAMAGE[damage](path)
    log = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(
        ValueError,
        match=r"no checkpoint in .*checkpoints can be read \(000000013.pt, 000000010.pt\)",
    ):
        fit(tiny(), tmp_path / "run", resume=True, evaluate=False, quiet=True)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == log


def test_a_log_with_a_cut_or_garbled_end(tmp_path, reference):
    stopped_run(tmp_path / "run")
    with open(tmp_path / "run" / "metrics.jsonl", "ab") as log:
        log.write(b'{"split": "train", "step": 15, "epo\xff\xfe\0\0')
    assert [line["step"] for line in read_lines(tmp_path / "run" / "metrics.jsonl")] == [
        5,
        5,
        10,
        10,
    ]
    fit(tiny(), tmp_path / "run", resume=True, evaluate=False, quiet=True)
    assert bits(tmp_path / "run") == reference("plain")


# -- the bits depend on the seed alone -------------------------------------------------------------


def same_weights(left, right):
    for name, weight in left.state_dict().items():
        assert torch.equal(weight, right.state_dict()[name]), name


def test_the_seed_and_nothing_else_decides(tmp_path, reference):
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    fit(tiny(), tmp_path / "same", evaluate=False, quiet=True)
    fit(tiny(seed=1), tmp_path / "other", evaluate=False, quiet=True)
    assert bits(tmp_path / "same") == reference("plain")
    assert bits(tmp_path / "other")[0] != reference("plain")[0]


@pytest.mark.slow
def test_global_random_states_are_untouched(tmp_path):
    """By training, evaluation and the report."""
    torch.manual_seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    fit(tiny(epochs=1, test=DIGITS.subset(range(200, 260))), tmp_path / "run", quiet=True)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert random.getstate() == states[2]


def test_validation_and_logging_draw_no_noise_of_training(tmp_path, monkeypatch):
    """Held-out items change which items are trained on, and nothing else."""
    whole = DIGITS.subset(range(200))
    rest, _ = whole.split(40)
    validated = fit(
        tiny(data=whole, held_out=40), tmp_path / "validated", evaluate=False, quiet=True
    )
    plain = fit(tiny(data=rest, held_out=0), tmp_path / "plain", evaluate=False, quiet=True)
    same_weights(validated.model, plain.model)
    logs = [
        [
            {k: v for k, v in line.items() if k != "seconds"}
            for line in run.history
            if line["split"] == "train"
        ]
        for run in (validated, plain)
    ]
    assert logs[0] == logs[1]
    assert {line["split"] for line in validated.history} == {"train", "valid"}

    monkeypatch.setattr(Trainer, "terms", lambda self, d: {})
    same_weights(fit(tiny(), tmp_path / "unlogged", evaluate=False, quiet=True).model, plain.model)


def test_the_order_is_a_function_of_seed_and_epoch():
    trainer = Trainer(tiny())
    orders = {
        (seed, epoch): Trainer(tiny(seed=seed)).epoch_order(epoch)
        for seed in range(3)
        for epoch in range(3)
    }
    for (seed, epoch), order in orders.items():
        assert order.shape == (STEPS, 32)
        assert sorted(order.flatten().tolist()) == list(range(160))  # each item once
        for other, its in orders.items():
            assert torch.equal(order, its) == ((seed, epoch) == other)
    torch.manual_seed(7)
    trainer.step = 12
    assert torch.equal(trainer.epoch_order(2), orders[0, 2])


@pytest.mark.parametrize(
    ("objective", "batch", "logged", "every"),
    [
        (uw.hfvae(1, 12, 4), 4, 1000, 8),  # the objective needs log q(z) anyway
        (uw.elbo, 4, 1000, 16),
        (uw.elbo, 4, 10, 25),  # an epoch of 250 steps has 10 of them
        (uw.elbo, 250, 1000, 4),  # an epoch of 4 steps has one of them
        (uw.elbo, 4, 0, 250),
    ],
)
def test_logs_are_far_enough_apart_and_one_an_epoch(objective, batch, logged, every):
    data = uw.data.Data(np.zeros((1000, 2), np.float32), np.zeros((1000, 0), int), (), (), (), "x")
    recipe = tiny(data=data, held_out=0, objective=objective, batch=batch, logged=logged)
    assert recipe.log_every == every


def test_the_log_holds_the_terms_and_rising_times(tmp_path):
    run = fit(tiny(), tmp_path / "run", evaluate=False, quiet=True)
    lines = [line for line in run.history if line["split"] == "train"]
    assert [(line["step"], line["epoch"]) for line in lines] == [(5, 1), (10, 2), (15, 3)]
    for line in run.history:
        assert {"loss", "elbo", "recon", "mi", "tc[0]", "tc[1]", "kl[2]"} < line.keys()
        loss = -line["recon"] + line["mi"] + 12 * line["tc[0]"] + 4 * line["tc[1]"] + line["kl[2]"]
        assert line["loss"] == pytest.approx(
            loss, abs=0.5
        )  # the loss integrates KL(q(z|x) ‖ p(z)), the terms sample it
    seconds = [line["seconds"] for line in lines]
    assert 0 < seconds[0] < seconds[1] < seconds[2] < 60
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["epochs"] == 3
    assert config["seconds"] == pytest.approx(seconds[-1], abs=0.1)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_terminal_shows_a_bar_and_the_terms_below(tmp_path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fit(tiny(), tmp_path / "run", evaluate=False)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).replace("\r", "\n")
    bar, *below = shown[shown.rindex("mine ━") :].splitlines()
    assert re.search(r"^mine ━+ epoch 3.0/3 [\d,]+ items/s ", bar)  # the last state is the end
    for name in ("loss", "elbo", "recon", "mi", "tc[0]", "tc[1]", "kl[2]", "held-out loss"):
        assert name in " ".join(below)


def test_elsewhere_a_line_an_epoch(tmp_path, monkeypatch):
    lines = io.StringIO()
    monkeypatch.setattr(sys, "stderr", lines)
    fit(tiny(), tmp_path / "run", evaluate=False)
    text = lines.getvalue()
    assert re.findall(
        r"^epoch (\d/\d)  loss \d.*  held-out loss \d.* items/s  \d+ s left$", text, re.MULTILINE
    ) == [*("1/3", "2/3", "3/3")]
    assert "\x1b" not in text


def test_held_out_means_weigh_every_item(monkeypatch):
    """Batches of 32 and 8: not the mean of two means."""
    trainer = Trainer(tiny())
    seen = []
    monkeypatch.setattr(
        Trainer,
        "densities",
        lambda self, q, p, plain=Trainer.densities: seen.append(plain(self, q, p)) or seen[-1],
    )
    means = trainer.validate(trainer.held_out)
    assert [len(d.q["z"].value) for d in seen] == [32, 8]
    items = torch.cat([d.score(uw.recon) for d in seen])
    assert means["recon"] == pytest.approx(float(items.mean()), rel=1e-5)
    assert trainer.model.training


# -- early stopping, schedules, labels -------------------------------------------------------------


def test_early_stopping_keeps_the_best_weights(tmp_path):
    early = fit(RECIPES["early"](), tmp_path / "early", evaluate=False, quiet=True)
    two = fit(
        tiny(objective=worse_after_two_epochs, epochs=2),
        tmp_path / "two",
        evaluate=False,
        quiet=True,
    )
    assert [line["epoch"] for line in early.history if line["split"] == "valid"] == [1, 2, 3, 4, 5]
    same_weights(early.model, two.model)
    assert (tmp_path / "early" / "model.safetensors").read_bytes() == (
        tmp_path / "two" / "model.safetensors"
    ).read_bytes()


def test_a_schedule_is_asked_at_each_step(tmp_path):
    asked = []
    recipe = tiny(
        objective=lambda step: asked.append(step) or warmed_up(step), held_out=0, epochs=2
    )
    fit(recipe, tmp_path / "run", evaluate=False, quiet=True)
    assert [step for step in asked if step] == list(range(1, 12))
    assert (
        "(at the first step)"
        in json.loads((tmp_path / "run" / "config.json").read_text())["objective"]
    )


@pytest.mark.slow
def test_labels_train_the_encoder(tmp_path):
    """A quarter of the labels is given; y learns to name the digits of new items."""
    recipe = dataclasses.replace(
        with_missing_labels(), epochs=60, lr=1e-2, test=DIGITS.subset(range(200, 500))
    )
    run = fit(recipe, tmp_path / "run", quiet=True)
    label = [line["label"] for line in run.history if line["split"] == "train"]
    assert label[-1] > label[0] + 0.3  # nats per item, of which a quarter is labelled
    guessed = run.model.encode(recipe.test.x)[:, 0].long().numpy()
    assert (guessed == recipe.test.factors[:, 0]).mean() > 0.5  # chance is 0.1
    assert len(run.scores["I(y;z)"]["total"]) == 5
    json.loads((tmp_path / "run" / "scores.json").read_text(), parse_constant=pytest.fail)


# -- NaN -------------------------------------------------------------------------------------------

MARK = 7 / 8
"""A pixel that no digit has (they are sixteenths, but this corner is always 0)."""


class Fragile(nn.Module):
    """Its scale is NaN for items with a marked corner."""

    def __init__(self):
        super().__init__()
        self.z = nn.Linear(64, 4)

    def forward(self, x):
        q = uw.Trace()
        h = self.z(x.flatten(1))
        scale = torch.where(x[:, :1, 0] == MARK, torch.nan, h[:, 2:].exp())
        q.normal(h[:, :2], scale, name="z")
        return q


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = nn.Linear(2, 64)

    def forward(self, x, q):
        p = uw.Trace()
        p.bernoulli(
            self.x(p.normal(0.0, 1.0, value=q["z"], name="z")).unflatten(-1, (8, 8)),
            value=x,
            name="x",
        )
        return p


def fragile(**changes):
    data = DIGITS.subset(range(200))  # a copy
    recipe = tiny(
        data=data,
        model=lambda: uw.models.Model(Fragile(), Decoder()),
        objective=uw.elbo,
        groups=None,
    )
    return dataclasses.replace(recipe, **changes)


def place(recipe, item, *, held_out=False):
    """The place in the whole of item number `item` of a part."""
    part = recipe.parts()[held_out]
    return next(i for i, x in enumerate(recipe.data.x) if np.array_equal(x, part.x[item]))


@pytest.mark.parametrize("part", ["training", "held-out"])
def test_nan_names_the_site_and_the_items(tmp_path, part):
    recipe = fragile()
    recipe.data.x[place(recipe, 17, held_out=part == "held-out"), 0, 0] = MARK
    bad = rf"for items 17 of the {part} part"
    said = rf"at step \d+: site 'z' of q has a value that is NaN or infinite, {bad}\. There is"
    with pytest.raises(NonFinite, match=said):
        fit(recipe, tmp_path / "run", evaluate=False, quiet=True)


def test_nan_in_the_data_names_the_items(tmp_path):
    """`Data` refuses it, but its arrays can be written to."""
    recipe = fragile(held_out=0, batch=200)
    recipe.data.x[[17, 19], 0, 0] = np.nan
    with pytest.raises(
        NonFinite,
        match=r"at step 0: the data has NaN .* in items (17, 19|19, 17) of the training part",
    ):
        fit(recipe, tmp_path / "run", evaluate=False, quiet=True)


class ReadSeldom(Trainer):
    def __init__(self, *args):
        super().__init__(*args)
        self.check_every = 50  # as on an accelerator


@pytest.mark.parametrize("trainer", [Trainer, ReadSeldom])
def test_nan_names_the_last_good_checkpoint(tmp_path, monkeypatch, trainer):
    """However seldom losses are read, the message is that of the step and items where it began."""
    recipe = fragile(epochs=1)
    fit(recipe, tmp_path / "run", evaluate=False, quiet=True)
    recipe.data.x[place(recipe, 17), 0, 0] = MARK
    # The data are changed on purpose.
    monkeypatch.setattr(settings.content, "check", lambda *_: None)
    monkeypatch.setattr(run, "Trainer", trainer)
    monkeypatch.setattr(loop, "Trainer", trainer)
    bad = 5 + Trainer(recipe).epoch_order(1).eq(17).any(1).int().argmax().item()
    last = r"The last good checkpoint is .*000000005\.pt"
    said = rf"at step {bad}: site 'z' .* items 17 of the training part\. {last}"
    for _ in range(2):  # a second try says the same
        with pytest.raises(NonFinite, match=said):
            fit(
                dataclasses.replace(recipe, epochs=3),
                tmp_path / "run",
                resume=True,
                evaluate=False,
                quiet=True,
            )
    assert load_checkpoint(tmp_path / "run")["step"] == 5


def test_a_learning_rate_that_explodes_names_the_weights(tmp_path):
    with pytest.raises(
        NonFinite,
        match=r"weights encoder.h.0.weight, .* had become NaN .* lower learning rate than 1e\+39",
    ):
        fit(tiny(lr=1e39), tmp_path / "infinite", evaluate=False, quiet=True)
    with pytest.raises(
        NonFinite, match=r"site .* the weights .* have grown to \de\+\d+: try a lower learning rate"
    ):
        fit(tiny(lr=1e20), tmp_path / "large", evaluate=False, quiet=True)


def test_weights_that_break_in_the_last_step_are_never_saved(tmp_path):
    """The loss was finite; the gradient was not."""

    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * torch.nan

    class Breaking(Decoder):
        def forward(self, x, q):
            p = super().forward(x, q)
            p.factor(Steep.apply(self.x.weight.sum()) * torch.zeros(len(x)), name="steep")
            return p

    recipe = fragile(model=lambda: uw.models.Model(Fragile(), Breaking()), batch=160)
    with pytest.raises(
        NonFinite,
        match=r"weights became NaN or infinite by step 1|weights decoder.x.weight had become NaN",
    ):
        fit(recipe, tmp_path / "run", evaluate=False, quiet=True)
    assert load_checkpoint(tmp_path / "run") is None


# -- refused before anything can be lost -----------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 161}, "batch=161, but the training part has 160 items: expected 2 to 160"),
        ({"batch": 1}, "batch=1, .* expected 2 to 160"),
        ({"held_out": 1}, "held_out=1 of 200 items"),
        ({"held_out": 199}, "held_out=199 of 200 items"),
        ({"held_out": 0, "patience": 3}, "patience=3 needs held-out items"),
        (
            {"labels": {"y": "digits"}},
            "labels name the factor 'digits', but the factors of digits are: 'digit'",
        ),
    ],
)
def test_what_cannot_be_trained_touches_no_folder(tmp_path, changes, said):
    fit(tiny(epochs=1), tmp_path / "run", evaluate=False, quiet=True)
    before = bits(tmp_path / "run")
    for folder in ("run", "new"):
        with pytest.raises(ValueError, match=said):
            fit(tiny(**changes), tmp_path / folder, overwrite=True, evaluate=False, quiet=True)
    assert bits(tmp_path / "run") == before
    assert not (tmp_path / "new").exists()


def test_unknown_devices(tmp_path):
    with pytest.raises(ValueError, match="device 'gpu' is unknown: expected cpu, cuda"):
        fit(tiny(), tmp_path / "run", device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device 'cuda': torch finds no CUDA device"):
            fit(tiny(), tmp_path / "run", device="cuda")


def test_an_existing_run_is_replaced_only_if_asked(tmp_path, reference):
    folder = tmp_path / "run"
    fit(tiny(seed=5), folder, evaluate=False, quiet=True)
    (folder / "notes.txt").write_text("mine")
    before = bits(folder)
    with pytest.raises(
        FileExistsError,
        match=r"go on with `unweave resume`, replace it with --overwrite, or choose",
    ):
        fit(tiny(), folder, evaluate=False, quiet=True)
    assert bits(folder) == before
    fit(tiny(), folder, overwrite=True, evaluate=False, quiet=True)
    assert bits(folder) == reference("plain")
    assert (folder / "notes.txt").read_text() == "mine"


FOREIGN = {
    "no-config": {"thesis.tex": "…"},
    "another-library": {"config.json": '{"model_type": "bert"}', "model.safetensors": "…"},
    "not-json": {"config.json": "{"},
    "a-list": {"config.json": "[]"},
    "a-saved-model": {"config.json": '{"format": 1, "model": {}}', "model.safetensors": "…"},
}


@pytest.mark.parametrize("files", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_folder_is_never_replaced(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(
        FileExistsError, match="no unweave run, which is left alone: choose another --out"
    ):
        fit(tiny(), tmp_path, overwrite=True, evaluate=False, quiet=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


def test_a_file_or_an_empty_folder_in_the_place(tmp_path, reference):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="choose another --out"):
        fit(tiny(), tmp_path / "file", overwrite=True, evaluate=False, quiet=True)
    (tmp_path / "empty").mkdir()
    fit(tiny(), tmp_path / "empty", evaluate=False, quiet=True)
    assert bits(tmp_path / "empty") == reference("plain")


def test_a_folder_of_another_version_is_not_resumed(tmp_path):
    stopped_run(tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(
        json.dumps(config | {"format": 99, "unweave": "9.0"})
    )
    with pytest.raises(
        ValueError,
        match=r"has format 99, this version of unweave reads format 1: .*wrote it \(9.0\)",
    ):
        fit(tiny(), tmp_path / "run", resume=True, evaluate=False, quiet=True)


def test_a_run_is_resumed_as_it_was(tmp_path):
    """Also where the name is the same and only its author changed something."""
    stopped_run(tmp_path / "run")
    for changes, key in (
        ({"name": "other"}, "recipe"),
        ({"seed": 1}, "seed"),
        ({"batch": 16}, "estimator"),
        ({"lr": 1e-2}, "lr"),
        ({"objective": uw.elbo}, "objective"),
        ({"held_out": 0}, "estimator"),
        ({"model": lambda: uw.models.hfvae((8, 8), hidden=(32, 16), normals=4)}, "model"),
    ):
        with pytest.raises(ValueError, match=f"was trained with {key} = .*: resume it as it was"):
            fit(tiny(**changes), tmp_path / "run", resume=True, evaluate=False, quiet=True)
    own = tiny(model=lambda: uw.models.Model(Fragile(), Decoder()), groups=None, objective=uw.elbo)
    fit(own, tmp_path / "own", evaluate=False, quiet=True)

    class Other(Decoder):
        def __init__(self):
            super().__init__()
            self.more = nn.Linear(3, 3)

    other = dataclasses.replace(own, model=lambda: uw.models.Model(Fragile(), Other()))
    with pytest.raises(
        ValueError, match=r"(?s)checkpoint is of another model than the recipe's: .*more.weight"
    ):
        fit(other, tmp_path / "own", resume=True, evaluate=False, quiet=True)


def test_resuming_what_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config.json is missing: .* is no unweave run"):
        fit(tiny(), tmp_path / "nothing", resume=True)


# -- out of disk -----------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch, reference, turn):
    plain, seen = os.fsync, []

    def full(number):
        name = os.readlink(f"/proc/self/fd/{number}") if os.path.exists("/proc/self/fd") else ".pt"
        if ".pt" in name:
            seen.append(name)
            if len(seen) == turn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(number)

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(OSError, match=r"could not write .*\.pt: No space left on device"):
        fit(tiny(), tmp_path / "run", evaluate=False, quiet=True)
    monkeypatch.undo()
    assert not [*tmp_path.rglob("*.part")]
    last = load_checkpoint(tmp_path / "run")
    assert (last["step"] if last else 0) == STEPS * (turn - 1)
    fit(tiny(), tmp_path / "run", resume=True, evaluate=False, quiet=True)
    assert bits(tmp_path / "run") == reference("plain")


@contextmanager
def files_of_at_most(size):
    """The system enforces this limit as it does a full disk.

    It binds pytest too, whose report may go to a longer file: it ends before the test does.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_write_that_the_system_refuses(tmp_path):
    """Not simulated: torch's and safetensors' own writers would raise something else here."""
    reason = r"could not write .*000000005\.pt: File too large; what was there is untouched"
    with files_of_at_most(20_000), pytest.raises(OSError, match=reason):
        fit(tiny(), tmp_path / "run", evaluate=False, quiet=True)
    reason = r"could not write .*model\.safetensors: File too large"
    with files_of_at_most(20_000), pytest.raises(OSError, match=reason):
        uw.save(model(), tmp_path / "saved")
    written = ("*.part", "*.pt", "*.safetensors")
    assert not [path for kind in written for path in tmp_path.rglob(kind)]


def test_a_log_that_cannot_be_written(tmp_path, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(OSError, match=r"could not write .*metrics\.jsonl: No space left on device"):
        disk.append(tmp_path / "metrics.jsonl", "{}\n")


# -- one's own recipes -----------------------------------------------------------------------------


def test_a_start_is_given_once_and_leaves_the_noise_as_it_is():
    given = []

    def start(model):
        torch.rand(3)
        given.append(model)

    recipe = tiny(start=start)
    trainer = Trainer(recipe)
    trainer.run_epoch(lambda: False, lambda _: None)
    plain = Trainer(tiny())
    plain.run_epoch(lambda: False, lambda _: None)
    again = Trainer(recipe)
    again.restore(trainer.state())
    again.run_epoch(lambda: False, lambda _: None)
    assert given == [trainer.model]
    same_weights(trainer.model, plain.model)


def test_a_finish_is_given_to_the_trained_model_and_never_to_checkpoints(tmp_path):
    """A run that goes on trains on from what its steps made, and ends with one finish."""

    def finish(model):
        assert not model.training
        for weight in model.parameters():
            weight.data += 1

    plain = fit(tiny(epochs=2), tmp_path / "plain", evaluate=False, quiet=True)
    fit(tiny(epochs=1, finish=finish), tmp_path / "run", evaluate=False, quiet=True)
    longer = tiny(epochs=2, finish=finish)
    run = fit(longer, tmp_path / "run", resume=True, evaluate=False, quiet=True)
    again = fit(longer, tmp_path / "run", resume=True, evaluate=False, quiet=True)
    in_memory = trained(longer)
    for finished in (run.model, again.model, in_memory):
        weights = zip(plain.model.parameters(), finished.parameters(), strict=True)
        assert all(torch.equal(before + 1, after) for before, after in weights)
    same_weights(uw.load(tmp_path / "run"), run.model)


@pytest.mark.slow
def test_a_recipe_of_ones_own(tmp_path):
    """Other data, a model without a family: trained, evaluated, reported, loaded into its class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=120)
    x = (labels[:, None] * 0.5 + rng.random((120, 64)) * 0.5).astype(np.float32).reshape(120, 8, 8)
    data = Data(x, labels[:, None], ("side",), (2,), (("left", "right"),), "sides")

    def build():
        return uw.models.Model(Fragile(), Decoder())

    recipe = uw.Recipe("sides", data, build, uw.tc_vae(2.0), epochs=2, batch=40)
    run = uw.fit(recipe, tmp_path / "run", quiet=True)
    assert run.folder == tmp_path / "run"
    assert run.scores["units"] == ["z[0]", "z[1]"]
    assert not run.model.training
    assert {path.name for path in run.folder.iterdir()} == {
        ".lock",
        *("README.md", "checkpoints", "config.json", "evaluation.json", "evaluation.npz"),
        *("metrics.jsonl", "model.safetensors", "report.html", "scores.json"),
    }
    assert "recipe of its author's own" in (run.folder / "README.md").read_text()
    same_weights(uw.load(run.folder, model=build()), run.model)
    again = uw.fit(recipe, tmp_path / "run", resume=True, quiet=True)
    same_weights(again.model, run.model)
    assert again.scores == run.scores


if __name__ == "__main__":
    kill_one_run_at_each_moment(sys.argv[1])


def test_numbers_outside_the_likelihoods_range_are_refused_with_the_fix():
    x = np.random.default_rng(0).normal(0, 100, (40, 6)).astype(np.float32)
    data = uw.data.Data(x, np.zeros((40, 0), np.int64), (), (), (), "levels")
    model = partial(uw.models.vae, shape=(6,), hidden=(8, 8), normals=2)
    plain = uw.Recipe("r", data, model, uw.elbo, groups=("z",), batch=10, epochs=1)
    with pytest.raises(
        ValueError, match=r"levels: x goes from -\S+ to \S+, but the site 'x' is Bernoulli"
    ):
        Trainer(plain)
    fits = dataclasses.replace(plain, model=partial(model, likelihood="normal"))
    trainer = Trainer(fits)
    trainer.one_step(torch.arange(10))
    assert trainer.model.reconstruct(x).shape == x.shape
