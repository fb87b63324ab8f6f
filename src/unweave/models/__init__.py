"""A model is an encoder that fills a trace q and a decoder that fills a trace p; one function per family."""

from .counting import counting as counting
from .counting import of_windows as of_windows
from .faces import faces as faces
from .families import autoencoder as autoencoder
from .families import hfvae as hfvae
from .families import measured as measured
from .families import vae as vae
from .model import Model as Model
from .model import family as family
from .views import invariant as invariant
