"""Trains on a memory-mapped file under a limit of memory that is a fraction of the file.

    python bench/out_of_core.py --gigabytes 2 --limit 0.25

The limit is the kernel's (RLIMIT_DATA, on Linux): it bounds what the process writes to, its heap
and anonymous mappings, so that an attempt to load the file fails. The file's pages in the kernel's
cache don't count: the kernel takes them back when it needs the room. What is reported besides is
the largest RssAnon that a thread saw in /proc/self/status. The file is deleted afterwards.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import xpnet as xn

MB = 1e6


def status(key: str) -> float:
    """Return a figure of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(key)).split()[1]) * 1024


def write(path: Path, nbytes: float, width: int) -> np.memmap:
    """Write rows of random numbers, block by block."""
    n = int(nbytes / (4 * width))
    X = np.lib.format.open_memmap(path, "w+", np.float32, (n, width))
    draw = np.random.default_rng(0)
    for start in range(0, n, 10_000):
        X[start : start + 10_000] = draw.standard_normal((min(10_000, n - start), width), "f4")
    X.flush()
    return np.load(path, mmap_mode="r")


def main() -> None:
    """Write the file, train, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of the file")
    parser.add_argument("--limit", type=float, default=0.25, help="GB beyond those at the start")
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        X = write(Path(folder) / "X.npy", given.gigabytes * 1e9, given.width)
        y = (np.asarray(X[:, 0]) > 0).astype(np.int32)
        train, dev, test = xn.partition(X, y)
        layers = [xn.Linear(64), xn.ReLU(), xn.Linear(2)]
        net = xn.Network(layers, loss="softmax_cross_entropy", n_features=given.width, device="cpu")
        before = status("RssAnon")
        limit = int(status("VmData") + given.limit * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        try:
            np.array(X)
        except MemoryError:
            print("loading the file is refused under the limit")
        else:
            raise SystemExit("the limit does not bound memory here: nothing is shown")
        peak, done = [before], threading.Event()

        def watch() -> None:
            while not done.wait(0.005):
                peak[0] = max(peak[0], status("RssAnon"))

        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.perf_counter()
        history = xn.Trainer(net).fit(
            *train, batch_size=given.batch_size, epochs=1, validation_data=dev
        )
        error = net.evaluate(*test)["error"]
        predictions = net.predict(X)
        seconds = time.perf_counter() - began
        done.set()
        watcher.join()
        print(f"file: {X.nbytes / MB:,.0f} MB, {X.shape[0]:,} rows of {X.shape[1]} float32")
        print(f"limit: {given.limit * 1000:,.0f} MB beyond the start")
        print(f"anonymous memory: {before / MB:,.0f} MB before, {peak[0] / MB:,.0f} MB at most")
        print(f"with cached pages of the file: {resource_peak() / MB:,.0f} MB at most")
        print(
            f"one epoch, evaluation, {len(predictions):,} predictions: {seconds:.0f} s, "
            f"train loss {history['train_loss'][-1]:.3f}, test error {error:.2%}"
        )


def resource_peak() -> float:
    """Return the largest resident set, file pages included, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
