"""Names for the types that the rest of the library annotates with."""

from typing import Any, TypeAlias

#: An array of whichever backend is in use: ``numpy.ndarray`` or ``cupy.ndarray``.
Array: TypeAlias = Any

#: The array namespace in use: the module ``numpy`` or ``cupy``.
Namespace: TypeAlias = Any
