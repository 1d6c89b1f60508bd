"""xpnet against PyTorch: golden values everywhere, and PyTorch itself where it is installed."""

import numpy as np
import oracle
import pytest

import xpnet as xn

CASES = [(family, name) for family, cases in oracle.CASES.items() for name in cases]

each_case = pytest.mark.parametrize(
    ("family", "name"), CASES, ids=[f"{family}-{name}" for family, name in CASES]
)
needs_torch = pytest.mark.skipif(oracle.NO_TORCH is not None, reason=str(oracle.NO_TORCH))


def has_package(case):
    """Skip where the package that a case asks beside PyTorch is not installed."""
    if hasattr(case, "needs"):
        pytest.importorskip(case.needs)


def assert_agree(ours, theirs, tolerance=1e-10):
    """Check that names and shapes are the same, and that values differ by rounding alone."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, name
        np.testing.assert_allclose(
            ours[name], expected, rtol=tolerance, atol=tolerance, err_msg=name
        )


@each_case
def test_golden_values(backend, family, name):
    inputs, expected = oracle.read(family, name)
    assert_agree(oracle.CASES[family][name].by_xpnet(inputs, backend), expected)


@pytest.mark.parametrize("family", oracle.CASES)
def test_golden_files_hold_just_the_cases(family):
    with np.load(oracle.GOLDEN / f"{family}.npz", allow_pickle=False) as file:
        assert {key.split("/")[0] for key in file.files} == set(oracle.CASES[family])


@needs_torch
@each_case
def test_golden_files_are_what_pytorch_says(family, name):
    inputs, expected = oracle.read(family, name)
    case = oracle.CASES[family][name]
    has_package(case)
    drawn = case.inputs(oracle.SEED)
    assert inputs.keys() == drawn.keys()
    assert_agree(case.by_torch(inputs), expected, tolerance=1e-12)


@needs_torch
@pytest.mark.parametrize("seed", [1, 2])
@each_case
def test_live(backend, family, name, seed):
    case = oracle.CASES[family][name]
    has_package(case)
    inputs = case.inputs(seed)
    assert_agree(case.by_xpnet(inputs, backend), case.by_torch(inputs))


@pytest.mark.parametrize("family", ["optimizers", "schedules"])
def test_cases_of_training_move_the_weights_and_differ(family):
    # Agreement would mean little if the fifty steps led nowhere, or all to one place.
    ends = []
    for name in oracle.CASES[family]:
        inputs, expected = oracle.read(family, name)
        ends.append(expected["5.weight"])
        assert np.abs(ends[-1] - inputs["0/5.weight"]).max() > 0.05, name
    for i, end in enumerate(ends):
        assert all(np.abs(end - other).max() > 1e-3 for other in ends[:i])


EVERY_LAYER = [
    xn.OneHot({4: 3}),
    xn.Embedding({4: 5}, 3),
    xn.Dropout(0.2),
    xn.Linear(8),
    xn.BatchNorm(momentum=0.3, eps=1e-3),
    xn.ReLU(),
    xn.Dropout(0.5),
    xn.Linear(7, bias=False),
    xn.LeakyReLU(0.2),
    xn.Linear(6),
    xn.Tanh(),
    xn.Linear(5, bias=True),
    xn.BatchNorm(),
    xn.Sigmoid(),
    xn.Linear(5),
    xn.Softmax(),
    xn.Linear(3),
]


@needs_torch
@pytest.mark.parametrize(
    "loss", ["softmax_cross_entropy", "sigmoid_cross_entropy", "mean_squared_error"]
)
def test_pytorch_reads_a_saved_model_and_predicts_the_same(backend, tmp_path, loss):
    import safetensors.torch
    import torch

    rng = np.random.default_rng(3)
    X = rng.standard_normal((40, 6))
    X[:, 4:] = rng.integers(-1, [3, 5], (40, 2))
    y = {
        "softmax_cross_entropy": rng.integers(3, size=40),
        "sigmoid_cross_entropy": rng.integers(2, size=(40, 3)),
        "mean_squared_error": rng.standard_normal((40, 3)),
    }[loss]
    net = xn.Network(EVERY_LAYER, loss=loss, n_features=6, device=backend, dtype="float64")
    # Trained a little, so that no bias and no running statistic is still at its start.
    xn.Trainer(net, xn.Adam(0.01)).fit(X, y, batch_size=10, epochs=2)
    net.save(tmp_path / "model.safetensors")

    model = oracle.sequential(net)
    model.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    model.eval()
    with torch.no_grad():
        z = model(torch.tensor(X)).numpy()
    ours = oracle.on_host(backend, net.forward(backend.asarray(X)))
    np.testing.assert_allclose(ours, z, rtol=0, atol=1e-12)
    if loss == "softmax_cross_entropy":
        assert (net.predict(X) == z.argmax(axis=-1)).all()
        expected = torch.softmax(torch.tensor(z), dim=-1).numpy()
        np.testing.assert_allclose(net.predict_proba(X), expected, rtol=0, atol=1e-12)
