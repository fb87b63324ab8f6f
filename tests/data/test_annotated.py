"""AnnData: counts stay sparse, obs are labels and covariates, and codes go back into it."""

import anndata
import numpy as np
import pandas
import pytest
from scipy import sparse

import unweave as uw
from unweave.data import read
from unweave.data.store import Sparse
from unweave.recipes import own

# of anndata, where it takes a part of an AnnData beside pandas 3
pytestmark = pytest.mark.filterwarnings("ignore:The 'mode.chained_assignment' option")


def silent(text):
    """Say nothing."""


def names(word, n):
    """Names of the dtype object, as not all versions of anndata write pandas' own text."""
    return pandas.Index([f"{word} {k}" for k in range(n)], dtype=object)


def categories(letters, number):
    return pandas.Categorical.from_codes(number, pandas.Index(list(letters), dtype=object))


def cells(n=150, dense=False):
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(2.0, 1.0, 12) + 0.5, (n, 12)).astype(np.float32)
    counts[:, 3] = 0
    obs = pandas.DataFrame(index=names("cell", n))
    obs["batch"] = categories("bac", rng.integers(0, 3, n))
    obs["age"] = rng.integers(20, 70, n)
    obs["kind"] = categories("TB", rng.integers(0, 2, n))
    var = pandas.DataFrame(index=names("gene", 12))
    held = counts if dense else sparse.csr_matrix(counts)
    adata = anndata.AnnData(X=held.copy(), obs=obs, var=var)
    adata.layers["counts"] = held
    adata.X = adata.X * 0.5
    return adata, counts


@pytest.mark.parametrize("dense", [False, True])
def test_counts_obs_and_covariates(dense):
    adata, counts = cells(dense=dense)
    said = []
    data = read(adata, labels=["kind", "batch"], given=["batch", "age"], say=said.append)
    assert isinstance(data.x, Sparse) != dense
    varied = [k for k in range(12) if k != 3]
    np.testing.assert_array_equal(data.floats()[:, :11], counts[:, varied])
    expected = np.column_stack([adata.obs.batch == one for one in "abc"])
    np.testing.assert_array_equal(data.floats()[:, 11:14], expected)
    np.testing.assert_array_equal(data.floats()[:, 14], adata.obs.age)
    assert data.names == ("kind", "batch")
    assert data.prepared["columns"][10:] == ["gene 11", "batch=a", "batch=b", "batch=c", "age"]
    assert said[:2] == ["x: the layer counts", "left out of x, as they are constant: 1 variables"]
    again = read(adata[::-1, ::-1], like=data.prepared, say=silent)
    np.testing.assert_array_equal(again.floats(), data.floats()[::-1])


def test_what_is_not_there_is_named():
    adata, _ = cells()
    with pytest.raises(KeyError, match="no column 'site'; there are batch, age, kind"):
        read(adata, given="site", say=silent)
    with pytest.raises(KeyError, match="no column 'gene 20'"):
        read(adata, drop="gene 20", say=silent)
    adata.var_names = ["gene"] * 12
    with pytest.raises(ValueError, match="occur twice"):
        read(adata, say=silent)


def test_from_a_file_to_codes_in_the_anndata(tmp_path, capsys):
    adata, _ = cells()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    made = own(
        data=str(tmp_path / "cells.h5ad"),
        labels="kind",
        given="batch",
        library=True,
        decoder="pooled",
        latents=3,
        epochs=2,
    )
    kinds = [tuple(kind) for kind in made.model().config["kinds"]]
    assert kinds[-1] == ("given", 3)
    assert {kind for kind, _ in kinds[:-1]} <= {"poisson", "negative_binomial", "bernoulli"}
    uw.fit(made, tmp_path / "run", quick=True, quiet=True)
    done = uw.annotate(adata, tmp_path / "run")
    assert done is adata
    assert adata.obsm["X_unweave"].shape == (150, 3)
    about = adata.uns["unweave"]
    assert about["units"] == ["z[0]", "z[1]", "z[2]"]
    assert set(about["information"]) == set(about["units"])
    other = uw.annotate(str(tmp_path / "cells.h5ad"), tmp_path / "run")
    np.testing.assert_array_equal(other.obsm["X_unweave"], adata.obsm["X_unweave"])
    adata.write_h5ad(tmp_path / "annotated.h5ad")
    back = anndata.read_h5ad(tmp_path / "annotated.h5ad")
    np.testing.assert_array_equal(back.obsm["X_unweave"], adata.obsm["X_unweave"])


def test_a_sparse_matrix_has_rows_for_items():
    _, counts = cells()
    data = read(sparse.csc_matrix(counts), labels={"kind": ["a", "b"] * 75}, say=silent)
    np.testing.assert_array_equal(data.floats(), counts)
    assert data.names == ("kind",)


def test_a_sparse_matrix_that_points_beyond_itself_is_refused(tmp_path):
    adata, _ = cells()
    adata.layers["counts"].indices[5] = 10**6  # SciPy would read whatever lies there
    with pytest.raises(ValueError, match=r"\(150, 12\) is damaged .* make it or save it again"):
        read(adata, say=silent)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(ValueError, match="is damaged"):
        read(tmp_path / "cells.h5ad", say=silent)
    with pytest.raises(ValueError, match="is damaged"):
        read(adata.layers["counts"], say=silent)


def test_a_damaged_h5ad_is_refused(tmp_path):
    place = tmp_path / "cells.h5ad"
    cells()[0].write_h5ad(place)
    whole = place.read_bytes()
    for content in (b"", b"nothing", whole[:-1], whole[:2000] + bytes(900) + whole[2900:]):
        place.write_bytes(content)
        with pytest.raises(ValueError, match=r"cells\.h5ad: no AnnData that anndata reads .*again"):
            read(place, say=silent)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(tmp_path / "other.h5ad", say=silent)
