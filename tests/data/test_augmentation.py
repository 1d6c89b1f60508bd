"""Augmentation: what each transform does to images and features, and what it leaves alone."""

import math

import numpy as np
import pytest
from scipy import ndimage, stats
from scipy.special import betaincinv

import xpnet as xn
from xpnet.data.augmentation import Geometric, Stage, Transform, _joined, _quantiles
from xpnet.data.draws import Draws
from xpnet.randomness import Purpose, augmentation_keys, generator

HEIGHT, WIDTH = 6, 9


def images(n=40, channels=1, dtype=np.float64):
    X = np.random.default_rng(0).normal(size=(n, HEIGHT * WIDTH * channels))
    return X.astype(dtype)


def shape(channels=1):
    return (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)


def change(backend, transforms, X, image_shape=None, epoch=0):
    """Return the changed examples on the host."""
    augmentation = xn.Augmentation(transforms, image_shape)
    return backend.to_host(augmentation.apply(backend.asarray(X), random_state=3, epoch=epoch))


def drawn(transforms, n, dtype=np.float64, epoch=0):
    """Return what a group of geometric transforms draws for n images, on NumPy."""
    backend = xn.backends.select.select("cpu")
    key = augmentation_keys(3, epoch, 1)[0]
    stage = Stage(backend, Draws(np, key, dtype), HEIGHT, WIDTH)
    maps = [transform.draw(n, stage) for transform in transforms]
    return [[np.broadcast_to(value, (n, 1))[:, 0] for value in one] for one in maps]


# -- random numbers ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws_are_the_same_everywhere(backend, dtype):
    key = augmentation_keys(1, 2, 1)[0]
    here = Draws(np, key, np.float64)
    there = Draws(backend.xp, backend.asarray(key), dtype)
    for name, arguments in (("uniform", (0.0, 1.0)), ("whole", (-2, 2))):
        first = getattr(here, name)(*arguments, 50, 3)
        second = backend.to_host(getattr(there, name)(*arguments, 50, 3))
        assert second.dtype == dtype
        np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(
        here.normal(50, 3), backend.to_host(there.normal(50, 3)), rtol=1e-4, atol=1e-5
    )


def test_draws_have_their_distributions():
    draws = Draws(np, augmentation_keys(0, 0, 1)[0], np.float64)
    uniform = draws.uniform(-1.0, 3.0, 20_000)
    assert -1.0 <= uniform.min() < uniform.max() < 3.0
    assert stats.kstest(uniform, stats.uniform(-1, 4).cdf).pvalue > 0.01
    assert stats.kstest(draws.normal(20_000), stats.norm.cdf).pvalue > 0.01
    counts = np.bincount(draws.whole(0, 4, 20_000).astype(int), minlength=5)
    assert len(counts) == 5
    assert stats.chisquare(counts).pvalue > 0.01


def test_streams_and_keys_share_nothing():
    streams = [Draws(np, key, np.float64).uniform(0, 1, 1000) for key in augmentation_keys(0, 0, 3)]
    draws = Draws(np, augmentation_keys(0, 1, 1)[0], np.float64)
    streams += [draws.uniform(0, 1, 1000) for _ in range(3)]
    streams.append(Draws(np, augmentation_keys(1, 0, 1)[0], np.float64).uniform(0, 1, 1000))
    correlations = np.corrcoef(streams) - np.eye(len(streams))
    assert np.abs(correlations).max() < 0.12


# -- moving pixels ----


@pytest.mark.parametrize("channels", [1, 3])
def test_a_flip_mirrors_left_and_right(backend, channels):
    X = images(channels=channels)
    found = change(backend, [xn.HorizontalFlip(1.0)], X, shape(channels))
    expected = X.reshape(-1, HEIGHT, WIDTH, channels)[:, :, ::-1].reshape(X.shape)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(change(backend, [xn.HorizontalFlip(0.0)], X, shape(channels)), X)


def test_a_flip_has_its_probability(backend):
    X = images(2000)
    flipped = (change(backend, [xn.HorizontalFlip(0.3)], X, shape()) != X).any(axis=1)
    assert abs(flipped.mean() - 0.3) < 0.04


