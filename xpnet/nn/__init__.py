"""What is computed.

- `layers`, `activations`: the layers of a network
- `losses`: what it is trained for
- `initializers`: its first weights
- `buffers`: the memory of layers and batches
- `registry`: networks as descriptions
- `passes`, `prediction`: forward and backward, and what users ask of a network
- `network`: all of it together
"""
