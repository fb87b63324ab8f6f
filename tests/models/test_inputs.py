"""Items as people have them reach a model as it was trained, or are refused with the fix."""

import json
import warnings

import numpy as np
import pandas
import pyarrow
import pytest
import torch

import unweave as uw
from unweave.data.sparse import Sparse
from unweave.models.inputs import Inputs
from unweave.training.items import inputs_of
from unweave.training.trainer import trained

RNG = np.random.default_rng(0)
GREY = RNG.random((6, 8, 8), dtype=np.float32)
TABLE = {"height": RNG.normal(170, 10, 40), "age": RNG.uniform(20, 80, 40), "pulse": RNG.random(40)}


def vae(shape, **changes):
    torch.manual_seed(0)
    return uw.models.vae(shape, hidden=(16, 8), normals=3, **changes).eval()


def recipe_of(data, **changes):
    """One epoch of a small model of the data."""
    return uw.Recipe("mine", data, lambda: vae(data.shape, **changes), uw.elbo, batch=10, epochs=1)


@pytest.fixture(scope="module")
def model():
    return vae((8, 8))


@pytest.fixture(scope="module")
def of_table():
    """A model of three columns, whose names it knows."""
    data = uw.data.read(TABLE, say=lambda _: None)
    return trained(recipe_of(data, likelihood="normal"))


def rows(*names):
    return np.stack([TABLE[name] for name in names], 1)


# -- what people have ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.astype(np.float64),
        lambda x: x.astype(">f8"),
        lambda x: x.astype(">f4"),
        lambda x: x[::-1].copy()[::-1],
        lambda x: np.asfortranarray(x),
        lambda x: x.tolist(),
        lambda x: list(x),
        lambda x: torch.as_tensor(x).double(),
        lambda x: torch.as_tensor(x).requires_grad_(),
    ],
    ids=[
        "float64",
        "big-endian double",
        "big-endian",
        "reversed",
        "Fortran",
        "lists",
        "a list of arrays",
        "double tensor",
        "tensor with gradient",
    ],
)
def test_the_same_numbers_have_the_same_codes(model, change):
    x = change(GREY)
    assert torch.equal(model.encode(x), model.encode(GREY))
    assert torch.equal(model.reconstruct(x), model.reconstruct(GREY))
    assert torch.equal(model.posterior(x)["z"].value, model.posterior(GREY)["z"].value)


def test_a_model_of_doubles_takes_floats_and_doubles_exactly():
    double = vae((8, 8)).double()
    x = GREY.astype(np.float64)
    assert double.encode(x).dtype == torch.float64
    assert torch.equal(double.encode(GREY), double.encode(x))


def test_half_precision_and_truths(model):
    half = GREY.astype(np.float16)
    assert torch.equal(model.encode(half), model.encode(half.astype(np.float32)))
    truths = GREY > 0.5
    assert torch.equal(model.encode(truths), model.encode(truths.astype(np.float32)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16])
def test_whole_numbers_are_pixels_for_a_model_of_bytes(dtype):
    pixels = RNG.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    model = trained(recipe_of(uw.data.read(pixels, say=lambda _: None)))
    assert torch.equal(model.encode(pixels.astype(dtype)), model.encode(pixels / 255))
    for dark in (pixels > 128, np.zeros_like(pixels)):
        assert model.encode(dark).shape == (40, 3)
    with pytest.raises(ValueError, match=r"zeros and ones alone; .* x \* 255, or x.astype"):
        model.encode((pixels > 128).astype(dtype))


def test_zeros_and_ones_are_themselves_for_a_model_of_bits():
    bits = RNG.integers(0, 2, (40, 8, 8), dtype=np.uint8)
    model = trained(recipe_of(uw.data.read(bits, say=lambda _: None)))
    assert torch.equal(model.encode(bits), model.encode(bits.astype(np.float32)))
    assert torch.equal(model.encode(255 * bits), model.encode(bits))


def test_bytes_are_themselves_for_a_model_of_large_whole_numbers():
    counts = RNG.integers(0, 1000, (40, 5))
    data = uw.data.read(counts, say=lambda _: None)
    model = trained(recipe_of(data, likelihood="normal"))
    few = RNG.integers(0, 256, (7, 5), dtype=np.uint8)
    assert torch.equal(model.encode(few), model.encode(few.astype(np.float32)))


def test_codes_of_any_kind_are_decoded(model):
    z = RNG.integers(-2, 3, (5, 3))
    expected = model.decode(z=z.astype(np.float32))
    names = pandas.DataFrame(z, columns=["z[0]", "z[1]", "z[2]"])
    kinds = [z, z.tolist(), z.astype(">f8"), z[::-1][::-1], torch.as_tensor(z)]
    for given in [*kinds, pandas.DataFrame(z), names[["z[2]", "z[0]", "z[1]"]]]:
        assert torch.equal(model.decode(z=given), expected)
    hfvae = uw.models.hfvae((8, 8), hidden=(16, 8), classes=4, normals=3)
    one_hot = np.eye(4, dtype=int)[[1, 2, 3, 0, 1]]
    for y in ([1, 2, 3, 0, 1], np.array([1, 2, 3, 0, 1], np.uint8), one_hot):
        assert torch.equal(hfvae.decode(y=y, z=z), hfvae.decode(y=one_hot.astype(float), z=z))


