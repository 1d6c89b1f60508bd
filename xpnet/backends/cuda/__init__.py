"""The backend of CUDA GPUs.

- `cupy_backend`: CuPy's arrays, streams and devices; the one module that imports CuPy
- `kernels`, `piecewise_kernels`, `run_kernels`: the kernels that are fused: those of layers, of
  piecewise-linear encodings, and all others
- `launch`: the program of the ``.cu`` files, and how threads lie over an array
- `rows`: kernels in CUDA C++ for updates and losses that are rows of a table
- `cublas`, `cublaslt`: products that can be captured, and products with their epilogues
- `bfloat16`: products of rounded factors
"""
