"""Named views of images: what each changes, and what it leaves."""

import pytest
import torch
from torch.nn import functional as F

from unweave.models.views import Views, _largest


@pytest.fixture
def photos():
    torch.manual_seed(0)
    return torch.rand(40, 12, 10, 3)


def test_a_flip_mirrors_whole_images_and_colours_stay(photos):
    seen = Views.named("flip")(photos)
    mirrored = photos.flip(2)
    is_mirrored = torch.isclose(seen, mirrored, atol=1e-5).flatten(1).all(1)
    is_plain = torch.isclose(seen, photos, atol=1e-5).flatten(1).all(1)
    assert (is_mirrored ^ is_plain).all()
    assert 5 < is_mirrored.sum() < 35  # of 40 at a half each: a false failure in a million


def test_a_shift_moves_all_colours_alike_and_reflects_the_edges(photos):
    grey = photos[..., :1].expand_as(photos)
    seen = Views.named("shift=3")(grey)
    assert (seen - grey).abs().max() > 0.1
    torch.testing.assert_close(seen[..., 0], seen[..., 2])
    assert torch.allclose(Views.named("shift=3,zoom")(torch.ones(3, 8, 8)), torch.ones(3, 8, 8))


def test_values_stay_in_their_range(photos):
    seen = Views.named("rotation, shear, zoom, shift, bend, dim, flip")(photos)
    assert seen.shape == photos.shape
    assert seen.min() >= 0
    assert seen.max() <= 1 + 1e-6


def test_images_without_colours_keep_their_shape():
    assert Views.named("rotation=5")(torch.rand(2, 9, 9)).shape == (2, 9, 9)


@pytest.mark.parametrize("text", ["turn", "shift=far", "shift=-1", "flip,,", "window=3"])
def test_what_is_no_view_is_refused(text):
    with pytest.raises(ValueError, match="is no view; expected some of rotation, shear, zoom"):
        Views.named(text)


def test_strokes_grow_by_the_largest_of_each_pixel_and_its_neighbours(photos):
    planes = photos.movedim(-1, 1)  # (batch, channels, h, w)
    assert torch.equal(_largest(planes), F.max_pool2d(planes, 3, 1, 1))
