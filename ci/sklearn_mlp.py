"""Run scikit-learn's own tests of its MLP against ours: the classes are replaced, the rest stays."""

import sys

import pytest

import xpnet
from sklearn.neural_network.tests import test_mlp

#: Tests that reach into what is private, or into how scikit-learn's own code is written.
PRIVATE: dict[str, str] = {}


class Replace:
    """Puts our estimators in the place of scikit-learn's."""

    def pytest_collection_modifyitems(self, items):
        test_mlp.MLPClassifier = xpnet.MLPClassifier
        test_mlp.MLPRegressor = xpnet.MLPRegressor


sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "--pyargs", "sklearn.neural_network.tests.test_mlp", *sys.argv[1:]], plugins=[Replace()]))
