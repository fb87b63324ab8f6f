"""Every linear alias, trained on real digits, and its loss put together again from the exact
decomposition.
"""

from dataclasses import replace

import pytest
import torch

import unweave as uw
from unweave.training.trainer import Trainer

ALIASES = {
    "vae": lambda t: t["recon"] - t["mi"] - t["tc"] - t["kl"],
    "beta_vae(4)": lambda t: t["recon"] - 4 * (t["mi"] + t["tc"] + t["kl"]),
    "dip_vae(3)": lambda t: t["recon"] - t["mi"] - 3 * (t["tc"] + t["kl"]),
    "info_vae(2)": lambda t: t["recon"] - 2 * (t["tc"] + t["kl"]),
    "corex(2, 'y')": lambda t: t["recon"] - t["mi"] - t["tc"] - t["kl"] + 2 * t["mi of y"],
    "bottleneck(2, 3)": lambda t: t["recon"] - 2 * t["mi"] - 3 * t["tc"],
    "tc_vae(6)": lambda t: t["recon"] - t["mi"] - 6 * t["tc"] - t["kl"],
    "hfvae(1, 12, 4)": lambda t: (
        t["recon"] - t["mi"] - 12 * t["between"] - 4 * t["within"] - t["kl"]
    ),
    "beta_vae(ramp(0, 4, last=150))": lambda t: t["recon"] - 4 * (t["mi"] + t["tc"] + t["kl"]),
    "hfvae(1, 12, 4) - 11*((mi + kl[0]) - (mi + kl[0]).of('y'))": lambda t: (
        t["recon"]
        - t["mi"]
        - 12 * t["between"]
        - 4 * t["within"]
        - t["kl"]
        - 11 * (t["all"] - t["all of y"])
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("discrete", ["concrete", "categorical"])
@pytest.mark.parametrize("text", ALIASES)
def test_the_loss_is_the_sum_of_exact_terms(text, discrete):
    """After training the balanced estimator with all items in the batch gives what the full sums
    give.
    """
    recipe = replace(uw.recipes.digits_hfvae(objective=text, discrete=discrete), batch=64)
    trainer = Trainer(recipe, "cpu")
    steps = 200 if discrete == "concrete" else 40
    losses = []
    while trainer.step < steps:
        order = trainer.epoch_order(trainer.epoch)
        x, labels = trainer.train.batch(order[trainer.step % trainer.per_epoch])
        with torch.no_grad():
            d = trainer.densities(*trainer.model(x, **labels))
            losses.append(-float(d.score(recipe.objective_at(10**6)).mean()))
        trainer.one_step(order[trainer.step % trainer.per_epoch])
    assert sum(losses[-10:]) < sum(losses[:10])

    model = trainer.model.double().eval()
    with torch.no_grad():
        q, p = model(trainer.train.x[:500].double())
        ours = uw.Densities(q, p, groups=recipe.groups, aggregate=uw.minibatch(500), kl="sampled")
        full = uw.Densities(q, p, groups=recipe.groups, aggregate=uw.exact(q), kl="sampled")
        both = uw.mi + uw.kl[0]
        named = {
            "recon": uw.recon, "mi": uw.mi, "tc": uw.tc[:], "between": uw.tc[0],
            "within": uw.tc[1:], "kl": uw.kl[-1],
            "mi of y": uw.mi.of("y"), "all": both, "all of y": both.of("y"),
        }  # fmt: skip
        terms = {name: full.score(term).mean() for name, term in named.items()}
        value = ours.score(recipe.objective_at(10**6)).mean()
    torch.testing.assert_close(value, ALIASES[text](terms), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        terms["tc"], terms["between"] + terms["within"], rtol=1e-9, atol=1e-9
    )


@pytest.mark.slow
def test_iwae_trains_and_bounds_log_p_from_below_more_tightly_than_the_elbo():
    recipe = uw.recipes.digits_hfvae(objective="iwae", samples=5)
    trainer = Trainer(recipe, "cpu")
    order = trainer.epoch_order(0)
    for _ in range(60):
        trainer.one_step(order[trainer.step % trainer.per_epoch])
    with torch.no_grad():
        d = trainer.densities(*trainer.model(trainer.train.batch(torch.arange(300))[0]))
        elbo, iwae = d.score(uw.elbo).mean(), d.score(uw.evidence).mean()
    assert elbo + 0.1 < iwae < -15