@pytest.mark.parametrize("channels", [1, 2])
def test_a_shift_moves_by_whole_pixels_and_repeats_the_edge(backend, channels):
    X = images(300, channels)
    found = change(backend, [xn.Shift(2)], X, shape(channels)).reshape(-1, HEIGHT, WIDTH, channels)
    padded = np.pad(
        X.reshape(-1, HEIGHT, WIDTH, channels), [(0, 0), (2, 2), (2, 2), (0, 0)], mode="edge"
    )
    seen = set()
    for image, around in zip(found, padded, strict=True):
        matches = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if np.array_equal(image, around[i : i + HEIGHT, j : j + WIDTH])
        ]
        assert len(matches) == 1
        seen |= {*matches}
    assert len(seen) == 25  # each shift there is


@pytest.mark.parametrize(
    "transforms",
    [
        [xn.Rotation(40)],
        [xn.Zoom(0.4)],
        [xn.Rotation(20), xn.Zoom(0.2), xn.Shift(2), xn.HorizontalFlip(0.5)],
        [xn.Shift(1), xn.HorizontalFlip(0.5), xn.Zoom(0.3), xn.Rotation(90)],
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_pixels_move_as_scipy_moves_them(backend, transforms, dtype):
    """By an independent interpolation, from what was drawn and matrices written out."""
    X = images(10, dtype=dtype)
    found = change(backend, transforms, X, shape())
    centre = np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])
    for k, (image, result) in enumerate(zip(X, found, strict=True)):
        whole = np.eye(3)  # of where a pixel comes from: through the last transform first
        for a, b, c, d, u, v in drawn(transforms, len(X), dtype):
            whole @= np.array([[a[k], b[k], u[k]], [c[k], d[k], v[k]], [0, 0, 1]])
        matrix, offset = whole[:2, :2], whole[:2, 2]
        expected = ndimage.affine_transform(
            image.reshape(HEIGHT, WIDTH).astype(float),
            matrix,
            offset + centre - matrix @ centre,
            order=1,
            mode="nearest",
        )
        tolerance = 1e-12 if dtype == np.float64 else 1e-4
        np.testing.assert_allclose(result.reshape(HEIGHT, WIDTH), expected, atol=tolerance)


def test_a_rotation_turns_by_its_angle_at_most():
    ((a, b, c, d, u, v),) = drawn([xn.Rotation(25)], 2000)
    angles = np.degrees(np.arctan2(b, a))
    np.testing.assert_allclose([a**2 + b**2, a * d - b * c], 1.0, rtol=1e-12)
    assert -25 <= angles.min() < -24 < 24 < angles.max() <= 25
    np.testing.assert_array_equal([u, v], 0.0)


def test_a_zoom_scales_by_its_share_at_most():
    ((a, b, c, d, u, v),) = drawn([xn.Zoom(0.3)], 2000)
    np.testing.assert_array_equal(a, d)
    assert 0.7 <= (1 / a).min() < 0.72 < 1.28 < (1 / a).max() <= 1.3
    np.testing.assert_array_equal([b, c, u, v], 0.0)


def test_joined_maps_go_through_the_last_one_first():
    rng = np.random.default_rng(0)
    maps = [tuple(rng.normal(size=6)) for _ in range(3)]
    point = np.array([0.3, -1.2])
    expected = point
    for a, b, c, d, u, v in reversed(maps):
        expected = np.array([[a, b], [c, d]]) @ expected + [u, v]
    a, b, c, d, u, v = _joined(maps)
    np.testing.assert_allclose(np.array([[a, b], [c, d]]) @ point + [u, v], expected)


def test_neighbours_that_move_pixels_interpolate_once(backend):
    """There and back again: joined, the second move undoes the first one exactly."""

    class Turn(Geometric):
        def __init__(self, angle):
            object.__setattr__(self, "angle", angle)

        def draw(self, n, stage):
            cos, sin = math.cos(self.angle), math.sin(self.angle)
            return cos, sin, -sin, cos, 0.0, 0.0

    X = images(3)
    there_and_back = change(backend, [Turn(0.4), Turn(-0.4)], X, shape())
    np.testing.assert_allclose(there_and_back, X, atol=1e-12)
    twice = change(backend, [Turn(-0.4)], change(backend, [Turn(0.4)], X, shape()), shape())
    assert np.abs(twice - X).max() > 0.1


