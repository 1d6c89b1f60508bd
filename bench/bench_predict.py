"""How long prediction takes: `Network.predict_proba`, its check included, on the device's data."""

from typing import Any

from harness import (
    NETS,
    Pace,
    each_case,
    each_device,
    make_data,
    make_network,
    measure,
    note,
    open_backend,
)


@each_device
@each_case(training=False)
def test_predict(benchmark: Any, pace: Pace, net: str, batch: int, device: str) -> None:
    """Time the prediction of one batch."""
    backend = open_backend(device)
    note(benchmark, backend, "predict", net=net, batch=batch, dtype="float32", samples=batch)
    widths, norm = NETS[net]
    network = make_network(widths, norm, "float32", backend)
    x = backend.asarray(make_data(widths, batch, "float32")[0])
    measure(benchmark, pace, lambda: network.predict_proba(x), backend.synchronize)
    assert network.predict_proba(x).shape == (batch, widths[-1])
