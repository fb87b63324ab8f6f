"""The command `unweave`, whose flags are the recipes' signatures.

Nothing here imports torch before work begins, so that help and usage errors are quick.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import signal
import sys
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from typer.core import TyperGroup

from . import __version__, recipes, terminal
from .again import recipe_of, sessions, where_it_began
from .runs import command as runs_command
from .runs.command import HOW
from .signals import heard
from .terminal import console, say, visible


class _TrainFirst(TyperGroup):
    """The commands in the order of this file, but that `train` is the first."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: name != "train")


app = typer.Typer(
    cls=_TrainFirst,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
train = typer.Typer(
    no_args_is_help=True, help="Train a recipe; each has flags of its own.", rich_markup_mode="rich"
)
app.add_typer(train, name="train", rich_help_panel="Train")

MOST_THREADS = 1024
"""Threads at most: where the system has no more of them to give, torch ends the process."""

Out = Annotated[Path | None, typer.Option(help="Run folder to write.  Default: runs/RECIPE-seedN.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the run that is in the folder.")
]
Device = Annotated[str | None, typer.Option(help="cpu or cuda.  Default: cuda where there is one.")]
Precision = Annotated[
    runs_command.Precision,
    typer.Option(
        help="bf16: networks multiply in bfloat16 in training; log-densities do not. Slow on "
        "processors without such arithmetic."
    ),
]
Compile = Annotated[
    bool,
    typer.Option("--compile", help="Let torch compile the networks: a minute first."),
]
Threads = Annotated[
    int,
    typer.Option(
        min=1,
        max=MOST_THREADS,
        help="Threads that torch may use; more pay off for large models on a quiet machine.",
    ),
]
Optimizer = Annotated[
    runs_command.Optimizer,
    typer.Option(help="The optimiser, with torch's settings; sgd has momentum 0.9."),
]
Clip = Annotated[
    float | None, typer.Option(help="Scale longer gradients of all weights down to this norm.")
]
Schedule = Annotated[
    runs_command.Schedule,
    typer.Option(help="linear, cosine: the learning rate falls to 0 over all steps."),
]
Warmup = Annotated[
    int, typer.Option(min=0, help="Steps in which the learning rate rises from 0 first.")
]
From = Annotated[
    Path | None, typer.Option("--from", help="Begin with the weights of this finished run.")
]
Local = Annotated[
    bool,
    typer.Option(
        "--local-estimator",
        help="Under torchrun: each rank estimates log q(z) from its own items alone.",
    ),
]
NoEvaluate = Annotated[
    bool, typer.Option("--no-evaluate", help="Only train; `unweave evaluate RUN` does the rest.")
]
Tracker = Annotated[
    Literal["csv", "tensorboard", "wandb", "mlflow", "trackio"] | None,
    typer.Option("--log", help="Also log to this tool; csv and tensorboard into the run's folder."),
]
QuickEvaluation = Annotated[
    bool,
    typer.Option("--quick-evaluation", help="Evaluate on fewer items: sooner, larger errors."),
]
SHARED: dict[str, tuple[Any, Any]] = {
    "out": (Out, None),
    "overwrite": (Overwrite, False),
    "device": (Device, None),
    "precision": (Precision, HOW["precision"]),
    "compiled": (Compile, HOW["compiled"]),
    "optimizer": (Optimizer, HOW["optimizer"]),
    "clip": (Clip, HOW["clip"]),
    "schedule": (Schedule, HOW["schedule"]),
    "warmup": (Warmup, HOW["warmup"]),
    "from_run": (From, HOW["from_run"]),
    "threads": (Threads, 1),
    "local_estimator": (Local, False),
    "log": (Tracker, None),
    "no_evaluate": (NoEvaluate, False),
    "quick_evaluation": (QuickEvaluation, False),
}
"""Flags of every training, with their types and defaults."""

RunFolder = Annotated[Path, typer.Argument(help="A run's folder.", metavar="RUN")]


def main() -> None:
    """Run the command; whatever fails is one message, without a traceback.

    The exit status is 1 for an error that a person can mend, and `terminal.FAULT` for one that
    nobody foresaw. Where several ranks run (`torchrun -m unweave …`), the one with the error prints
    it.
    """
    _hear_schedulers()
    try:
        app()
    except Exception as error:
        another_rank_has_it = isinstance(error.__cause__, ConnectionAbortedError)
        sys.exit(terminal.ended(error, quiet=another_rank_has_it))


def _hear_schedulers() -> None:
    """Take a scheduler's signals for Ctrl-C."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    for number in heard():
        if number != signal.SIGINT:
            signal.signal(number, interrupt)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"unweave {__version__}")
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Structured, disentangled representations: train, look, measure."""


def _flag(kind: Any, hint: Any) -> Any:
    """Return the type of a recipe's parameter as typer's; the last text in it is the flag's help.

    Args:
        kind: The plain type.
        hint: The type with its limits and its text.
    """
    if typing.get_origin(hint) is not Annotated:
        return hint
    help_text = typing.get_args(hint)[-1]
    return Annotated[kind, typer.Option(help=help_text)]


def _train_command(name: str, recipe: Callable[..., Any]) -> Callable[..., None]:
    """Return a command with the recipe's flags and those that every training has."""

    @functools.wraps(recipe)
    def command(**flags: Any) -> None:
        shared = {name: flags.pop(name) for name in SHARED}
        folder = shared["out"] or Path("runs") / f"{name}-seed{flags['seed']}"
        origin = shared["from_run"]

        def made() -> Any:
            how = {name: shared[name] for name in HOW if name in shared}
            how |= {"from_run": str(origin) if origin else None}
            how |= {"gather": not shared["local_estimator"]}
            return replace(recipe(**flags), **how)

        _fit(
            made,
            folder,
            shared["threads"],
            shared["log"],
            overwrite=shared["overwrite"],
            device=shared["device"],
            evaluate=not shared["no_evaluate"],
            quick=shared["quick_evaluation"],
        )

    plain = typing.get_type_hints(recipe, localns={"Recipe": Any})
    hints = typing.get_type_hints(recipe, localns={"Recipe": Any}, include_extras=True)
    own = inspect.signature(recipe).parameters.values()
    parameters = [_parameter(p.name, _flag(plain[p.name], hints[p.name]), p.default) for p in own]
    parameters += [_parameter(name, *hint) for name, hint in SHARED.items()]
    described: Any = command
    described.__signature__ = inspect.Signature(parameters)
    described.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=hint)


