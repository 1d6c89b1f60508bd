#!/usr/bin/env bash
# rtdl_num_embeddings' piecewise-linear embeddings never learn their bins with version B and a ReLU.
#
# PiecewiseLinearEmbeddings(bins, d, activation=True, version="B") begins with the bins' weights at
# zero, takes the ReLU of what they give, and adds a linear function of x afterwards. The ReLU's
# gradient at 0 is 0, so the weights stay exactly 0 whatever the training: the embedding is linear
# in x for ever, and nothing says so. Version B without activation (TabM's form), and version A
# with it, learn.
#
# Touches us: xn.PiecewiseLinearEmbedding(relu=True) takes the ReLU of the whole sum instead.
#
# Needs Python 3.11 or newer as python3 (or $PYTHON). Fails if what is seen differs.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check rtdl_num_embeddings==0.0.12 torch==2.13.0 \
    numpy==2.4.6 2>pip || { cat pip >&2; exit 2; }
cat > look.py <<'E_PYTHON'
from importlib.metadata import version

import rtdl_num_embeddings as rtdl
import torch

print("rtdl_num_embeddings", version("rtdl_num_embeddings"))
torch.manual_seed(0)
x = torch.randn(512, 3)
y = x.sign().sum(dim=1, keepdim=True)  # steps, which bins show and a line does not
bins = rtdl.compute_bins(x, n_bins=8)
for kind, activation in (("A", True), ("B", False), ("B", True)):
    embedding = rtdl.PiecewiseLinearEmbeddings(bins, 4, activation=activation, version=kind)
    head = torch.nn.Linear(12, 1)
    optimizer = torch.optim.Adam([*embedding.parameters(), *head.parameters()], lr=0.01)
    for _ in range(300):
        loss = ((head(embedding(x).flatten(1)) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moved = bool((embedding.linear.weight != 0).any())
    told = "below 0.5" if loss.item() < 0.5 else "above 0.5"
    print(f"version {kind}, activation {activation}: weights of bins moved: {moved}; loss {told}")
E_PYTHON
venv/bin/python look.py | tee seen

diff - seen <<'E_EXPECTED' || { echo "this is no longer what was seen" >&2; exit 1; }
rtdl_num_embeddings 0.0.12
version A, activation True: weights of bins moved: True; loss below 0.5
version B, activation False: weights of bins moved: True; loss below 0.5
version B, activation True: weights of bins moved: False; loss above 0.5
E_EXPECTED
echo "as seen before"
