"""What a network begins with that gets numbers."""

import numpy as np
import pytest

import xpnet as xn
from xpnet.recipes import specs
from xpnet.recipes.embeddings import EMBEDDINGS, Inputs, Periodic, Piecewise


def inputs(numbers=(0, 2), of_classes=False, n=200):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    X[:, 2] = X[:, 2] > 0
    X[:, 3] = rng.integers(5, size=n)
    y = np.abs(X[:, 0]) + X[:, 1]
    return Inputs(X, numbers, (y > 1).astype(int) if of_classes else y, of_classes)


def network(layers):
    return xn.Network([*layers, xn.Linear(1)], loss="mean_squared_error", n_features=4,
                      device="cpu")  # fmt: skip


@pytest.mark.parametrize("of_classes", [False, True])
@pytest.mark.parametrize("by_target", [False, True])
def test_bins_are_of_copies_of_columns_with_several(of_classes, by_target):
    given = inputs((0, 1, 2), of_classes)
    repeated, among = Piecewise(n_bins=6, by_target=by_target).layers(given)
    assert tuple(repeated.columns) == (0, 1)  # the third one has two values
    y = given.labels if by_target else None
    expected = xn.piecewise_bins(given.features, 6, y, classification=of_classes)
    assert dict(among.columns) == {4: expected[0], 5: expected[1]}
    net = network([repeated, among])
    out = net.activations(given.features[:5], layers=[1])[0]
    np.testing.assert_array_equal(out[:, :4], given.features[:5])
    assert out.shape[1] == 4 + sum(len(edges) - 1 for edges in dict(among.columns).values())


def test_waves_are_of_copies_too():
    given = inputs((3, 0))
    repeated, waves = Periodic(n_dims=4, n_frequencies=3).layers(given)
    assert (tuple(repeated.columns), tuple(waves.columns)) == ((3, 0), (4, 5))
    net = network([repeated, waves])
    out = net.activations(given.features[:5], layers=[1])[0]
    np.testing.assert_array_equal(out[:, :4], given.features[:5])
    # As the dense form, where the number itself stands before its waves.
    dense = xn.PeriodicEmbedding((3, 0), 4, 3, 0.1, relu=False, phase=True, dense=True)
    other = network([dense])
    own = {name.partition(".")[2]: a for name, a in net.state().items() if name.startswith("1.")}
    other.load_state(other.state() | {f"0.{name}": a for name, a in own.items()})
    theirs = other.activations(given.features[:5], layers=[0])[0]
    np.testing.assert_allclose(theirs[:, [2, 6]], given.features[:5][:, [3, 0]])
    np.testing.assert_allclose(theirs[:, [3, 4, 5, 7, 8, 9]], out[:, 4:], rtol=1e-6)


@pytest.mark.parametrize("embedding", [Piecewise(), Periodic()], ids=str)
def test_without_numbers_there_is_none(embedding):
    assert embedding.layers(inputs(())) == []


def test_nor_where_no_column_has_several_bins():
    assert Piecewise().layers(inputs((2,))) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("waves", "embedding is 'waves': give one of piecewise, periodic"),
        ("piecewise:n_bins=1", "n_bins is 1: give 2 or more"),
        ("piecewise:n_dims=-1", "n_dims is -1"),
        ("piecewise:by_target=yes", "give true or false"),
        ("periodic:n_dims=1", "n_dims is 1: give 2 or more"),
        ("periodic:waves=1", "waves is no option of it"),
    ],
)
def test_what_is_none(text, message):
    with pytest.raises(ValueError, match=message):
        specs.make(text, EMBEDDINGS, "embedding")
