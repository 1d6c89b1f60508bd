"""Run scikit-learn's own tests of its MLP against ours: the classes are replaced, the rest stays.

Fails if a test fails that is not in the list below, or if one of the list passes.
"""

import sys

import pytest
from sklearn.neural_network.tests import test_mlp

import xpnet

#: The tests that can't pass, each with the reason.
EXPECTED = {
    "test_fit": "sets private attributes and calls _fit_stochastic",
    "test_gradient": "calls _loss_grad_lbfgs",
    "test_lbfgs_regression_maxfun[X0-y0]": "wants a warning that 10 evaluations are too few; from "
    "these initial weights L-BFGS has converged after 8 iterations",
}


class Replace:
    """Puts our estimators in the place of scikit-learn's, and notes what fails."""

    def __init__(self) -> None:
        self.passed, self.failed = [], []

    def pytest_collection_modifyitems(self) -> None:
        """Replace the classes, once the tests are loaded."""
        test_mlp.MLPClassifier = xpnet.MLPClassifier
        test_mlp.MLPRegressor = xpnet.MLPRegressor

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that passed, or failed in any of its stages."""
        if report.failed or report.when == "call":
            where = self.passed if report.passed else self.failed
            where.append(report.nodeid.rpartition("::")[2])


found = Replace()
pytest.main(
    ["-q", "--tb=no", "-p", "no:cacheprovider", "--pyargs", test_mlp.__name__], plugins=[found]
)
print(f"scikit-learn's tests of its MLP: {len(found.passed)} passed, {len(found.failed)} failed")
for name in found.failed:
    print(f"  {name}: {EXPECTED.get(name, 'UNEXPECTED')}")
unexpected = {*found.failed} ^ {*EXPECTED}
if unexpected or not found.passed:
    sys.exit(f"other failures than expected: {', '.join(sorted(unexpected))}")
