"""A training step in JAX, by hand: net, batch norm with running statistics, and Adam."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from rivals import Task

MOMENTUM, EPS = 0.1, 1e-5
BETA_1, BETA_2, ADAM_EPS = 0.9, 0.999, 1e-8


def make_step(task: "Task", device: Any) -> tuple[Any, Any, Any]:
    """Return the compiled step, its state, and the batch, on the device.

    The step takes the state, features and labels, and returns the new state and the loss. The state
    is (parameters, running statistics, first moments, second moments, steps made). Of several
    networks it is the step of one, mapped over them.
    """
    parameters, statistics = [], []
    for hidden, weight in zip(task.hidden(), task.weights, strict=True):
        width, norm = weight.shape[:-1], hidden and task.norm
        # Copies: what is donated to the step must not be a view of NumPy's memory.
        p = {"weight": jnp.array(weight), "bias": jnp.zeros(width, task.dtype)}
        if norm:
            p["gamma"] = jnp.ones(width, task.dtype)
        parameters.append(p)
        zeros, ones = jnp.zeros(width, task.dtype), jnp.ones(width, task.dtype)
        statistics.append((zeros, ones) if norm else ())
    moments = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
    state = parameters, statistics, *moments, jnp.zeros((), jnp.int32)
    state = jax.device_put(state, device)
    data = jax.device_put((jnp.array(task.x), jnp.array(task.y)), device)

    def step(state: Any, x: Any, y: Any) -> Any:
        p, statistics, v, s, t = state
        (loss, statistics), g = jax.value_and_grad(cost, has_aux=True)(p, statistics, x, y)
        t = t + 1
        v = jax.tree.map(lambda v, g: BETA_1 * v + (1 - BETA_1) * g, v, g)
        s = jax.tree.map(lambda s, g: BETA_2 * s + (1 - BETA_2) * g * g, s, g)
        rate = (task.rate / (1 - BETA_1**t)).astype(x.dtype)
        correction = (1 / jnp.sqrt(1 - BETA_2**t)).astype(x.dtype)
        p = jax.tree.map(
            lambda p, v, s: p - rate * v / (jnp.sqrt(s) * correction + ADAM_EPS), p, v, s
        )
        return (p, statistics, v, s, t), loss

    if task.members is not None:
        each = (0, 0, 0, 0, None)
        step = jax.vmap(step, in_axes=(each, None, None), out_axes=(each, 0))
    return jax.jit(step, donate_argnums=0), state, data


def cost(parameters: Any, statistics: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Return the mean cross-entropy, and the running statistics with this batch in them."""
    found = []
    for p, running in zip(parameters, statistics, strict=True):
        x = x @ p["weight"].T
        if running:
            x, running = normalize(x, p["gamma"], running)
        found.append(running)
        x = x + p["bias"]  # β, where there is batch norm
        if p is not parameters[-1]:
            x = jax.nn.relu(x)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1)
    return -chosen.mean(), found


def normalize(x: Any, gamma: Any, running: Any) -> tuple[Any, Any]:
    """Return γ x̂ by the batch's own statistics, and the running ones with these in them."""
    n = x.shape[0]
    mean, variance = x.mean(axis=0), x.var(axis=0)
    unbiased = variance * (n / (n - 1))
    running = tuple(
        (1 - MOMENTUM) * old + MOMENTUM * new
        for old, new in zip(running, (mean, unbiased), strict=True)
    )
    return (x - mean) * jax.lax.rsqrt(variance + EPS) * gamma, running
