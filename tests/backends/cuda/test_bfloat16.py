"""Products of factors that are rounded to bfloat16."""

import numpy as np
import pytest
from emulator import EmulatedLauncher, stand_in, why_no_compiler
from sklearn import datasets

import xpnet as xn
from xpnet.backends.cuda.bfloat16 import Bfloat16Kernels
from xpnet.backends.numpy_backend import NumpyBackend
from xpnet.backends.select import select, why_no_cuda

RNG = np.random.default_rng(0)


def wide(low):
    """Return what bfloat16 numbers, given as their bits, are in float32."""
    return (low.astype(np.uint32) << 16).view(np.float32)


def multiply(a, b, out):
    """Multiply as cuBLAS does: rounded factors exactly, or factors of the result's type."""
    a, b = (wide(x) if x.dtype == np.uint16 else x for x in (a, b))
    np.matmul(a, b, out=out)
    return True


@pytest.fixture
def launcher():
    why = why_no_compiler()
    if why is not None:
        pytest.skip(why)
    return EmulatedLauncher()


@pytest.fixture
def kernels(launcher):
    return Bfloat16Kernels(np, launcher, multiply)


NUMBERS = {
    "usual": RNG.standard_normal(1001),
    "of every size": RNG.standard_normal(1000) * 10.0 ** RNG.integers(-44, 38, 1000),
    "ties": wide(np.arange(2000, dtype=np.uint16) + 16000) * (1 + 2.0**-9),
    "special": [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 3.4e38, -3.4e38, 1e-45, -1e-40],
    "one": [1 / 3],
}


@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)
def test_numbers_are_rounded_as_pytorch_rounds_them(kernels, numbers):
    torch = pytest.importorskip("torch")
    x = np.array(numbers, np.float32)[:, None]
    # A NaN whose bits are all in the lower half.
    x = np.append(x, np.array([[0x7F800001]], np.uint32).view(np.float32), axis=0)
    found = wide(kernels._rounded(x))
    expected = torch.from_numpy(x).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(found, expected)


def laid_out(*shape):
    """Return the same numbers in each way that matrices lie in a network."""
    x = RNG.standard_normal(shape).astype(np.float32)
    turned = np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    return [x, turned]


@pytest.mark.parametrize("stack", [(), (3,)], ids=str)
def test_products_are_those_of_rounded_factors(kernels, stack):
    for a in laid_out(*stack, 7, 5):
        for b in laid_out(*stack, 5, 6):
            out = np.empty((*stack, 7, 6), np.float32)
            assert kernels.multiply(a, b, out)
            expected = wide(kernels._rounded(a)) @ wide(kernels._rounded(b))
            np.testing.assert_array_equal(out, expected)
            assert 1e-4 < np.abs(out - a @ b).max() < 0.1


@pytest.mark.parametrize("members", [1, 3, 33])
@pytest.mark.parametrize("size", [(7, 5), (4, 8), (1, 3)], ids=str)
def test_members_weights_are_rounded_as_they_lie_in_flat_buffers(kernels, members, size):
    n, m = size
    flat = RNG.standard_normal((members, n * m + 3)).astype(np.float32)
    weight = flat[:, : n * m].reshape(members, n, m)
    for given in (weight, weight.swapaxes(1, 2)):
        low = kernels._rounded(given)
        assert low.shape == given.shape
        np.testing.assert_array_equal(wide(low), wide(kernels._rounded(given.copy())))
    x, out = RNG.standard_normal((6, m)).astype(np.float32), np.empty((members, 6, n), np.float32)
    kernels._launcher.launches.clear()
    assert kernels.multiply(x, weight.swapaxes(1, 2), out)
    assert [grid[2] for _, grid, _ in kernels._launcher.launches] == [1, members]
    expected = wide(kernels._rounded(x)) @ wide(kernels._rounded(weight)).swapaxes(1, 2)
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-6)