for _purpose, _names in recipes.PURPOSES.items():
    for _name in _names:
        _command_name = _name.replace("_", "-")
        _recipe = getattr(recipes, _name)
        train.command(_command_name, rich_help_panel=_purpose)(
            _train_command(_command_name, _recipe)
        )


@app.command(rich_help_panel="Train")
def resume(
    run: RunFolder,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.  Default: as before.")] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_THREADS, help="Threads that torch may use.  Default: as before."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Train to more epochs.  Default: as before.")
    ] = None,
    log: Tracker = None,
    no_evaluate: NoEvaluate = False,
    quick_evaluation: QuickEvaluation = False,
) -> None:
    """Go on with a run that was stopped, as if nothing had happened, or to more epochs."""
    from .runs.artifact import read_config

    before = read_config(run)
    threads = threads or before.get("threads", 1)
    device = device or before.get("device")
    with where_it_began(run) as folder:
        wanted = {"evaluate": not no_evaluate, "quick": quick_evaluation}
        made = functools.partial(recipe_of, folder, epochs)
        _fit(made, folder, threads, log, resume=True, device=device, **wanted)


@app.command(rich_help_panel="Look at runs")
def evaluate(
    run: RunFolder,
    points: Annotated[
        int | None,
        typer.Option(
            min=2, help="Items that exact terms are averaged over.  Default: the recipe's, 2000."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at fewer items: sooner, larger errors.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Measure everything, not only what is missing.")
    ] = False,
    device: Device = None,
) -> None:
    """Score a trained run, and write its report.

    Parts that it has of the same weights, data and settings are kept.
    """
    from .evaluation.evaluate import evaluate as evaluate_run
    from .pages.run import write
    from .runs.artifact import load, read_config
    from .runs.lock import held
    from .training import content
    from .training.device import device_of

    with where_it_began(run) as folder, held(folder):
        recipe = recipe_of(folder)
        content.check(read_config(folder), content.described(recipe), folder)
        model = load(folder).to(device_of(device))
        scores = evaluate_run(recipe, model, folder, points=points, quick=quick, again=again)
        write(folder)
    for remark in scores.get("remarks", ()):
        say(f"note: {remark}", to_stderr=True)
    say(f"report: {run / 'report.html'}")
    _end_of_evaluation(run)


def _end_of_evaluation(run: Path) -> None:
    """Exit with 1 if a part of the evaluation failed."""
    from .runs import seal

    held = seal.read(run)
    if held is not None and held.missing:
        say(
            f"Error: of the evaluation failed: {', '.join(held.missing)}; the rest is kept, and "
            f"`unweave evaluate {run}` does what is missing",
            to_stderr=True,
        )
        raise typer.Exit(1)


@app.command(rich_help_panel="Look at runs")
def report(run: RunFolder) -> None:
    """Write report.html again from a run's files."""
    from .pages.run import write
    from .runs.kinds import is_run
    from .runs.lock import held
    from .training.overwrite import recover

    recover(run.absolute())
    with held(run) if is_run(run) else contextlib.nullcontext():
        say(f"report: {write(run)}")


@app.command(rich_help_panel="Look at runs")
def explore(
    runs: Annotated[
        list[Path], typer.Argument(help="A run's folder, or two, side by side.", metavar="RUN...")
    ],
    export: Annotated[
        Path | None,
        typer.Option(help="Write the page as one file, which needs no server, and end."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8700,
    host: Annotated[
        str, typer.Option(help="Address to answer at; others than this machine need a token.")
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open a run in the browser: its items as points, its latent units as sliders."""
    import webbrowser

    if export is not None:
        from .explorer.embedded import export as write

        size = write(export, *sessions(runs))
        say(f"page: {export} ({size / 1e6:.1f} MB, needs no server)")
        return
    from .explorer.server import Explorer, serve

    def ready(address: str) -> None:
        say(f"explorer: {address} (Ctrl-C ends it)")
        if browser:
            webbrowser.open(address)

    serve(Explorer(*sessions(runs)), host, port, ready)


@app.command(rich_help_panel="Look at runs")
def export(
    run: RunFolder,
    to: Annotated[
        Literal["onnx", "torch"], typer.Option(help="torch: what torch.export.load reads.")
    ] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the two files.  Default: RUN/export.")
    ] = None,
) -> None:
    """Write a run's encoder and decoder as files that need no unweave."""
    from .export import export as write
    from .runs.artifact import load

    for path in write(load(run), out or run / "export", to):
        say(f"{path.stem}: {path} ({path.stat().st_size / 1e6:.1f} MB)")


@app.command(rich_help_panel="Look at runs")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Runs' folders.", metavar="RUN...")],
) -> None:
    """Print the scores of several runs side by side, and their mean and standard deviation."""
    from .runs.compare import table

    heads, rows = table(runs)
    # wide enough that no number is broken over two lines
    console(width=60 + 30 * len(runs)).print(_table(heads, rows))


@app.command(rich_help_panel="Look at runs")
def picture(
    what: Annotated[
        str,
        typer.Argument(
            help="units: what each latent unit does. findings: a recipe's own. codes, curves, "
            "ablation: runs side by side."
        ),
    ],
    runs: Annotated[list[Path], typer.Argument(help="Runs' folders.", metavar="RUN...")],
    out: Annotated[Path, typer.Option(help="The picture to write: png, svg or pdf.")] = Path(
        "picture.png"
    ),
) -> None:
    """Draw a picture of runs for a page or a slide."""
    from .pages.pictures import PICTURES

    if what not in PICTURES:
        raise typer.BadParameter(f"{what!r} is no picture; expected one of: {', '.join(PICTURES)}")
    if out.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise typer.BadParameter(f"{str(out)!r} ends in no .png, .svg or .pdf: name such a file")
    say(f"picture: {PICTURES[what](runs, out)}")


@app.command(rich_help_panel="Measure")
def score(
    codes: Annotated[
        Path,
        typer.Argument(
            help="A row of codes for each item: .npy, .npz, .csv, .tsv or .parquet.",
            metavar="CODES",
        ),
    ],
    factors: Annotated[
        Path,
        typer.Argument(
            help="A row of known factors for each, in the same order.", metavar="FACTORS"
        ),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Only this one, such as mig; may be repeated.  A wrong name lists all."),
    ] = None,
    code: Annotated[
        list[str] | None,
        typer.Option(help="Only columns of codes of this name, or pattern such as 'z*'."),
    ] = None,
    factor: Annotated[list[str] | None, typer.Option(help="The same for factors.")] = None,
    level: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Level of the intervals.")
    ] = 0.95,
    no_intervals: Annotated[
        bool, typer.Option("--no-intervals", help="Values only, which is faster.")
    ] = False,
    convention: Annotated[
        str | None, typer.Option(help="Source of the definition, where a metric has several.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draws of metrics and intervals.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Folder for score.html, scores.json and scores.csv.")
    ] = Path("scores"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score any model's codes against known factors: a table here, and a page with pictures."""
    from .metrics.table import HEADS
    from .scoring import card as scorecard

    settings: dict[str, Any] = {"convention": convention} if convention else {}
    with console(stderr=True).status(
        "computing; intervals take a hundred times as long as values do"
    ):
        card = scorecard.score(
            codes,
            factors,
            which=metric,
            level=None if no_intervals else level,
            seed=seed,
            code_names=code,
            factor_names=factor,
            **settings,
        )
    page = scorecard.write(card, out)
    if json:
        typer.echo((out / "scores.json").read_text(encoding="utf-8"), nl=False)
        return
    console().print(_table(HEADS, scorecard.table(card)))
    for text in card.warnings:
        say(f"note: {text}")
    say(f"page: {page}")


@app.command(rich_help_panel="Check the library")
def verify(
    objective: Annotated[
        list[str] | None, typer.Option(help="Also check this objective; may be repeated.")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=2, help="Batch sizes.  Default: 64 and 256.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=2, help="Random batches for each row.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the data set and the draws.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Also write the tables to this file.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw how far estimates are off, to this PNG file.")
    ] = None,
    threads: Threads = 1,
) -> None:
    """Compare each estimator with the exact value where q(z) is known, by term and batch size."""
    import torch

    from .checks.verify import verify
    from .objective.formula import formula

    torch.set_num_threads(threads)
    objectives = [(text, formula(text)) for text in objective or ()]
    verify(objectives, batch or (64, 256), repeats=repeats, seed=seed, to=json, png=picture)


@app.command(rich_help_panel="Measure")
def study(
    source: Annotated[
        str,
        typer.Argument(
            help="A TOML or JSON file, or a study of the package.  Default: list those.",
            metavar="STUDY",
        ),
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study.  Default: runs/STUDY.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds 0, 1, … of every method.")] = None,
    flag: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, a flag of every run.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=OBJECTIVE instead of a file's methods, with --recipe; may be repeated."
        ),
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="Recipe of --method's runs; STUDY is then the study's name.")
    ] = "digits-hfvae",
    executor: Annotated[str, typer.Option(help="local, slurm or ray.")] = "local",
    option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, an option of the executor.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs at once.  Default: as many as fill the cores.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=MOST_THREADS, help="Threads of a run.")] = 1,
    device: Annotated[
        str | None,
        typer.Option(help="cpu or cuda.  Default: cuda where there is one; each run has its own."),
    ] = None,
    retries: Annotated[int, typer.Option(min=0, help="How often a failed run is tried again.")] = 1,
    report_only: Annotated[
        bool,
        typer.Option("--report-only", help="Only write the report of the runs that are there."),
    ] = False,
) -> None:
    """Run a grid of objectives x coefficients x seeds, or go on with it, and write its report.

    Ctrl-C saves what is running; the same command goes on.
    """
    from .studies import grid, work
    from .studies import page as study_report

    if not source:
        _list_studies()
        return
    changes: dict[str, Any] = {"seeds": seeds, "flags": _pairs(flag)}
    if method:
        given = {"name": source, "recipe": recipe, "methods": _methods(method)}
        plan = grid.build(given, "--method", **changes)
    else:
        plan = grid.read(source, **changes)
    folder = out or Path("runs") / plan.name
    left = []
    if not report_only:
        options: dict[str, Any] = {
            "executor": executor,
            "workers": workers,
            "threads": threads,
            "device": device,
            "retries": retries,
        }
        try:
            left = work.run(plan, folder, **options, **_pairs(option, options))
        except KeyboardInterrupt:
            said = "stopped; what was running has saved its state: the same command goes on"
            say(said, to_stderr=True)
            raise typer.Exit(130) from None
    heads, rows = study_report.summary(folder)
    console(width=max(100, 16 * len(heads))).print(_table(heads, rows))
    for job in left:
        log = folder / "logs" / f"{job.key}.txt"
        say(f"not finished: {job.method}, seed {job.seed}: see {log}", to_stderr=True)
    say(f"report: {study_report.write(folder)}")
    if left:
        raise typer.Exit(1)


def _list_studies() -> None:
    """List the studies that come with the package, and how many runs each takes."""
    from .studies import grid

    rows = []
    for name in grid.names():
        plan = grid.read(name)
        about = " ".join(plan.about.split())
        rows.append((name, str(len(plan.jobs())), about))
    console().print(_table(("study", "runs", "about"), rows))
    say("`unweave study NAME` starts one, or goes on with it")


def _methods(given: list[str]) -> dict[str, dict[str, str]]:
    """Read NAME=OBJECTIVE, or an objective that is its own name."""
    methods = {}
    for text in given:
        name, _, objective = text.partition("=")
        methods[name.strip()] = {"objective": (objective or name).strip()}
    return methods


def _pairs(given: list[str] | None, taken: Iterable[str] = ()) -> dict[str, Any]:
    """Read NAME=VALUE, values as JSON where they are JSON, text otherwise."""
    import json

    pairs: dict[str, Any] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text!r}: expected NAME=VALUE")
        if name.strip() in taken:
            raise typer.BadParameter(f"{text!r}: --{name.strip()} is a flag of its own")
        try:
            pairs[name.strip()] = json.loads(value)
        except (ValueError, RecursionError):
            pairs[name.strip()] = value
    return pairs


