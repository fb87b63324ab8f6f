"""The command: flags come from recipes, help is quick, errors are one message, and runs go all the
way.
"""

import dataclasses
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from support.training import bits
from typer.testing import CliRunner

import unweave as uw
from unweave import cli, recipes
from unweave.data import idx
from unweave.runs import artifact
from unweave.runs.command import command
from unweave.runs.files import read_lines


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def unweave(monkeypatch, capsys):
    """Runs the command in this process: (exit code, what it wrote, what it said of errors)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["unweave", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = left.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


# -- without torch ---------------------------------------------------------------------------------

LIGHT = [
    (["--help"], 0),
    (["--version"], 0),
    ([], 2),
    (["list"], 0),
    (["data"], 0),
    (["train", "--help"], 0),
    (["train", "mnist", "--help"], 0),
    (["train", "beta-vae", "--help"], 0),
    (["resume", "--help"], 0),
    (["no-such-command"], 2),
    (["train", "no-such-recipe"], 2),
    (["train", "digits-hfvae", "--no-such-flag", "1"], 2),
    (["train", "digits-hfvae", "--epochs", "many"], 2),
    (["train", "vae", "--data", "cats"], 2),
    (["train", "digits-hfvae", "--threads", "0"], 2),
    (["resume"], 2),
    (["bench", "everything"], 2),
    (["score", "--help"], 0),
    (["score", "codes.npy"], 2),
    (["score", "codes.npy", "factors.csv", "--level", "2"], 2),
    (["report", "no-such-run"], 1),
]
HEAVY = ("torch", "sklearn", "scipy", "matplotlib", "safetensors", "pooch")
RUNNER = f"""
import json, sys
from unweave import cli
answers = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["unweave", *words]
    code = 0
    try:
        cli.main()
    except SystemExit as left:
        code = left.code or 0
    answers.append((code, [name for name in {HEAVY!r} if name in sys.modules]))
