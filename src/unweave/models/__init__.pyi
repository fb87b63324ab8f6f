"""Families of models, a function each: an encoder fills the trace q and a decoder the trace p."""

from .body import begin_body as begin_body
from .body import body_frame as body_frame
from .body import refit_law as refit_law
from .faces import faces as faces
from .families import autoencoder as autoencoder
from .families import hfvae as hfvae
from .families import measured as measured
from .families import vae as vae
from .model import Model as Model
from .model import family as family
from .pruning import prune as prune
from .rigid import rigid as rigid
from .scenes import counting as counting
from .scenes import of_windows as of_windows
from .stacked import stacked as stacked
from .state_space import deep_markov as deep_markov
from .state_space import linear_dynamics as linear_dynamics
from .state_space import static_frames as static_frames
from .state_space import switching_linear as switching_linear
from .tables import table as table
from .topics import begin_topics as begin_topics
from .topics import sites as sites
from .topics import topics as topics
from .views import invariant as invariant
