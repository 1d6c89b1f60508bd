"""Write the golden files beside this one: what PyTorch says of every case in ``oracle.py``.

``python tests/golden/make.py``, with xpnet, PyTorch, rtdl_num_embeddings
and pytabkit installed. Only a new or changed case needs
it.
"""

import sys
from pathlib import Path

import numpy as np


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import oracle

    for family in oracle.CASES:
        np.savez(oracle.GOLDEN / f"{family}.npz", **oracle.make(family))


if __name__ == "__main__":
    main()