BENCHES = (
    *("step", "marginal", "classes", "evaluation", "metrics", "battery"),
    *("import", "streaming", "ranks", "studies"),
)
"""The names of what `bench` times."""


@app.command(rich_help_panel="Check the library")
def bench(
    what: Annotated[
        str,
        typer.Argument(
            help="step: a training step. marginal: the estimator of q(z). classes: sums over "
            "enumerated classes. evaluation: sums over dependent sites. metrics: MIG and its kin. "
            "battery: all metrics with intervals. import: the start of a script. streaming: items "
            "from a file. ranks: two processes. studies: the page of a thousand runs."
        ),
    ] = "step",
    threads: Threads = 1,
    repeats: Annotated[
        int | None, typer.Option(min=5, help="Timed repetitions of each, interleaved.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="marginal, evaluation, metrics, battery, studies: less work."),
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="marginal: larger batches, and how time grows.")
    ] = False,
    peers: Annotated[
        bool, typer.Option("--peers", help="step: also other libraries that are installed.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="marginal: also write the figures to this file.")
    ] = None,
) -> None:
    """Time the library against the same work written by hand, interleaved in one run."""
    if what not in BENCHES:
        raise typer.BadParameter(f"{what!r} is not timed; expected one of: {', '.join(BENCHES)}")
    if what == "battery":
        from .checks.bench_metrics import together

        together(quick=quick)
        return
    if what == "classes":
        from .checks.bench_classes import classes

        classes(threads=threads, repeats=repeats or 40)
        return
    if what == "ranks":
        from .checks.bench_ranks import ranks

        ranks(repeats=repeats or 40)
        return
    if what == "studies":
        from .checks.bench_studies import studies

        studies(runs=40 if quick else 1000)
        return
    if what == "streaming":
        from .checks.bench_streaming import streaming

        streaming(threads=threads, repeats=repeats or 5)
        return
    if what == "import":
        from .checks.bench_import import imports

        imports(repeats or 7)
        return
    if what == "evaluation":
        from .checks.bench_evaluation import evaluation

        evaluation(quick=quick, threads=threads)
        return
    if what == "metrics":
        from .checks.bench_metrics import metrics

        metrics(quick=quick)
        return
    if what == "step":
        from .checks.bench_step import step

        step(threads=threads, repeats=repeats or 60)
        if peers:
            from .checks.bench_peers import peers as of_peers

            of_peers(threads=threads, repeats=repeats or 60)
        return
    from .checks.bench_marginal import marginal

    marginal(threads=threads, repeats=repeats, quick=quick, full=full, json=json)


@app.command(rich_help_panel="Train")
def data(
    set_dir: Annotated[
        Path | None, typer.Option(help="Remember this folder as the one that holds data.")
    ] = None,
) -> None:
    """Print the folder of the data, or set it; UNWEAVE_DATA and --data-dir win over the setting."""
    from .data import directory, set_directory

    say(f"data directory: {set_directory(set_dir) if set_dir else directory()}")


@app.command(name="list", rich_help_panel="Train")
def list_recipes() -> None:
    """List the recipes by what they are for, a line each, with the time of one run."""
    width = max(map(len, recipes.__all__))
    for purpose, times in recipes.PURPOSES.items():
        rows = []
        for name, time in times.items():
            command = name.replace("_", "-").ljust(width)
            described = getattr(recipes, name).__doc__.splitlines()[0]
            rows.append((command, time.ljust(len("4 to 13 min")), described))
        console().print(_table((purpose, "time", "what it trains"), rows))
        say("")
    say("`unweave train NAME` trains one; `unweave train NAME --help` has its flags")
    say("a time, where one was measured, is of training one run on one core")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return rows under their heads, without lines, as rich prints them."""
    table = Table(*map(visible, heads), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(visible, row))
    return table


def _fit(
    recipe: Callable[[], Any], folder: Path, threads: int, log: str | None, **options: Any
) -> None:
    """Train what `recipe` builds and print where the report is; an interruption exits with 130."""
    import torch

    from .run import fit
    from .training.loop import Interrupted
    from .training.trackers import tracker

    torch.set_num_threads(threads)
    leads = os.environ.get("RANK", "0") == "0"
    try:
        with tracker(log, folder) if log else contextlib.nullcontext() as on_log:
            fit(recipe(), folder, on_log=on_log, **options)
    except Interrupted as stopped:
        if leads:
            say(str(stopped), to_stderr=True)
        raise typer.Exit(130) from None
    if leads and options.get("evaluate", True):
        say(f"report: {folder / 'report.html'}")
        say(f"to explore it in the browser: unweave explore {folder}", to_stderr=True)
        _end_of_evaluation(folder)
    elif leads:
        say(f"trained: {folder}; `unweave evaluate {folder}` scores it")
