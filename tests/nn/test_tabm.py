"""Members that share weights against the package ``tabm``, from the same weights, in float64."""

import numpy as np
import pytest
from oracle import draw_state, gradients, on_host

import xpnet as xn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra 'oracle')")
tabm = pytest.importorskip("tabm", reason="tabm is not installed (extra 'oracle')")

K, FEATURES, WIDTH, BLOCKS = 4, 5, 7, 2
RATE, DECAY = 0.01, 0.1

each_loss = pytest.mark.parametrize(
    ("loss", "n_outputs"), [("softmax_cross_entropy", 3), ("mean_squared_error", 2)]
)
each_kind = pytest.mark.parametrize("activation", ["ReLU", "GELU"])


def network(backend, loss, n_outputs, activation):
    block = xn.EnsembleLinear(WIDTH, K), getattr(xn, activation)()
    net = xn.Network(
        [*block * BLOCKS, xn.EnsembleLinear(n_outputs, K, shared=False)],
        loss=loss,
        n_features=FEATURES,
        device=backend,
        dtype="float64",
    )
    net.load_state(draw_state(net, 3, 0.5))  # r and s too, which begin as 1
    return net


def by_tabm(net, activation):
    """Return tabm's model with a network's weights, and its parameters by the network's names."""
    torch.set_num_threads(1)
    model = tabm.TabM.make(
        n_num_features=FEATURES,
        d_out=net.n_outputs,
        k=K,
        n_blocks=BLOCKS,
        d_block=WIDTH,
        dropout=0.0,
        activation=activation,
    ).double()
    ours = {f"{2 * i}": block[0] for i, block in enumerate(model.backbone.blocks)}
    ours[f"{2 * BLOCKS}"] = model.output
    named = {
        f"{place}.{name}": parameter
        for place, module in ours.items()
        for name, parameter in module.named_parameters()
    }
    for name, value in net.state().items():
        named[name].data = torch.tensor(as_tabm(name, value))
    return model, named


def as_tabm(name, array):
    """Return a parameter as tabm has it, or back: the last layer's W_k lie the other way."""
    last = name == f"{2 * BLOCKS}.weight"
    return np.ascontiguousarray(array.swapaxes(-1, -2)) if last else array


def loss_of(loss, z, y):
    """Return the mean over members and examples, of the sum over the outputs."""
    if loss == "softmax_cross_entropy":
        return torch.nn.functional.cross_entropy(z.flatten(0, 1), y.repeat_interleave(K))
    return (z - y[:, None]).square().sum(-1).mean()


def data(loss, n_outputs, n=13):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, FEATURES))
    if loss == "softmax_cross_entropy":
        return X, rng.integers(n_outputs, size=n)
    return X, rng.standard_normal((n, n_outputs))


@each_kind
@each_loss
def test_outputs_loss_and_gradients(backend, loss, n_outputs, activation):
    net = network(backend, loss, n_outputs, activation)
    model, named = by_tabm(net, activation)
    X, y = data(loss, n_outputs)
    z = model(torch.tensor(X))
    total = loss_of(loss, z, torch.tensor(y))
    total.backward()
    found = on_host(backend, net.passes.loss_and_gradient(*net.prepare(X, y)))
    assert found == pytest.approx(total.item(), rel=1e-13)
    for name, gradient in gradients(net).items():
        expected = as_tabm(name, named[name].grad.numpy())
        np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-13, err_msg=name)
    outputs = net.activations(X)[-1]
    expected = z.detach().numpy().swapaxes(0, 1)
    np.testing.assert_allclose(outputs, expected, rtol=1e-12, atol=1e-13)
    if loss == "softmax_cross_entropy":
        mean = torch.softmax(z, -1).mean(1).detach().numpy()
        np.testing.assert_allclose(net.predict_proba(X), mean, rtol=1e-12)
    else:
        np.testing.assert_allclose(net.predict(X), expected.mean(axis=0), rtol=1e-12)


@each_kind
@each_loss
def test_steps_of_adamw(backend, loss, n_outputs, activation):
    """With weight decay on the weights alone, in batches of several sizes."""
    net = network(backend, loss, n_outputs, activation)
    model, named = by_tabm(net, activation)
    weights = [p for name, p in named.items() if name.endswith("weight")]
    others = [p for name, p in named.items() if not name.endswith("weight")]
    groups = [{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE)
    trainer = xn.Trainer(net, xn.AdamW(RATE, weight_decay=DECAY))
    X, y = data(loss, n_outputs, 30)
    for start, stop in [(0, 13), (13, 26), (26, 30)] * 3:
        optimizer.zero_grad()
        total = loss_of(loss, model(torch.tensor(X[start:stop])), torch.tensor(y[start:stop]))
        total.backward()
        optimizer.step()
        found = on_host(backend, trainer.step(X[start:stop], y[start:stop]))
        assert found == pytest.approx(total.item(), rel=1e-9)
    for name, value in net.state().items():
        expected = as_tabm(name, named[name].detach().numpy())
        np.testing.assert_allclose(value, expected, rtol=1e-8, atol=1e-9, err_msg=name)


def test_initial_values_are_alike():
    """The same bounds, signs, ones, and biases that members begin with in common."""
    torch.manual_seed(0)
    model = tabm.TabM.make(n_num_features=100, d_out=3)
    stack = [layer for _ in range(3) for layer in (xn.EnsembleLinear(512), xn.ReLU())]
    net = xn.Network(
        [*stack, xn.EnsembleLinear(3, shared=False)],
        loss="softmax_cross_entropy",
        n_features=100,
        device="cpu",
    )
    ours = net.state()
    modules = {f"{2 * i}": block[0] for i, block in enumerate(model.backbone.blocks)}
    for place, module in (modules | {"6": model.output}).items():
        for name, parameter in module.named_parameters():
            theirs, found = parameter.detach().numpy(), ours[f"{place}.{name}"]
            assert found.size == theirs.size
            spread = float(max(abs(theirs).max(), abs(found).max())) / 10
            for of in (np.min, np.max, np.std):
                assert of(found) == pytest.approx(of(theirs), abs=spread)
            alike = [(a == a[:1]).all() for a in (found, theirs)]
            assert alike[0] == alike[1]