print(json.dumps(answers), file=sys.__stderr__)
"""


@pytest.mark.slow
def test_help_and_usage_errors_do_not_wait_for_torch():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps([words for words, _ in LIGHT])],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert "Traceback" not in done.stderr
    answers = json.loads(done.stderr.splitlines()[-1])
    may = {"report": ["matplotlib"], "data": ["pooch"]}
    allowed = set()
    for (words, expected), (code, loaded) in zip(LIGHT, answers, strict=True):
        allowed |= set(may.get(words[0] if words else "", ()))
        assert code == expected, words
        assert set(loaded) <= allowed, words


def test_one_message_without_a_traceback(unweave, tmp_path):
    code, out, err = unweave("report", tmp_path / "nothing")
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert "unweave train RECIPE --out" in err
    assert "Traceback" not in err


def test_brackets_in_messages_are_not_markup(unweave):
    code, _, err = unweave("report", "[bold]run[/] :smile:")
    assert code == 1
    assert err.startswith("Error: [bold]run[/] :smile:/config.json ")


def test_text_from_outside_is_shown_as_it_is(unweave, tmp_path):
    """Names that rich would take for markup stopped a study, or the message about it."""
    study = tmp_path / "s.toml"
    study.write_text('recipe = "[red]a"\n[methods."[/]"]\n', encoding="utf-8")
    code, _, err = unweave("study", study, "--out", tmp_path / "[/]")
    assert code == 1
    assert "there is no recipe '[red]a'" in err
    rng = np.random.default_rng(0)
    np.savetxt(
        tmp_path / "z.csv", rng.normal(size=(60, 2)), header="[/],b", comments="", delimiter=","
    )
    (tmp_path / "v.csv").write_text("\n".join(["\x1b[31m", *"ab" * 30]), encoding="utf-8")
    code, out, err = unweave(
        "score",
        tmp_path / "z.csv",
        tmp_path / "v.csv",
        "--no-intervals",
        "--metric",
        "mig",
        "--out",
        tmp_path / "scores",
    )
    assert (code, err) == (0, "")
    assert "\x1b" not in out


def test_options_that_no_executor_has_are_named(unweave, tmp_path):
    study = tmp_path / "s.toml"
    study.write_text('recipe = "digits"\n[methods.VAE]\nobjective = "vae"\n', encoding="utf-8")
    where = ("study", study, "--out", tmp_path / "out")
    assert "the executor local has no option 'colour'" in unweave(*where, "--option", "colour=1")[2]
    assert unweave(*where, "--option", "workers=3")[0] == 2
    assert unweave(*where, "--threads", "100000")[0] == 2
    assert not (tmp_path / "out").exists()


def test_a_study_without_a_name_starts_nothing(unweave, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = unweave("study")
    assert code == 0
    assert re.search(r"dsprites-small +40 ", out)
    assert list(tmp_path.iterdir()) == []


# -- flags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipes.__all__)
def test_flags_are_the_recipes_arguments(name):
    command = typer.main.get_command(cli.app).commands["train"].commands[name.replace("_", "-")]
    arguments = inspect.signature(getattr(recipes, name)).parameters
    flags = {option.name: option for option in command.params}
    assert set(flags) - {"help"} == {*arguments, *cli.SHARED}
    assert cli.SHARED.keys().isdisjoint(arguments)
    for argument in arguments.values():
        needed = argument.default is inspect.Parameter.empty
        assert flags[argument.name].required == needed
        assert needed or flags[argument.name].default == argument.default
        assert flags[argument.name].opts == [f"--{argument.name.replace('_', '-')}"]
    assert command.help == inspect.cleandoc(getattr(recipes, name).__doc__)


def test_flags_reach_the_recipe(unweave, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("unweave.run.fit", lambda *args, **kwargs: seen.append((*args, kwargs)))
    monkeypatch.chdir(tmp_path)
    code, out, _ = unweave(
        "train",
        "digits-hfvae",
        "--objective",
        "tc_vae(2.5)",
        "--patience",
        "3",
        "--seed",
        "4",
        "--overwrite",
    )
    recipe, folder, options = seen[0]
    assert (code, str(folder)) == (0, "runs/digits-hfvae-seed4")
    assert (recipe.objective, recipe.patience, recipe.seed) == (uw.tc_vae(2.5), 3, 4)
    assert recipe.epochs == inspect.signature(recipes.digits_hfvae).parameters["epochs"].default
    assert recipe.flags["objective"] == "tc_vae(2.5)"
    same = {"overwrite": True, "device": None, "evaluate": True, "quick": False, "on_log": None}
    assert options == same
    assert out == "report: runs/digits-hfvae-seed4/report.html\n"


@pytest.mark.slow
def test_training_goes_without_an_evaluation(unweave, tmp_path):
    run = tmp_path / "run"
    code, out, err = unweave(
        "train", "digits-hfvae", "--epochs", "1", "--out", run, "--no-evaluate"
    )
    assert (code, out) == (0, f"trained: {run}; `unweave evaluate {run}` scores it\n")
    assert "evaluating" not in err
    assert not (run / "scores.json").exists()
    code, out, _ = unweave("evaluate", run, "--quick")
    assert (code, out) == (0, f"report: {run}/report.html\n")
    assert json.loads((run / "scores.json").read_text())["exact_points"] == 200


def test_list_has_every_recipe(unweave):
    code, out, _ = unweave("list")
    assert code == 0
    shown = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    for times in recipes.PURPOSES.values():
        for name, time in times.items():
            assert f" {time} " in shown[name.replace("_", "-")]
    assert out.index("digits") < out.index("mnist") < out.index("autoencoder")


def test_every_recipe_has_one_purpose():
    listed = [name for names in recipes.PURPOSES.values() for name in names]
    assert sorted(listed) == sorted(recipes.__all__)


def test_help_shows_train_first(unweave):
    _, out, _ = unweave("--help")
    assert out.index("Train a recipe") < out.index("Go on with a run") < out.index("bench")


def test_a_misspelt_name_is_told_the_nearest(unweave):
    code, _, err = unweave("train", "minst")
    assert code == 2
    assert "mnist" in err


# -- runs ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_train_resume_evaluate_report(unweave, tmp_path):
    """And each again where it makes no sense."""
    run = tmp_path / "run"
    code, out, err = unweave("train", "digits-hfvae", "--epochs", "1", "--out", run)
    assert (code, out) == (0, f"report: {run}/report.html\n")
    first, second, *rest = [line.split()[0] for line in err.splitlines()]
    assert (first, second) == ("epoch", "evaluating")  # a line an epoch, then one more
    found = [name for name in rest if name != "note:"]  # one epoch leaves units idle: notes
    assert rest[0] == "note:"
    assert found == [
        "Accuracy",
        "I(digit;z)",
        "ELBO",
        "Information",
        "TC",
        "TC",
        "to",
    ]
    assert err.endswith(f"to explore it in the browser: unweave explore {run}\n")
    assert err.startswith("epoch 1/1  loss ")
    assert "held-out loss" in err
    model = (run / "model.safetensors").read_bytes()
    made = "--objective 'hfvae(alpha=1, beta=12, gamma=4)' --discrete concrete --prior standard"
    made += " --weights balanced --samples 1 --epochs 1 --batch 128 --lr 0.001 --seed 0"
    assert f"`unweave train digits-hfvae {made}`" in (run / "README.md").read_text()
    assert json.loads((run / "config.json").read_text())["threads"] == 1

    code, out, err = unweave("train", "digits-hfvae", "--epochs", "1", "--out", run)
    assert (code, out) == (1, "")
    assert err == (
        f"Error: {run} already exists and is not empty: go on with `unweave resume`, replace it "
        "with --overwrite, or choose another --out\n"
    )
    assert unweave("resume", run)[0] == 0
    assert (run / "model.safetensors").read_bytes() == model

    for name in ("report.html", "scores.json"):
        (run / name).unlink()
    code, out, err = unweave("report", run)
    assert code == 1
    assert f"unweave evaluate {run}" in err
    code, out, err = unweave("evaluate", run, "--points", "20")
    assert (code, out) == (0, f"report: {run}/report.html\n")
    assert json.loads((run / "scores.json").read_text())["exact_points"] == 20
    (run / "report.html").unlink()
    assert unweave("report", run)[0] == 0
    assert (run / "report.html").exists()


def test_a_run_is_resumed_with_the_threads_and_device_it_had(unweave, monkeypatch, tmp_path):
    seen = []
    flags = dict(uw.recipes.digits_hfvae().flags)
    artifact.write_config(
        tmp_path, {"recipe": "digits-hfvae", "flags": flags, "threads": 2, "device": "cpu"}
    )
    monkeypatch.setattr(
        "unweave.run.fit",
        lambda *args, **kwargs: seen.append(kwargs | {"n": torch.get_num_threads()}),
    )
    unweave("resume", tmp_path)
    unweave("resume", tmp_path, "--threads", 1, "--device", "cuda")
    same = {"resume": True, "evaluate": True, "quick": False, "on_log": None}
    assert seen == [same | {"device": "cpu", "n": 2}, same | {"device": "cuda", "n": 1}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--batch", "5000"],
            "batch=5000, but the training part has 1300 items: expected 2 to 1300",
        ),
        (["--device", "tpu9"], "device 'tpu9' is unknown: expected cpu, cuda"),
    ],
)
def test_what_cannot_be_trained_leaves_no_folder(unweave, tmp_path, words, said):
    code, _, err = unweave("train", "digits-hfvae", "--out", tmp_path / "run", *words)
    assert code == 1
    assert err.startswith(f"Error: {said}")
    assert not (tmp_path / "run").exists()


def test_folders_that_are_no_runs(unweave, tmp_path):
    code, _, err = unweave("resume", tmp_path / "nothing")
    assert code == 1
    assert "config.json is missing" in err
    uw.save(uw.models.vae((8, 8), hidden=(8,), normals=2), tmp_path / "saved")
    code, _, err = unweave("resume", tmp_path / "saved")
    assert (code, "holds a saved model, but no run" in err) == (1, True)
    artifact.write_config(tmp_path / "own", {"recipe": "mine", "flags": {}})
    code, _, err = unweave("resume", tmp_path / "own")
    assert (code, "recipe of its author's own, 'mine': go on with it from Python" in err) == (
        1,
        True,
    )
    artifact.write_config(tmp_path / "flags", {"recipe": "digits-hfvae", "flags": {"sharpness": 3}})
    code, _, err = unweave("evaluate", tmp_path / "flags")
    assert (code, "config.json does not fit the recipe 'digits-hfvae'" in err) == (1, True)


# -- scores of codes from elsewhere ----------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path):
    """Codes and factors in files: a code that is the shape, one that is noise."""
    rng = np.random.default_rng(0)
    shapes = rng.integers(0, 3, 300)
    np.save(tmp_path / "codes.npy", np.stack([rng.normal(size=300), shapes], 1))
    words = np.array(["ellipse", "heart", "square"])[shapes]
    (tmp_path / "factors.csv").write_text("shape\n" + "\n".join(words) + "\n")
    return tmp_path / "codes.npy", tmp_path / "factors.csv"


def test_score_prints_a_table_and_writes_a_page(unweave, elsewhere, tmp_path):
    code, out, err = unweave(
        "score", *elsewhere, "--metric", "mig", "--metric", "sap", "--out", tmp_path / "out"
    )
    assert (code, err) == (0, "")
    head, mig, sap, *rest = out.splitlines()
    found = json.loads((tmp_path / "out" / "scores.json").read_text())
    value, (low, high) = found["scores"][0]["value"], found["scores"][0]["interval"]
    assert head.split() == ["metric", "value", "interval", "range", "convention"]
    assert mig.startswith(
        f"MIG     {value:.3f}  {low:.3f} to {high:.3f}  0 to 1  disentanglement_lib"
    )
    assert sap.startswith("SAP")
    assert rest[-1] == f"page: {tmp_path}/out/score.html"
    assert (
        f"unweave score {elsewhere[0]} {elsewhere[1]}"
        in (tmp_path / "out" / "score.html").read_text()
    )


def test_score_prints_json(unweave, elsewhere, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = unweave(
        "score", *elsewhere, "--metric", "mig", "--no-intervals", "--json", "--code", "z[1]"
    )
    found = json.loads(out)
    assert (code, found["codes"], found["factors"]) == (0, ["z[1]"], ["shape"])
    assert found["scores"][0] | {"parts": None, "notes": None} == {
        "name": "MIG",
        "value": pytest.approx(1, abs=1e-12),
        "interval": None,
        "level": None,
        "range": [0, 1],
        "convention": "disentanglement_lib, 20 bins",
        "asks": "Mutual information gap: is each factor in one code, and in no second one?",
        "parts": None,
        "notes": None,
    }
    assert out == (tmp_path / "scores" / "scores.json").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--metric", "beauty"], "no metric is called 'beauty'; there are: mig, "),
        (["--factor", "size"], "no column of the factors matches 'size'; expected one of: shape"),
        (
            ["--metric", "mig", "--convention", "mine"],
            "convention 'mine': expected one of disentanglement_lib",
        ),
    ],
)
def test_score_says_what_was_expected(unweave, elsewhere, tmp_path, words, said):
    code, out, err = unweave("score", *elsewhere, "--out", tmp_path / "out", *words)
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert said in err
    assert not (tmp_path / "out").exists()


def test_score_of_files_that_do_not_fit(unweave, elsewhere, tmp_path):
    codes, factors = elsewhere
    factors.write_text("shape\nheart\nsquare\n")
    code, _, err = unweave("score", codes, factors, "--out", tmp_path / "out")
    assert (code, err) == (
        1,
        "Error: codes have 300 rows and factors 2: expected a row in both for each item, in the "
        "same order\n",
    )
    code, _, err = unweave("score", codes, tmp_path / "labels.csv")
    assert (code, err) == (1, f"Error: {tmp_path}/labels.csv: no such file\n")


# -- data ------------------------------------------------------------------------------------------


def test_the_data_directory_is_remembered(unweave, tmp_path, monkeypatch):
    monkeypatch.setenv("UNWEAVE_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("UNWEAVE_DATA", raising=False)
    assert unweave("data", "--set-dir", tmp_path / "data") == (
        0,
        f"data directory: {tmp_path}/data\n",
        "",
    )
    assert unweave("data") == (0, f"data directory: {tmp_path}/data\n", "")
    monkeypatch.setenv("UNWEAVE_DATA", "/elsewhere")
    assert unweave("data")[1] == "data directory: /elsewhere\n"


@pytest.mark.parametrize(
    ("recipe", "name", "first"),
    [
        (["mnist"], "MNIST", "mnist"),
        (["fashion-mnist"], "FASHION_MNIST", "fashion_mnist"),
        (["vae", "--data", "mnist"], "MNIST", "mnist"),
    ],
)
def test_absent_data_offline(unweave, tmp_path, monkeypatch, recipe, name, first):
    """The file, its checksum, and where to put it; and no folder is left behind."""
    published = getattr(idx, name)
    monkeypatch.setattr(
        idx, name, dataclasses.replace(published, mirrors=("http://127.0.0.1:9/",))
    )  # a closed port
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    code, out, err = unweave(
        "train", *recipe, "--data-dir", tmp_path / "data", "--out", tmp_path / "run"
    )
    file = "train-images-idx3-ubyte.gz"
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    for part in (
        file,
        published.train[0][0],
        str(tmp_path / "data" / first / file),
        "UNWEAVE_DATA",
        "--data-dir",
    ):
        assert part in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_study_from_flags_and_again_from_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("table.npy", np.random.default_rng(0).normal(size=(60, 4)))
    words = ["study", "quick", "--recipe", "own", "--method", "VAE=vae", "--method", "beta_vae(4)"]
    words += ["--seeds", "1", "--set", "epochs=1", "--set", "data=table.npy"]
    first = CliRunner().invoke(cli.app, words)
    assert first.exit_code == 0, first.output
    assert "beta_vae(4)" in first.output
    assert Path("runs/quick/study.html").is_file()
    again = CliRunner().invoke(cli.app, ["study", "runs/quick/study.json", "--seeds", "1"])
    assert again.exit_code == 0, again.output
    broken = CliRunner().invoke(cli.app, [*words, "--set", "epochs"])
    assert broken.exit_code == 2
    assert "expected NAME=VALUE" in broken.output


@pytest.mark.slow
def test_a_folder_of_ones_own_images_trains_in_one_command(tmp_path):
    from PIL import Image

    for i, x in enumerate(uw.data.digits().x[:40]):
        (tmp_path / "pics" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * x).astype("uint8")).resize((40, 36)).save(
            tmp_path / "pics" / "ab"[i % 2] / f"{i}.png"
        )
    words = [
        "train",
        "own",
        "--data",
        str(tmp_path / "pics"),
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    assert "convolutions" in done.output
    assert "bernoulli" in done.output
    assert uw.load(tmp_path / "run").reconstruct(np.zeros((2, 36, 36), np.float32)).shape == (
        2,
        36,
        36,
    )


@pytest.mark.slow
def test_a_run_goes_on_to_more_epochs_and_another_begins_with_it(unweave, tmp_path):
    run, longer, other = (tmp_path / name for name in ("run", "longer", "other"))
    words = ["train", "digits-hfvae", "--no-evaluate"]
    steps = ["--optimizer", "adamw", "--clip", "50", "--warmup", "5", "--seed", "1"]
    assert unweave(*words, *steps, "--epochs", 1, "--out", run)[0] == 0
    assert unweave("resume", run, "--epochs", 2, "--no-evaluate")[0] == 0
    assert unweave(*words, *steps, "--epochs", 2, "--out", longer)[0] == 0
    assert bits(run) == bits(longer)
    settings = json.loads((run / "config.json").read_text())
    assert (settings["epochs"], settings["flags"]["epochs"]) == (2, 2)
    made = command(settings)
    assert made.endswith("--seed 1 --optimizer adamw --clip 50 --warmup 5")
    code, _, err = unweave("resume", run, "--epochs", 1)
    assert (code, err) == (1, f"Error: {run} has trained for 2 epochs: expected more, not 1\n")
    given = ["--objective", "elbo", "--epochs", 1, "--from", run, "--out", other]
    assert unweave(*words, *given)[0] == 0
    held = json.loads((other / "config.json").read_text())
    assert held["from_run"] == str(run)
    assert command(held).endswith(f"--seed 0 --from {run}")
    losses = [read_lines(folder / "metrics.jsonl")[0]["elbo"] for folder in (run, other)]
    assert losses[1] > losses[0] + 10  # nats: it begins where the other ended
