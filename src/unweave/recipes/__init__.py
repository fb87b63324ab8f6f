"""One typed function per published experiment: its arguments are the flags of `unweave train NAME`.

Building a recipe trains nothing: `uw.fit(uw.recipes.digits(epochs=5), out="runs/x")` does.
"""

from .celeba import celeba as celeba
from .counting import counting as counting
from .dsprites import dsprites as dsprites
from .generalisation import generalisation as generalisation
from .images import ablation as ablation
from .images import autoencoder as autoencoder
from .images import beta_vae as beta_vae
from .images import clustering as clustering
from .images import digits as digits
from .images import digits_hfvae as digits_hfvae
from .images import fashion_mnist as fashion_mnist
from .images import mnist as mnist
from .images import vae as vae
from .mouse import mouse as mouse
from .own import own as own
from .programs import programs as programs
from .pruning import pruning as pruning
from .semi_supervised import semi_supervised as semi_supervised
from .sprites import sprites as sprites
from .topics import topics as topics
from .yaleb import yaleb as yaleb

__all__ = [
    "ablation",
    "autoencoder",
    "beta_vae",
    "celeba",
    "clustering",
    "counting",
    "digits",
    "digits_hfvae",
    "dsprites",
    "fashion_mnist",
    "generalisation",
    "mnist",
    "mouse",
    "own",
    "programs",
    "pruning",
    "semi_supervised",
    "sprites",
    "topics",
    "vae",
    "yaleb",
]

PURPOSES = {
    "Start here": ("digits", "own"),
    "Trees of groups": (
        "mnist",
        "fashion_mnist",
        "digits_hfvae",
        "dsprites",
        "celeba",
        "topics",
        "programs",
    ),
    "Programs": ("clustering", "semi_supervised", "sprites", "yaleb", "counting", "mouse"),
    "To compare with": (
        "beta_vae",
        "vae",
        "autoencoder",
        "ablation",
        "pruning",
        "generalisation",
    ),
}
"""The recipes by what they are for, in the order in which a newcomer is shown them."""