# -- changing values ----


def test_cutout_blanks_a_square(backend):
    X = np.ones((500, HEIGHT * WIDTH))
    found = change(backend, [xn.Cutout(3, fill=-7.0)], X, shape()).reshape(-1, HEIGHT, WIDTH)
    assert {*np.unique(found)} == {1.0, -7.0}
    sizes, corners = set(), set()
    for image in found:
        rows, columns = np.nonzero(image == -7.0)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == height * width  # a rectangle without holes
        sizes.add((int(height), int(width)))
        corners.add((int(rows.min()), int(columns.min())))
    # In the middle a square, cut off at the edges; anywhere.
    assert sizes == {(h, w) for h in (2, 3) for w in (2, 3)}
    assert len(corners) == (HEIGHT - 1) * (WIDTH - 1)


def test_noise_is_normal_and_its_own_for_each_value(backend):
    X = images(400)
    noise = change(backend, [xn.GaussianNoise(0.5)], X) - X
    assert stats.kstest(noise.ravel(), stats.norm(0, 0.5).cdf).pvalue > 0.01
    assert len(np.unique(noise.round(6))) > 0.99 * noise.size


def test_mixup_mixes_with_another_of_the_batch(backend):
    X = np.eye(50)
    found = change(backend, [xn.Mixup(0.5)], X)
    own = found.diagonal()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
    assert ((found > 0).sum(axis=1) <= 2).all()
    others = np.argmax(found - np.diag(own + 1), axis=1)
    assert {*others} == {*range(50)}  # each is somebody's partner
    assert (own >= 0).all()
    assert (own <= 1).all()


def test_mixup_of_one_example_is_itself(backend):
    X = images(1)
    np.testing.assert_allclose(change(backend, [xn.Mixup(1.0)], X), X, rtol=1e-15)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_s_shares_are_of_a_beta_distribution(backend, alpha):
    X = np.eye(2000)
    own = change(backend, [xn.Mixup(alpha)], X).diagonal()
    assert stats.kstest(own, stats.beta(alpha + 1, alpha).cdf).pvalue > 0.01


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.0])
def test_mixup_without_mixed_labels_has_the_same_gradient_on_average(alpha):
    """Against mixup as published: λ from Beta(α, α), and both labels weighed by λ."""
    rng = np.random.default_rng(0)
    W, x, labels = rng.normal(size=(3, 4)), rng.normal(size=(2, 4)), np.eye(3)[[0, 2]]

    def gradient(share, i, k):
        """Return ∂/∂W of the cross-entropy of softmax(W x̃) with label k."""
        mixed = np.multiply.outer(share, x[i]) + np.multiply.outer(1 - share, x[1 - i])
        z = np.exp(mixed @ W.T)
        return (z / z.sum(axis=1, keepdims=True) - labels[k])[:, :, None] * mixed[:, None, :]

    places = (np.arange(200_000) + 0.5) / 200_000
    share = betaincinv(alpha, alpha, places)
    normalize_weights = share[:, None, None]
    published = [
        (
            normalize_weights * gradient(share, i, i)
            + (1 - normalize_weights) * gradient(share, i, 1 - i)
        ).mean(axis=0)
        for i in (0, 1)
    ]
    ours = [gradient(betaincinv(alpha + 1, alpha, places), i, i).mean(axis=0) for i in (0, 1)]
    np.testing.assert_allclose(np.mean(ours, axis=0), np.mean(published, axis=0), atol=1e-5)
    # The table that is drawn from is fine enough for that.
    table = _quantiles(alpha, xn.backends.select.select("cpu"), np.float64)
    coarse = np.mean([gradient(table, i, i).mean(axis=0) for i in (0, 1)], axis=0)
    np.testing.assert_allclose(coarse, np.mean(published, axis=0), atol=1e-3)


# -- together ----

