"""Trackers: what each tool holds is the run's log, also after a run went on or was replaced."""

import csv
import json
import sqlite3
import sys
from contextlib import closing

import pytest
from support.training import tiny

import unweave as uw
from unweave.training.trackers import TRACKERS, tracker


def fit(folder, name, epochs, **options):
    with tracker(name, folder) as on_log:
        return uw.fit(
            tiny(epochs=epochs), folder, evaluate=False, quiet=True, on_log=on_log, **options
        )


def logged(run, name="elbo", split="train"):
    return [(line["step"], line[name]) for line in run.history if line["split"] == split]


@pytest.mark.slow
def test_a_table_has_every_line_once_after_the_run_goes_on(tmp_path):
    fit(tmp_path / "run", "csv", 2)
    run = fit(tmp_path / "run", "csv", 3, resume=True)
    with open(run.folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == ["train", "valid"] * 3
    assert [float(row["elbo"]) for row in rows] == [line["elbo"] for line in run.history]
    assert rows[1]["seconds"] == ""


@pytest.mark.slow
def test_a_replaced_run_leaves_no_table_and_no_exported_model(tmp_path):
    run = fit(tmp_path / "run", "csv", 1)
    uw.export(run.model, run.folder / "export", "torch")
    uw.fit(tiny(epochs=1), tmp_path / "run", evaluate=False, quiet=True, overwrite=True)
    assert not (tmp_path / "run" / "metrics.csv").exists()
    assert not list((tmp_path / "run" / "export").iterdir())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_the_log_of_the_run_that_is_there(tmp_path):
    pytest.importorskip("tensorboard", exc_type=ImportError)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(tmp_path / "run", "tensorboard", 3)
    fit(tmp_path / "run", "tensorboard", 1, overwrite=True)
    run = fit(tmp_path / "run", "tensorboard", 2, resume=True)
    shown = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    for split in ("train", "valid"):
        curve = {event.step: event.value for event in shown.Scalars(f"elbo/{split}")}
        assert curve == pytest.approx(dict(logged(run, split=split)), rel=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_the_log_and_the_settings_in_one_run(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", exc_type=ImportError)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    fit(tmp_path / "run", "mlflow", 1)
    run = fit(tmp_path / "run", "mlflow", 2, resume=True)
    (found,) = mlflow.search_runs(output_format="list")
    assert found.info.run_name == "run"
    assert found.data.params["objective"] == str(tiny().objective)
    curve = mlflow.MlflowClient().get_metric_history(found.info.run_id, "tc.0/train")
    assert [(point.step, point.value) for point in curve] == logged(run, "tc[0]")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_a_run_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", exc_type=ImportError)
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = fit(tmp_path / "run", "wandb", 2)
    assert wandb.run is None
    (written,) = (run.folder / "wandb").glob("offline-run-*/run-*.wandb")
    assert run.config["id"] in written.name


def test_a_tool_that_is_not_there_is_named_before_training(tmp_path, monkeypatch):
    with pytest.raises(KeyError, match="no tracker 'tensorbord'; expected one of: csv, tensorb"):
        fit(tmp_path / "run", "tensorbord", 1)
    for name in set(TRACKERS) - {"csv"}:
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ModuleNotFoundError, match=name):
            fit(tmp_path / "run", name, 1)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_trackio_has_the_log_in_one_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    pytest.importorskip("trackio", exc_type=ImportError)
    fit(tmp_path / "run", "trackio", 1)
    run = fit(tmp_path / "run", "trackio", 2, resume=True)
    with closing(sqlite3.connect(tmp_path / "store" / "unweave.db")) as store:
        rows = store.execute("select run_name, step, metrics from metrics order by id").fetchall()
    assert {name for name, _, _ in rows} == {f"run-{run.config['id'][:6]}"}
    held = [(step, json.loads(text)) for _, step, text in rows]
    curve = [(step, values["elbo/train"]) for step, values in held if "elbo/train" in values]
    assert curve == logged(run)
