"""The race at training TabM is fair: from the same weights both train alike."""

import harness
import numpy as np
import pytest
import tabm_rivals
from tabm_rivals import Shape

SHAPE, EXAMPLES = Shape(5, 3, width=7, blocks=2, members=4, dropout=0.0), 20


def test_the_package_trains_as_we_do():
    if (why := tabm_rivals.Tabm.why_not("cpu")) is not None:
        pytest.skip(f"tabm: {why}")
    network = tabm_rivals.make_network(SHAPE, "float32", harness.open_backend("cpu"))
    draw = np.random.default_rng(0)
    x = draw.standard_normal((EXAMPLES, 5)).astype("float32")
    y = draw.integers(0, 3, EXAMPLES).astype(np.int32)
    theirs = tabm_rivals.Tabm(network, SHAPE, x, y, rate=0.01)
    ours = tabm_rivals.Ours(network, x, y, rate=0.01)
    losses = [[float(one.step()) for _ in range(10)] for one in (ours, theirs)]
    assert losses[0][-1] < 0.97 * losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_the_products_are_those_between_hidden_layers():
    network = tabm_rivals.make_network(SHAPE, "float64", harness.open_backend("cpu"))
    products = tabm_rivals.Products(network, SHAPE, EXAMPLES)
    products.step()
    np.testing.assert_allclose(products.z, products.d @ products.w)
    np.testing.assert_allclose(products.dw, products.d.T @ products.a)