EVERYTHING = [
    xn.HorizontalFlip(),
    xn.Shift(1),
    xn.Cutout(2),
    xn.Rotation(20),
    xn.Zoom(0.2),
    xn.GaussianNoise(0.1),
    xn.Mixup(0.4),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_seed_gives_the_same_changes_on_every_backend(backend, dtype):
    X = images(dtype=dtype)
    found = change(backend, EVERYTHING, X, shape())
    assert found.dtype == dtype
    here = change(xn.backends.select.select("cpu"), EVERYTHING, X.astype(np.float64), shape())
    np.testing.assert_allclose(found, here, atol=1e-4 if dtype == np.float32 else 1e-12)


def test_changes_are_fresh_and_leave_the_original_alone(backend):
    X = images()
    before = X.copy()
    first, again, other = (change(backend, EVERYTHING, X, shape(), e) for e in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=1).all()
    np.testing.assert_array_equal(X, before)


def test_transforms_are_done_in_order(backend):
    X = np.ones((1, HEIGHT * WIDTH))
    whole = max(HEIGHT, WIDTH) * 3
    cut_first = change(backend, [xn.Cutout(whole), xn.GaussianNoise(1.0)], X, shape())
    cut_last = change(backend, [xn.GaussianNoise(1.0), xn.Cutout(whole)], X, shape())
    assert (cut_first != 0).all()
    assert (cut_last == 0).all()


# -- codes of categories ----


def coded(n=300, dtype=np.float64):
    """Return numbers in columns 0 and 2, and beside them codes that belong together."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)).astype(dtype)
    X[:, 1] = rng.integers(-1, 50, n)
    X[:, 3] = 2 * X[:, 1] + 1
    return X


def change_coded(backend, transforms, X, code_columns=(3, 1)):
    augmentation = xn.Augmentation(transforms)
    changed = augmentation.apply(backend.asarray(X), random_state=3, code_columns=code_columns)
    return backend.to_host(changed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_leaves_codes_alone(backend, dtype):
    X = coded(dtype=dtype)
    found = change_coded(backend, [xn.GaussianNoise(0.3)], X)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[:, [1, 3]], X[:, [1, 3]])
    # The others get the noise that they would have had.
    plain = change_coded(backend, [xn.GaussianNoise(0.3)], X, ())
    np.testing.assert_array_equal(found[:, [0, 2]], plain[:, [0, 2]])
    assert (found[:, [0, 2]] != X[:, [0, 2]]).all()


def test_so_does_a_transform_that_knows_no_codes(backend):
    class Doubling(Transform):
        of_images = False

        def __call__(self, x, stage):
            return x * 2

    X = coded()
    found = change_coded(backend, [Doubling(), xn.GaussianNoise(0.0), Doubling()], X)
    np.testing.assert_array_equal(found, X * [4, 1, 4, 1])


@pytest.mark.parametrize("alpha", [0.2, 2.0])
def test_mixup_takes_the_codes_of_either_example(backend, alpha):
    """Those of one example stay together; each gives them as often as its share says."""
    n = 5000
    X = coded(n)
    X[:, 1] = np.arange(n)
    X[:, 3] = X[:, 1] + n
    found = change_coded(backend, [xn.Mixup(alpha)], X)
    plain = change_coded(backend, [xn.Mixup(alpha)], X, ())
    np.testing.assert_array_equal(found[:, [0, 2]], plain[:, [0, 2]])
    np.testing.assert_array_equal(found[:, 3], found[:, 1] + n)
    own = found[:, 1] == X[:, 1]
    partners = (found[:, 1] - X[:, 1])[~own] % n
    assert len(np.unique(partners)) == 1
    partner = np.roll(X, -int(partners[0]), axis=0)
    share = (plain[:, 0] - partner[:, 0]) / (X[:, 0] - partner[:, 0])
    # In each tenth of the shares.
    for low in np.arange(0, 1, 0.1):
        inside = (low <= share) & (share < low + 0.1)
        deviation = 0.5 / np.sqrt(max(inside.sum(), 1))
        if inside.any():
            assert abs(own[inside].mean() - share[inside].mean()) < 4 * deviation


def test_codes_are_the_same_on_every_backend(backend):
    transforms = [xn.GaussianNoise(0.1), xn.Mixup(0.4)]
    X = coded(dtype=np.float32)
    found = change_coded(backend, transforms, X)
    here = change_coded(xn.backends.select.select("cpu"), transforms, X.astype(np.float64))
    np.testing.assert_array_equal(found[:, [1, 3]], here[:, [1, 3]])
    np.testing.assert_allclose(found, here, atol=1e-4)


@pytest.mark.parametrize("transform", [xn.HorizontalFlip(), xn.Rotation(), xn.Cutout(1)], ids=repr)
def test_images_have_no_codes(device, transform):
    augmentation = xn.Augmentation([xn.GaussianNoise(), transform], image_shape=(2, 2))
    net = xn.Network([xn.OneHot({1: 3, 3: 5}), xn.Linear(1)], loss="mean_squared_error",
                     n_features=4, device=device)  # fmt: skip
    X = coded()
    with pytest.raises(ValueError, match=r"is for images, and .* codes .* in columns 1, 3: leave"):
        xn.Trainer(net).fit(X, X[:, 0], epochs=1, augmentation=augmentation)
    with pytest.raises(ValueError, match="columns 0, 1, 2, 3 and 1 more: leave one of the two"):
        augmentation.check(8, range(5))


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ([4], ValueError, "a column of codes is 4, and X has 4: give 0 to 3"),
        ([-1], ValueError, "a column of codes is -1: give 0 or more"),
        ([1.0], TypeError, "a column of codes is 1.0: give a whole number"),
    ],
)
def test_columns_of_codes_that_are_not_there(columns, error, message):
    with pytest.raises(error, match=message):
        xn.Augmentation([xn.GaussianNoise()]).apply(coded(), code_columns=columns)


def test_a_fit_asks_the_network_for_its_codes(device):
    """Step by step, with the batches and keys that the seed gives."""
    augmentation = xn.Augmentation([xn.GaussianNoise(0.5), xn.Mixup(0.4)])
    X = coded(30)
    layers = [xn.OneHot({1: 50}), xn.Embedding({2: 100}, 2), xn.Linear(1)]
    options = {"loss": "mean_squared_error", "n_features": 4, "dtype": "float64"}
    net, by_hand = (xn.Network(layers, device=where, **options) for where in (device, "cpu"))
    xn.Trainer(net, xn.SGD(0.1)).fit(X, X[:, 0], batch_size=30, epochs=1, augmentation=augmentation)
    chosen = generator(0, Purpose.BATCHES, 0).permutation(30)
    given = augmentation.apply(X[chosen], code_columns=[1, 3])
    xn.Trainer(by_hand, xn.SGD(0.1)).step(given, X[chosen, 0])
    np.testing.assert_allclose(
        net.backend.to_host(net.parameters), by_hand.parameters, rtol=1e-9, atol=1e-12
    )
    # Of codes that are no whole numbers none would be known, and no embedding have moved.
    before = by_hand.clone().state()["1.weight"]
    assert (net.state()["1.weight"] != before).any()


# -- in a fit ----


def train(device, augmentation, epochs=2, seed=0, **options):
    X, y = images(30), np.arange(30) % 2
    net = xn.Network(
        [xn.Linear(1)],
        loss="sigmoid_cross_entropy",
        n_features=X.shape[1],
        device=device,
        dtype="float64",
        random_state=seed,
    )
    trainer = xn.Trainer(net, xn.SGD(options.pop("rate", 0.1)))
    history = trainer.fit(
        X, y, batch_size=8, epochs=epochs, augmentation=augmentation, validation_data=(X, y),
        **options,
    )  # fmt: skip
    return net, history, (X, y)


def test_training_alone_is_augmented(device):
    noise = xn.Augmentation([xn.GaussianNoise(3.0)])
    net, history, (X, y) = train(device, noise, rate=1e-300)  # the weights stay
    plain = net.evaluate(X, y)
    assert history["dev_loss"] == [plain["loss"]] * 2
    assert history["dev_error"] == history["train_error"] == [plain["error"]] * 2
    assert abs(history["train_loss"][0] - plain["loss"]) > 0.01
    assert history["train_loss"][0] != history["train_loss"][1]  # fresh in each epoch


def test_a_fit_trains_on_what_the_augmentation_makes_of_the_batches(device):
    """Step by step, with the batches and keys that the seed gives."""
    augmentation = xn.Augmentation(EVERYTHING, shape())
    net, _, (X, y) = train(device, augmentation, seed=5)
    by_hand = xn.Network(
        [xn.Linear(1)], loss="sigmoid_cross_entropy", n_features=X.shape[1], device="cpu",
        dtype="float64", random_state=5,
    )  # fmt: skip
    trainer = xn.Trainer(by_hand, xn.SGD(0.1))
    for epoch in range(2):
        order = generator(5, Purpose.BATCHES, epoch).permutation(30)
        keys = augmentation_keys(5, epoch, 4)
        for batch, key in enumerate(keys):
            chosen = order[8 * batch : 8 * batch + 8]
            trainer.step(augmentation.change(X[chosen], key, by_hand.backend), y[chosen])
    np.testing.assert_allclose(
        net.backend.to_host(net.parameters), by_hand.parameters, rtol=1e-9, atol=1e-12
    )


def test_it_costs_no_transfer_and_one_upload_an_epoch(strict):
    # The first fit may prepare tables.
    augmentation = xn.Augmentation(EVERYTHING, shape())
    train(strict, augmentation)
    costs = []
    for given in (None, augmentation):
        before = strict.transfers, strict.uploads
        train(strict, given, epochs=3)
        costs.append((strict.transfers - before[0], strict.uploads - before[1]))
    assert costs[1] == (costs[0][0], costs[0][1] + 3)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: xn.HorizontalFlip(1.5), ValueError, "p is 1.5"),
        (lambda: xn.Shift(0), ValueError, "pixels is 0"),
        (lambda: xn.Shift(1.5), TypeError, "pixels is 1.5"),
        (lambda: xn.Rotation(0), ValueError, r"degrees is 0: .* \(0, 180\]"),
        (lambda: xn.Rotation(181), ValueError, "degrees is 181"),
        (lambda: xn.Zoom(1.0), ValueError, "amount is 1.0"),
        (lambda: xn.Cutout(0), ValueError, "size is 0"),
        (lambda: xn.Cutout(2, float("nan")), ValueError, "fill is nan"),
        (lambda: xn.GaussianNoise(-0.1), ValueError, "sigma is -0.1"),
        (lambda: xn.Mixup(0.0), ValueError, "alpha is 0.0"),
        (lambda: xn.Augmentation([]), ValueError, "transforms is empty"),
        (lambda: xn.Augmentation([xn.Shift]), TypeError, "did you mean to call it"),
        (lambda: xn.Augmentation(xn.Mixup()), TypeError, "give a list"),
        (lambda: xn.Augmentation([xn.Shift(8)], (8, 9)), ValueError, r"shape \(8, 9\) away"),
        (lambda: xn.Augmentation([xn.Shift(1)], 64), TypeError, "image_shape is 64"),
        (lambda: train("cpu", [xn.Mixup()]), TypeError, "give an Augmentation"),
        (lambda: xn.Augmentation([xn.Mixup(), abs]), TypeError, "is not a transform"),
        (lambda: xn.Augmentation([xn.Shift(1)]), ValueError, "for images: give image_shape"),
        (lambda: xn.Augmentation([xn.Shift(1)], (8,)), ValueError, r"image_shape is \(8,\)"),
        (lambda: xn.Augmentation([xn.Shift(1)], (8, 0)), ValueError, "image_shape is 0"),
        (
            lambda: xn.Augmentation([xn.Shift(1)], (5, 5)).apply(images()),
            ValueError,
            r"image_shape is \(5, 5\), which makes 25 features, and X has 54",
        ),
        (
            lambda: xn.Augmentation([xn.GaussianNoise()]).apply(np.zeros((2, 3), int)),
            TypeError,
            "X is int64 of shape",
        ),
        (
            lambda: xn.Augmentation([xn.GaussianNoise()]).apply(np.zeros(3)),
            TypeError,
            r"X is float64 of shape \(3,\)",
        ),
    ],
)
def test_bad_options(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_shape_that_does_not_fit_is_refused_before_training(device):
    with pytest.raises(ValueError, match="which makes 64 features, and X has 54"):
        train(device, xn.Augmentation([xn.Shift(1)], (8, 8)))