def test_float64_and_what_has_gaps_are_multiplied_as_they_are(kernels):
    a, b = RNG.standard_normal((4, 6)), RNG.standard_normal((3, 2))
    for dtype in (np.float32, np.float64):
        x, y = a.astype(dtype)[:, ::2], b.astype(dtype)
        out = np.empty((4, 2), dtype)
        assert kernels.multiply(x, y, out)
        np.testing.assert_allclose(out, x @ y, rtol=1e-5, atol=1e-6)
    x = a.copy()
    out = np.empty((4, 4))
    assert kernels.multiply(x, x.T, out)
    np.testing.assert_array_equal(out, x @ x.T)


def test_what_cublas_does_not_take_is_left_to_the_namespace(launcher):
    kernels = Bfloat16Kernels(np, launcher, None)
    a, b = RNG.standard_normal((4, 6)).astype("f4"), RNG.standard_normal((3, 6)).astype("f4")
    out = np.empty((4, 3), "f4")
    kernels.product(a, b.T, out)
    np.testing.assert_array_equal(out, a @ b.T)


def digits(backend, epochs=3):
    X, y = datasets.load_digits(return_X_y=True)
    net = xn.Network(
        [xn.Linear(32), xn.BatchNorm(), xn.ReLU(), xn.Linear(10)],
        loss="softmax_cross_entropy",
        n_features=64,
        device=backend,
        random_state=0,
    )
    trainer = xn.Trainer(net, xn.Adam(3e-3))
    history = trainer.fit(X / 16, y, batch_size=100, epochs=epochs)
    assert net.parameters.dtype == np.float32
    return history["train_loss"], history["train_error"][-1]


@pytest.mark.slow
def test_a_network_learns_as_in_float32(kernels):
    full, error = digits(select("cpu"))
    rounded, rounded_error = digits(NumpyBackend(kernels))
    assert rounded != full
    np.testing.assert_allclose(rounded, full, rtol=0.02)
    assert abs(rounded_error - error) < 0.01


def test_small_gradients_are_not_lost(kernels):
    """In float16 they would be zero, without a scaled loss."""
    dy = np.full((5, 3), 1e-20, np.float32)
    x = np.full((5, 4), 1.0, np.float32)
    out = np.empty((3, 4), np.float32)
    kernels.weight_gradient(dy, x, out)
    np.testing.assert_allclose(out, 5e-20, rtol=0.01)


def test_steps_can_be_captured(launcher):
    device = stand_in()

    def on_device(a, b, out):
        factors = [wide_on(device, x) for x in (a, b)]
        device.xp.matmul(*factors, out=out)
        return True

    def wide_on(device, x):
        if x.dtype != np.uint16:
            return x
        bits = device.xp.left_shift(x.astype(np.uint32), 16)
        return bits.view(np.float32)

    device.kernels = Bfloat16Kernels(device.xp, device.kernels._launcher, on_device)
    net = xn.Network([xn.Linear(4)], loss="softmax_cross_entropy", n_features=6, device=device)
    trainer = xn.Trainer(net, xn.SGD(0.1))
    x, y = RNG.standard_normal((20, 6)), np.arange(20) % 4
    losses = [float(trainer.step(x, y)) for _ in range(8)]
    assert (device.captures, losses[-1] < losses[0]) == (1, True)
    plain = xn.Network([xn.Linear(4)], loss="softmax_cross_entropy", n_features=6, device="cpu")
    plain.load_state(net.state())
    assert plain.evaluate(x, y)["loss"] == pytest.approx(net.evaluate(x, y)["loss"], rel=0.01)


@pytest.mark.skipif(why_no_cuda() is not None, reason=f"CUDA: {why_no_cuda()}")
def test_a_gpu_learns_as_in_float32():
    full, error = digits(select("cuda"), epochs=10)
    rounded, rounded_error = digits(select("cuda", precision="bfloat16"), epochs=10)
    assert rounded != full
    np.testing.assert_allclose(rounded, full, rtol=0.05)
    assert abs(rounded_error - error) < 0.01