# -- columns ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [pandas.DataFrame, pyarrow.table, dict], ids=lambda f: f.__name__)
def test_columns_are_put_in_order_by_their_names(of_table, frame):
    expected = of_table.encode(rows("height", "age", "pulse"))
    more = {"pulse": TABLE["pulse"], "name": ["?"] * 40, "age": TABLE["age"]}
    more["height"] = TABLE["height"]
    assert torch.equal(of_table.encode(frame(more)), expected)


def test_a_structured_array_and_a_frame_without_names(of_table):
    plain = rows("height", "age", "pulse")
    expected = of_table.encode(plain)
    fields = np.rec.fromarrays([plain[:, 2], plain[:, 0], plain[:, 1]], names="pulse,height,age")
    assert torch.equal(of_table.encode(np.asarray(fields)), expected)
    assert torch.equal(of_table.encode(pandas.DataFrame(plain)), expected)


def test_columns_that_are_missing_or_hold_text_are_named(of_table):
    frame = pandas.DataFrame(TABLE).rename(columns={"age": "years"})
    said = "no column age; it has height, years, pulse, and the model was trained on height, age"
    with pytest.raises(ValueError, match=said):
        of_table.encode(frame)
    with pytest.raises(ValueError, match="column 'age' of x holds no numbers"):
        of_table.encode({**TABLE, "age": ["old"] * 40})
    with pytest.raises(ValueError, match=r"takes \(n, 3\): the columns are height, age, pulse"):
        of_table.encode(rows("height", "age"))


def test_far_outliers_of_a_column_are_said_and_encoded(of_table):
    grams = {**TABLE, "age": TABLE["age"] * 1000}
    with pytest.warns(UserWarning, match=r"column 'age' goes from .* trained on numbers from 2"):
        of_table.encode(grams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of_table.encode({**TABLE, "age": TABLE["age"] * 1.5})


def test_words_that_are_counted_more_often_than_in_training_go_unsaid():
    counts = Sparse.of(np.array([[3, 0, 90], [0, 1, 0]]))
    none = np.zeros((2, 0), np.int64)
    words = {"columns": ["space", "aids", "use"]}
    data = uw.data.Data(counts, none, (), (), (), "documents", prepared=words)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inputs_of(data).tensor(np.array([[0, 52, 0]]), torch.zeros(()))


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "given", "fix"),
    [
        ((8, 8, 3), (5, 3, 8, 8), r"channels come last, np.moveaxis\(x, 1, -1\)"),
        ((8, 8), (8, 8), r"one item, x\[None\]"),
        ((6,), (6,), r"one item, x\[None\]"),
        ((8, 8), (5, 64), r"x.reshape\(-1, 8, 8\)"),
        ((8, 8), (5, 8, 8, 1), r"x.reshape\(-1, 8, 8\)"),
        ((8, 8), (5, 16, 16), "bring the items to the size"),
        ((6,), (5, 7), "bring the items to the size"),
    ],
)
def test_shapes_that_a_model_was_not_built_for(shape, given, fix):
    model = vae(shape)
    for method in (model.encode, model.posterior, model.reconstruct):
        with pytest.raises(ValueError, match=r"has shape .*, but the model takes \(n, .*" + fix):
            method(np.zeros(given))


def test_numbers_from_another_range():
    unit = trained(recipe_of(uw.data.digits().subset(range(40))))
    x = uw.data.digits().x[:5]
    for wrong, fix in (
        (x * 255, "divide pixels of 0 to 255 by 255"),
        (x * 2 - 1, "bring them to the scale"),
    ):
        with pytest.raises(ValueError, match=rf"x goes from .* from 0 to 1: {fix}"):
            unit.encode(wrong)
    signed = uw.data.read((RNG.random((40, 8, 8)) * 2 - 1).astype(np.float32), say=lambda _: None)
    model = trained(recipe_of(signed, likelihood="normal"))
    assert model.encode(signed.x * 1.5).shape == (40, 3)
    with pytest.raises(ValueError, match=r"trained on numbers from -0.99.* to 0.99.*: bring them"):
        model.encode(x * 255)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300])
def test_missing_and_infinite_numbers(of_table, wrong):
    x = rows("height", "age", "pulse")
    x[7, 1] = wrong
    with pytest.raises(ValueError, match="NaN or infinite numbers in 1 of 40 items, the first 7"):
        of_table.encode(x)
    masked = np.ma.masked_array(rows("height", "age", "pulse"), np.isinf(x) | np.isnan(x))
    if masked.mask.any():
        with pytest.raises(ValueError, match="NaN or infinite numbers in 1 of 40 items"):
            of_table.encode(masked)


def test_what_is_no_number(model):
    with pytest.raises(ValueError, match="x is <U1; expected numbers"):
        model.encode(np.full((5, 8, 8), "a"))


