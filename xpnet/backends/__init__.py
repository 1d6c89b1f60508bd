"""Where arrays live, and what computes on them: all that knows NumPy from CuPy.

- `select`: from ``device="auto"`` to a backend, and why; whose an array is, and moving it
- `expressions`: scalar code, written once for ``xp``, C and Numba
- `activations`: the elementwise activations, one row each
- `reference`: the hot operations, once, in plain ``xp`` code
- `numpy_backend`, `numba_kernels`, `numba_loops`: the CPU's
- `cuda`: CUDA's
- `capture`: a step captured as a graph and replayed
- `memory`: running out of it
"""
