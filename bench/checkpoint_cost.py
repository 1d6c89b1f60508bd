"""What checkpoints cost an epoch, after few epochs and after many.

A checkpoint waits until it is on the disk, which decides how long one takes; a folder in memory, as
in /dev/shm, shows what the library does.

python bench/checkpoint_cost.py                          # 1,000 and 8,000 epochs
python bench/checkpoint_cost.py --epochs 100 --folder /dev/shm
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import xpnet as xn


def seconds(epochs: int, folder: Path | None) -> float:
    """Return the seconds an epoch of a small fit takes, with a checkpoint after each if asked for.

    The network is 4-16-1 with a ReLU, trained by Adam on 200 examples in batches of 64.
    """
    draw = np.random.default_rng(0)
    X = draw.standard_normal((200, 4))
    y = (X[:, 0] > 0) * 1
    layers = [xn.Linear(16), xn.ReLU(), xn.Linear(1)]
    net = xn.Network(layers, loss="sigmoid_cross_entropy", n_features=4, device="cpu")
    trainer = xn.Trainer(net)
    began = time.perf_counter()
    trainer.fit(
        X, y, batch_size=64, epochs=epochs, validation_data=(X[:50], y[:50]), checkpoint=folder
    )
    return (time.perf_counter() - began) / epochs


def main() -> None:
    """Read the arguments, and print a line for each number of epochs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, nargs="+", default=[1000, 8000])
    parser.add_argument("--folder", type=Path, help="where the checkpoints go")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for number, epochs in enumerate([20, *given.epochs]):
            plain, kept = seconds(epochs, None), seconds(epochs, Path(folder) / str(number))
            if number:  # the first ones warm up
                print(
                    f"{epochs:,} epochs: {1e3 * plain:.2f} ms an epoch without checkpoints, "
                    f"{1e3 * kept:.2f} with one after each",
                    flush=True,
                )


if __name__ == "__main__":
    main()