def test_codes_that_no_decoder_takes(model):
    for z, said in (
        (np.zeros(3), r"z\[None\] for a single one"),
        (np.zeros((5, 2)), r"have shape \(5, 2\); expected \(n, 3\)"),
    ):
        with pytest.raises(ValueError, match=said):
            model.decode(z=z)
    with pytest.raises(KeyError, match="no site 'w'; the model's latent sites are z"):
        model.decode(z=np.zeros((5, 3)), w=np.zeros((5, 3)))
    hfvae = uw.models.hfvae((8, 8), hidden=(16, 8), classes=4, normals=3)
    with pytest.raises(ValueError, match=r"site 'y': .* or class numbers of an integer type"):
        hfvae.decode(y=np.ones(5), z=np.zeros((5, 3)))


def test_decoding_leaves_batch_normalisation_alone():
    torch.manual_seed(0)
    model = uw.models.invariant((28, 28), hidden=(16,), normals=3).train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    model.decode(y=[1, 2], z=np.zeros((2, 3)))
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert all(part.training for part in model.modules())


# -- what a model keeps ----------------------------------------------------------------------------


def test_a_saved_model_knows_its_items(of_table, tmp_path):
    loaded = uw.load(uw.save(of_table, tmp_path / "m"))
    assert loaded.inputs == of_table.inputs
    assert loaded.inputs.prepared == {"columns": ["height", "age", "pulse"]}
    assert loaded.inputs.low == pytest.approx([column.min() for column in TABLE.values()], rel=1e-6)
    frame = pandas.DataFrame(TABLE)
    assert torch.equal(loaded.encode(frame[frame.columns[::-1]]), of_table.encode(frame))


def test_a_folder_without_this_key_still_loads(of_table, tmp_path):
    uw.save(of_table, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["inputs"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = uw.load(tmp_path)
    assert loaded.inputs is None
    x = rows("height", "age", "pulse")
    assert torch.equal(loaded.encode(x), of_table.encode(x))
    (tmp_path / "config.json").write_text(json.dumps(config | {"inputs": {"colour": True}}))
    with pytest.raises(ValueError, match="does not describe the model's inputs"):
        uw.load(tmp_path)


def test_a_new_folder_is_read_as_the_first_was(tmp_path):
    """Grey images of 12 pixels; the new ones are larger, and one has colours."""
    from PIL import Image

    for folder, side, mode in (("old", 12, "L"), ("new", 30, "RGB")):
        (tmp_path / folder).mkdir()
        for i in range(20):
            pixels = RNG.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(tmp_path / folder / f"{i:02}.png")
    quiet = {"say": lambda _: None}
    data = uw.data.read(tmp_path / "old", **quiet)
    model = trained(recipe_of(data))
    assert model.inputs == Inputs(
        (12, 12), "bytes", 0.0, 1.0, False, {"size": [12, 12], "colour": False}
    )
    new = uw.data.read(tmp_path / "new", like=model.inputs.prepared, **quiet)
    assert new.shape == (12, 12)
    assert model.encode(new.x).shape == (20, 3)
    with pytest.raises(ValueError, match=r"uw.data.read\(folder, like=model.inputs.prepared\)"):
        model.encode(uw.data.read(tmp_path / "new", **quiet).x)


def test_a_new_table_is_read_as_the_first_was(of_table):
    """Columns that are constant in the new rows stay, in the order of training."""
    few = {"pulse": [0.5, 0.5], "kind": ["a", "b"], "age": [30, 40], "height": [170.0, 180.0]}
    data = uw.data.read(few, labels="kind", like=of_table.inputs.prepared, say=lambda _: None)
    assert data.x.tolist() == [[170, 30, 0.5], [180, 40, 0.5]]
    assert data.prepared == of_table.inputs.prepared
    assert torch.equal(of_table.encode(data.x), of_table.encode(few))
    with pytest.raises(KeyError, match="no column 'pulse'"):
        uw.data.read({"age": [1.0], "height": [2.0]}, like=of_table.inputs.prepared)


@pytest.mark.parametrize("temperature", [None, 0.66])
def test_no_items_are_refused(temperature):
    model = uw.models.hfvae((8, 8), hidden=(16, 8), temperature=temperature).eval()
    for ask in (model.encode, model.reconstruct, model.posterior, model.elbo, model.log_prob):
        with pytest.raises(ValueError, match=r"shape \(0, 8, 8\), no items: expected one or more"):
            ask(np.zeros((0, 8, 8), dtype=np.float32))
    with pytest.raises(ValueError, match="n=-1: expected a number of draws"):
        model.sample(-1)


def test_an_objective_of_no_items_is_refused():
    model = uw.models.hfvae((8, 8), hidden=(16, 8))
    q, p = model(torch.zeros(0, 8, 8))
    with pytest.raises(ValueError, match="got a batch of 0: expected 2 to 100 items"):
        uw.formula("tc_vae(6)")(q, p, aggregate=uw.minibatch(100))
