"""What is computed.

- `layers`, `activations`: the layers of a network
- `losses`: what it is trained for
- `initializers`: its first weights
- `buffers`: the memory of layers and batches
- `registry`: networks as descriptions
- `stacks`, `snapshots`: layers from hyper-parameters; weights put aside and put back
- `network`: all of it together
"""
