"""Several ranks: two with half a batch each are one with all of it; a rank that dies loses nothing.

Run as a program, this file goes through its `SCENARIOS`, each with as many processes as it has
ranks.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from support.programs import same
from support.training import at_step, bits, environment, tiny
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

import unweave as uw
from unweave import ranks as distributed
from unweave.cli import main
from unweave.ranks import everyone, joined, mean_gradients, world
from unweave.run import fit
from unweave.runs.artifact import read_config
from unweave.runs.files import read_lines
from unweave.trace.node import Law
from unweave.trace.values import in_part
from unweave.training.checkpoints import load_checkpoint
from unweave.training.trainer import Trainer

pytestmark = pytest.mark.slow

N, B, X, CLASSES = 20, 8, 5, 3


# -- programs whose noise is a function of the item ------------------------------------------------


def generator():
    return torch.Generator().manual_seed(3)


def weights():
    """The weights of encoder and decoder, from a seed."""
    g = generator()
    shapes = {
        "y": (X, CLASSES),
        "loc": (X, 3),
        "loc|y": (CLASSES, 3),
        "scale": (X, 3),
        "x": (3, X),
        "x|y": (CLASSES, X),
    }
    return {
        name: torch.randn(shape, generator=g, dtype=torch.float64).requires_grad_()
        for name, shape in shapes.items()
    }


def batch(lead):
    """x, the noise of z and y, and labels of which a third is missing, the same at all ranks."""
    g = generator()
    x = torch.rand(B, X, generator=g, dtype=torch.float64).expand(*lead, X)
    noise = torch.randn(*lead, 3, generator=g, dtype=torch.float64)
    gumbel = -torch.empty(*lead, CLASSES, dtype=torch.float64).exponential_(generator=g).log()
    labels = torch.randint(CLASSES, (B,), generator=g)
    return x, noise, gumbel, labels.where(torch.arange(B) % 3 > 0, -1).expand(lead)


def concrete(q, w, x, gumbel, labels, given):
    dist = uw.Concrete(x @ w["y"], 0.66)
    drawn = ((dist.logits + gumbel) / 0.66).softmax(-1)
    if not given:
        return q._add("y", uw.Node(drawn, "sampled", dist))
    one_hot = nn.functional.one_hot(labels.clamp_min(0), CLASSES).to(drawn)
    present = labels >= 0
    return q._add(
        "y", uw.Node(torch.where(present[..., None], one_hot, drawn), "observed", dist, present)
    )


def encode(kind, w, x, noise, gumbel, labels):
    q = uw.Trace()
    loc, scale = x @ w["loc"], (x @ w["scale"]).exp()
    if kind.startswith("concrete"):
        loc = loc + concrete(q, w, x, gumbel, labels, kind == "concrete, labels") @ w["loc|y"]
    if kind.startswith("categorical"):
        given = labels if kind == "categorical, labels" else None
        y = q.categorical(x @ w["y"], given, name="y").as_subclass(torch.Tensor)
        loc = loc + y @ w["loc|y"]
    if kind == "correlated":
        cov = scale[..., None] * scale[..., None, :] * 0.3 + torch.eye(3, dtype=x.dtype)
        dist = MultivariateNormal(loc, cov)
        q._add(
            "z", uw.Node(loc + (dist.scale_tril @ noise[..., None]).squeeze(-1), "sampled", dist)
        )
    else:
        q._add("z", uw.Node(loc + scale * noise, "sampled", Normal(loc, scale)))
    shared = Independent(
        Normal(loc[..., :2].tanh(), torch.full((2,), 0.5, dtype=x.dtype)), 1
    )  # one scale for all
    q._add("s", uw.Node(shared.mean + 0.5 * noise[..., :2], "sampled", shared))
    if kind.startswith("chain"):
        law = Law(lambda z, a: Normal((z * a).tanh(), 0.6), ("z",), (loc.sin(),))
        dist = law.of(q["z"].value, *law.inputs)
        node = uw.Node(dist.mean + 0.6 * noise.flip(-1), "sampled", dist, law=law)
        q._add(
            "t", in_part("t", node, labels > 0, None) if kind == "chain of two lengths" else node
        )
    return q


def decode(w, x, q):
    p = uw.Trace()
    parts = [p.normal(0.0, 1.0, value=q["z"], name="z") @ w["x"]]
    p.sample(Independent(Normal(torch.zeros(2, dtype=x.dtype), 1.0), 1), q["s"], name="s")
    if "y" in q:
        prior = torch.zeros(CLASSES, dtype=x.dtype)
        is_concrete = isinstance(q["y"].dist, uw.Concrete)
        y = (
            p.concrete(prior, 0.66, q["y"], name="y")
            if is_concrete
            else p.categorical(prior, q["y"], name="y")
        )
        parts.append(y @ w["x|y"])
    if "t" in q:
        parts.append(p.normal(0.0, 0.7, value=q["t"], name="t") @ w["x"])
    p.bernoulli(sum(parts), value=x, name="x")
    return p


KINDS = (
    "normal",
    "correlated",
    "concrete",
    "concrete, labels",
    "categorical",
    "categorical, labels",
    "chain",
    "chain of two lengths",
)
CASES = {
    f"{kind}; {weighting.__name__}; {len(lead)}d": (kind, weighting, lead)
    for kind in KINDS
    for weighting in (uw.balanced, uw.stratified)
    for lead in ((B,), (2, B))
}


def loss_and_gradients(kind, weighting, lead, part, gather=True):
    """The mean loss over the ranks of these items' losses, and its gradients."""
    w = weights()
    x, *rest = (t[..., part, :] if t.is_floating_point() else t[..., part] for t in batch(lead))
    q = encode(kind, w, x, *rest)
    groups = tuple(name for name in ("y", ("z", "s")) if name != "y" or "y" in q)
    groups = (("z", "t"), "s") if "t" in q else groups
    objective = uw.hfvae(1.5, 12, 4) + (3 * uw.label if "labels" in kind else 0 * uw.label)
    score = objective(
        q,
        decode(w, x, q),
        groups=groups,
        aggregate=uw.minibatch(N, weighting, gather),
        batch_dim=len(lead) - 1,
        prior=lambda: None,
    )
    loss = -score.mean()
    loss.backward()
    (loss,) = mean_gradients(w.values(), loss.detach())
    return loss, {name: torch.zeros_like(t) if t.grad is None else t.grad for name, t in w.items()}


