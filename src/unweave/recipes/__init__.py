"""One typed function per published experiment: its arguments are the flags of `unweave train NAME`.

Building a recipe trains nothing: `uw.fit(uw.recipes.digits(epochs=5), out="runs/x")` does. The one
exception is M1, whose codes `semi_supervised` may need for its labels, if no run of it is given.
"""

from .celeba import celeba as celeba
from .clusters import clustering as clustering
from .clusters import digits as digits
from .counting import counting as counting
from .dsprites import dsprites as dsprites
from .generalisation import generalisation as generalisation
from .images import ablation as ablation
from .images import autoencoder as autoencoder
from .images import beta_vae as beta_vae
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
    "Start here": {"digits": "1 min", "own": ""},
    "Trees of groups": {
        "mnist": "4 to 13 min",
        "fashion_mnist": "5 min",
        "digits_hfvae": "26 s",
        "dsprites": "",
        "celeba": "5 to 9 min",
        "topics": "98 to 273 s",
        "programs": "",
    },
    "Programs": {
        "clustering": "8 min",
        "semi_supervised": "7 min",
        "sprites": "65 s",
        "yaleb": "92 to 113 s",
        "counting": "47 to 93 s",
        "mouse": "",
    },
    "To compare with": {
        "beta_vae": "4 min",
        "vae": "2 to 3 min",
        "autoencoder": "85 to 134 s",
        "ablation": "",
        "pruning": "",
        "generalisation": "",
    },
}
"""The recipes by what they are for, in the order in which a newcomer is shown them.

Beside each stands the time in which one run was trained on one core, as its docstring or its page
in docs/ has it; nothing where neither has one.
"""
