"""Where arrays live, and what computes on them: all that knows NumPy from CuPy.

- `protocol`: what the library asks of a device
- `select`: from ``device="auto"`` to a backend, and why
- `arrays`: whose an array is, and bringing it to where it is needed
- `expressions`: scalar code, written once for ``xp``, C and Numba
- `activations`, `updates`, `output_losses`: the activations, the optimisers' updates, and the
  losses of one output, a row each
- `dense_stack`: a stack of dense layers as a table
- `reference`: the hot operations, once, in plain ``xp`` code, with those of `reference_categories`,
  `reference_data`, `reference_dense`, `reference_ensemble`, `reference_losses`,
  `reference_periodic`, `reference_piecewise`, `reference_updates` and `reference_sums`
- `numpy_backend`, `blas`, `numba_kernels`, `numba_loops`, `numba_categories`, `numba_dense`,
  `numba_ensemble`, `numba_periodic`, `numba_piecewise`, `numba_rows`, `numba_members`,
  `numba_transpose`, `numba_vectors`, `numba_cache`: the CPU's
- `threads`: how many threads BLAS has, may have, and a limit of them
- `work`, `piecewise_work`: the buffers that kernels work in
- `cuda`: CUDA's
- `capture`: work that is repeated, captured as a graph and replayed
- `memory`: running out of it
"""