def halves():
    return [slice(0, B // 2), slice(B // 2, B)]


# -- starting ranks --------------------------------------------------------------------------------


def compare_steps(folder):
    """Everything that can be compared step by step, at this rank."""
    with joined() as (rank, _):
        part = halves()[rank]
        found = {
            gather: {name: loss_and_gradients(*case, part, gather) for name, case in CASES.items()}
            for gather in (True, False)
        }
        torch.save(found, folder / f"steps{rank}.pt")

        x, noise, gumbel, labels = (t[part] for t in batch((B,)))
        labels = labels.abs() if rank else labels  # all are given, so that nothing is enumerated
        q = encode("categorical, labels", weights(), x, noise, gumbel, labels).aligned()
        refused = []
        for wrong in (
            lambda: uw.minibatch(N)(q, [(("z", (0,)),)], 0 if rank else 1),
            lambda: Trainer(tiny(batch=33)),
            lambda: Trainer(tiny(batch=2)),
        ):
            with pytest.raises(ValueError, match="ranks") as error:
                wrong()
            refused.append(str(error.value))
        torch.save(refused, folder / f"refused{rank}.pt")

        trainer = Trainer(tiny(objective=uw.factor_vae(5.0, uw.Critic(hidden=(8,))), held_out=0))
        trainer.run_epoch(lambda: False, lambda _: None)
        learnt = {
            "model": trainer.model.state_dict(),
            "critic": trainer.critics.state(),
            "sums": trainer.sums,
        }
        torch.save(learnt | {"noise": torch.get_rng_state()}, folder / f"critic{rank}.pt")


def train(folder, kind="plain", *, resume=False, which=None, moment=None):
    """Train; at rank `which` the moment comes."""
    if which == int(os.environ.get("RANK", 0)):
        moment()
    fit(RECIPES[kind](), folder, resume=resume, evaluate=False)


def command(folder):
    sys.argv = ["unweave", "train", "digits-hfvae", "--epochs", "1", "--out", str(folder)]
    main()


def interrupt():
    """Press Ctrl-C as seven steps are done."""
    plain = Trainer.one_step

    def one_step(self, items):
        plain(self, items)
        if self.step == 7:
            signal.raise_signal(signal.SIGINT)

    Trainer.one_step = one_step


RECIPES = {
    "plain": lambda: tiny(),
    "repeatable": lambda: repeatable(),
    "local": lambda: tiny(gather=False),
    "short": lambda: tiny(epochs=1),
}
SCENARIOS = {
    "steps": (2, "", compare_steps),
    "reference": (2, "", train),
    "repeatable": (2, "", partial(train, kind="repeatable")),
    "local": (2, "", partial(train, kind="local")),
    "dies-0": (2, "", partial(train, which=0, moment=partial(at_step, 8))),
    "dies-1": (2, "", partial(train, which=1, moment=partial(at_step, 8))),
    "dies-0, resumed": (2, "dies-0", partial(train, resume=True)),
    "dies-1, resumed": (2, "dies-1", partial(train, resume=True)),
    "interrupted": (2, "", partial(train, which=1, moment=interrupt)),
    "interrupted, resumed": (2, "interrupted", partial(train, resume=True)),
    "one": (1, "", partial(train, kind="short")),
    "two after one": (2, "one", partial(train, resume=True)),
    "one after two": (1, "interrupted", partial(train, resume=True)),
    "refused": (2, "reference", train),
    "command": (2, "reference", command),
}
"""The number of ranks, the scenario whose folder they find, and the work that they do."""


def rehearse(root):
    """Each scenario by processes of its own, with the environment that torchrun gives."""
    Trainer(tiny())  # the optimiser's imports, once for all children
    codes = {}
    for name, (ranks, found, task) in SCENARIOS.items():
        folder = root / name
        shutil.copytree(root / found, folder) if found else folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        children = []
        for rank in range(ranks):
            if not (child := os.fork()):
                signal.alarm(120)
                where = {"RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
                os.environ |= where | {"WORLD_SIZE": str(ranks)}
                os.dup2(os.open(root / f"{name}.{rank}", os.O_WRONLY | os.O_CREAT), 2)
                try:
                    task(folder)
                except SystemExit as end:
                    os._exit(end.code)
                except BaseException as error:
                    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                    os._exit(1)
                sys.stderr.flush()
                os._exit(0)
            children.append(child)
        codes[name] = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    (root / "codes.json").write_text(json.dumps(codes))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder in which all scenarios took place."""
    folder = tmp_path_factory.mktemp("ranks")
    subprocess.run(
        [sys.executable, __file__, str(folder)], check=True, env=environment(), timeout=600
    )
    return folder


def said(root, name):
    """The text that each rank wrote, and how it ended."""
    texts = [(root / f"{name}.{rank}").read_text() for rank in range(SCENARIOS[name][0])]
    return texts, json.loads((root / "codes.json").read_text())[name]


# -- one step --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def steps(root):
    assert said(root, "steps")[1] == [0, 0], said(root, "steps")

    def read(name):
        return [
            torch.load(root / "steps" / f"{name}{rank}.pt", weights_only=True) for rank in range(2)
        ]

    return read


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_with_half_a_batch_are_one_with_all_of_it(steps, case):
    loss, grads = loss_and_gradients(*CASES[case], slice(0, B))
    for found in steps("steps"):
        same(found[True][case][0], loss)
        for name, grad in grads.items():
            same(found[True][case][1][name], grad)


@pytest.mark.parametrize("case", CASES)
def test_a_local_estimator_is_the_mean_of_two_batches(steps, case):
    parts = [loss_and_gradients(*CASES[case], part) for part in halves()]
    whole, _ = loss_and_gradients(*CASES[case], slice(0, B))
    for found in steps("steps"):
        loss, grads = found[False][case]
        same(loss, (parts[0][0] + parts[1][0]) / 2)
        assert abs(loss - whole) > 1e-3
        for name, grad in grads.items():
            same(grad, (parts[0][1][name] + parts[1][1][name]) / 2)


def test_what_cannot_be_shared_is_refused_by_all(steps):
    for form, odd, small in steps("refused"):
        assert re.search(
            r"differ in form.*rank 0: y enumerated \(3, 4, 3\).*"
            r"rank 1: y enumerated \(3, 4, 3\).*gather=False",
            form,
        )
        assert odd.startswith(
            "batch=33 counts the items of all 2 ranks: expected as many for each, 2 or more, such "
            "as 32"
        )
        assert "batch=2 counts" in small
        assert "such as 4" in small


def test_ranks_train_one_critic_with_noise_of_their_own(steps):
    left, right = steps("critic")
    assert not torch.equal(left.pop("noise"), right.pop("noise"))
    assert flat(left) == flat(right)


def flat(tree):
    """The numbers in nested dictionaries."""
    if isinstance(tree, dict):
        return {f"{key}.{k}": v for key, value in tree.items() for k, v in flat(value).items()}
    return {"": tree.tolist() if isinstance(tree, torch.Tensor) else tree}


# -- one message -----------------------------------------------------------------------------------


@pytest.fixture
def two_that_say_the_same():
    """A process group of two whose messages change nothing: a sum is what this rank has said."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("two_that_say_the_same")
def test_gradients_that_stand_in_the_last_message_are_sent_where_they_stand():
    used, unused, frozen = nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(1, 1).requires_grad_(False)
    weights = [*used.parameters(), *unused.parameters(), *frozen.parameters()]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    places = []
    for step in range(3):
        x = torch.full((4, 3), step + 1.0)
        optimizer.zero_grad(set_to_none=False)
        loss = used(x).square().mean()
        expected = torch.autograd.grad(loss, list(used.parameters()), retain_graph=True)
        loss.backward()
        said, more = mean_gradients(weights, loss.detach(), torch.ones(2))
        same(said, loss.detach() / 2)
        same(more, torch.full((2,), 0.5))
        for w, grad in zip(used.parameters(), expected, strict=True):
            same(w.grad, grad / 2)
        assert all((w.grad == 0).all() for w in unused.parameters())
        assert all(w.grad is None for w in frozen.parameters())
        places.append([w.grad.data_ptr() for w in weights if w.grad is not None])
        kept = said.clone()
        optimizer.step()
    assert places[0] == places[1] == places[2]
    same(said, kept)


@pytest.mark.usefixtures("two_that_say_the_same")
def test_gradients_of_several_precisions_or_of_other_weights_make_a_message_of_their_own():
    single, double = nn.Linear(3, 2), nn.Linear(3, 2).double()
    for weights in ([*single.parameters(), *double.parameters()], [single.bias], [double.weight]):
        for w in weights:
            w.grad = torch.full_like(w, 3.0)
        assert mean_gradients(weights) == []
        for w in weights:
            same(w.grad, torch.full_like(w, 1.5))


# -- training --------------------------------------------------------------------------------------


class Encoder(nn.Module):
    """In float64, with noise that is a function of the item."""

    def __init__(self):
        super().__init__()
        self.h = nn.Linear(64, 6)
        self.register_buffer("mix", torch.randn(64, 3, generator=generator()))

    def forward(self, x):
        q, x = uw.Trace(), x.to(self.h.weight.dtype).flatten(1)
        loc, log_scale = self.h(x).chunk(2, -1)
        dist = Normal(loc, log_scale.exp())
        q._add("z", uw.Node(loc + dist.scale * (20 * x @ self.mix).sin(), "sampled", dist))
        return q


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = nn.Linear(3, 64)

    def forward(self, x, q):
        p = uw.Trace()
        h = self.x(p.normal(0.0, 1.0, value=q["z"], name="z"))
        p.bernoulli(h, value=x.flatten(1).to(h), name="x")
        return p


def repeatable():
    """A recipe without noise."""
    return tiny(
        model=lambda: uw.models.Model(Encoder(), Decoder()).double(),
        groups=("z[0]", "z[1:]"),
        epochs=2,
    )


def ended_well(root, name):
    """The texts of ranks that all ended well."""
    texts, codes = said(root, name)
    assert set(codes) == {0}, texts
    return texts


def test_training_by_two_ranks_is_training_by_one(tmp_path, root):
    ended_well(root, "repeatable")
    fit(repeatable(), tmp_path, evaluate=False, quiet=True)
    one, two = (
        uw.load(folder, model=repeatable().model()).state_dict()
        for folder in (tmp_path, root / "repeatable")
    )
    for name, value in one.items():
        same(
            two[name], value, tol=1e-7
        )  # Adam's first steps divide small differences by small gradients
    for ours, its in zip(
        *(read_lines(f / "metrics.jsonl") for f in (tmp_path, root / "repeatable")), strict=True
    ):
        for key in ours.keys() - {"seconds", "split"}:
            assert its[key] == pytest.approx(ours[key], rel=1e-7, abs=1e-7), key


def test_rank_0_alone_speaks_and_writes(root):
    assert [text.count("epoch 3/3") for text in ended_well(root, "reference")] == [1, 0]
    assert not [*(root / "reference").rglob("*.part")]
    config = read_config(root / "reference")
    assert config["estimator"] == "minibatch(n=160, weights=balanced), B=32"
    assert (config["ranks"], config["gather"]) == (2, True)


@pytest.mark.parametrize("which", [0, 1])
def test_a_rank_that_dies_ends_the_run_and_loses_nothing(root, which):
    folder, (texts, codes) = root / f"dies-{which}", said(root, f"dies-{which}")
    assert codes[which] == -signal.SIGKILL
    assert codes[1 - which] == 1
    lost = texts[1 - which].splitlines()[-1]
    assert re.match(
        rf"ConnectionError: rank {1 - which} has lost the others \(.*"
        r"last good .*000000005.pt; go on",
        lost,
    )
    command = shlex.split(lost.rpartition("go on with: ")[2])
    assert command == ["torchrun", "--nproc-per-node", "2", "-m", "unweave", "resume", str(folder)]
    assert load_checkpoint(folder)["step"] == 5
    assert not (folder / "model.safetensors").exists()
    assert "note: ranks" not in "".join(ended_well(root, f"dies-{which}, resumed"))
    assert bits(root / f"dies-{which}, resumed") == bits(root / "reference")


def test_an_interrupt_of_one_rank_stops_all_at_one_step(root):
    texts, codes = said(root, "interrupted")
    assert codes == [1, 1]
    for text in texts:
        assert text.splitlines()[-1].startswith(
            "Interrupted: stopped at step 7 and saved; go on with: torchrun --nproc"
        )
    assert load_checkpoint(root / "interrupted")["step"] == 7
    ended_well(root, "interrupted, resumed")
    assert bits(root / "interrupted, resumed") == bits(root / "reference")


@pytest.mark.parametrize(
    ("name", "before", "now"), [("two after one", 1, 2), ("one after two", 2, 1)]
)
def test_another_number_of_ranks_goes_on_and_says_so(root, name, before, now):
    texts = ended_well(root, name)
    assert f"note: ranks: {before} trained before, now {now}" in texts[0]
    assert "note: ranks" not in "".join(texts[1:])
    state = load_checkpoint(root / name)
    assert state["step"] == 15
    assert len(state["noise_elsewhere"]) == now - 1
    steps = [
        line["step"]
        for line in read_lines(root / name / "metrics.jsonl")
        if line["split"] == "train"
    ]
    assert steps == [5, 10, 15]


def test_errors_of_rank_0_are_errors_of_all_and_said_once(root):
    """Here: the folder holds a run already."""
    texts, codes = said(root, "refused")
    assert codes == [1, 1]
    for text in texts:
        assert text.startswith(f"FileExistsError: {root / 'refused'} already exists")
    (first, other), codes = said(root, "command")
    assert codes == [1, 1]
    assert first.startswith(f"Error: {root / 'command'} already exists")
    assert other == ""
    assert bits(root / "refused") == bits(root / "command") == bits(root / "reference")


def test_a_local_run_says_so_and_is_resumed_as_one(root):
    ended_well(root, "local")
    config = read_config(root / "local")
    assert config["estimator"] == "minibatch(n=160, weights=balanced, gather=False), B=16"
    assert (config["ranks"], config["gather"]) == (2, False)
    with pytest.raises(
        ValueError, match=r"was trained with estimator = .*gather=False.*: resume it as it was"
    ):
        fit(tiny(), root / "local", resume=True, evaluate=False, quiet=True)


def test_the_command_under_torchrun(tmp_path):
    """One folder from two processes, evaluated and loadable."""
    folder = tmp_path / "digits"
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [
        *start,
        "-m",
        "unweave",
        "train",
        "digits-hfvae",
        "--epochs",
        "2",
        "--local-estimator",
        "--out",
        str(folder),
    ]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report: ") == 1
    assert done.stderr.count("epoch 2/2") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"digits"}
    assert {"model.safetensors", "scores.json", "report.html"} <= {
        path.name for path in folder.iterdir()
    }
    assert not [*folder.rglob("*.part")]
    assert read_config(folder)["gather"] is False
    assert uw.load(folder).encode(uw.data.digits().x[:3]).shape == (3, 11)


def test_alone_is_rank_0_of_1():
    assert world() == (0, 1)
    with joined() as where:
        assert where == (0, 1)
    assert everyone("here") == ["here"]
    assert distributed.own_device(torch.device("cuda")) == torch.device("cuda")
    seeds = {
        distributed.noise_seed(seed, rank, step)
        for seed in range(3)
        for rank in range(3)
        for step in range(3)
    }
    assert len(seeds) == 27


if __name__ == "__main__":
    torch.set_num_threads(1)
    rehearse(Path(sys.argv[1]))
