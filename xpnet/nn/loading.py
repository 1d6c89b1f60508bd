"""Networks from model files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .._typing import HostArray, Tree
from ..backends.protocol import Backend
from ..backends.select import select
from ..files import safetensors_files
from ..files.safetensors_files import ModelFileError
from ..registry import UnknownNameError
from .description import described, shapes_of
from .members import leading_shape
from .network import Network


def load(path: str | os.PathLike[str], device: str | Backend = "auto") -> Network:
    """Read a network from a file that `Network.save` or ``xpnet train`` wrote.

    A file from ``xpnet train`` also holds how raw columns become features; `xpnet.load_model` reads
    both. The network alone takes features that are prepared already.

    Parameters
    ----------
    path : path
        The file.
    device : {"auto", "cpu", "cuda", "cuda:N"} or Backend
        Where the network is to live, wherever it was trained.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is not a whole model file, its parts don't fit together, or it has a layer, loss or
        initialiser that nobody has defined: import the module that does, then load again.
    """
    arrays, description = safetensors_files.look(path)
    return from_description(arrays, description, device, str(path))


def from_description(
    arrays: Mapping[str, HostArray], description: Tree, device: str | Backend, source: str
) -> Network:
    """Build a network from a model file's arrays and description."""
    backend = select(device)
    if "checkpoint" in description:
        raise ModelFileError(f"{source}: a checkpoint, and no model: fit(resume=True) takes it up")
    try:
        layers, config = described(description["network"])
        # Before anything is allocated: a few bytes of JSON may claim a network of any size.
        shapes = shapes_of([replace(layer) for layer in layers], config["n_features"])
        lead = leading_shape(config.get("members"))
        shapes = {name: (*lead, *shape) for name, shape in shapes.items()}
        arrays = safetensors_files.check_arrays(arrays, shapes, np.dtype(config["dtype"]), source)
        network = Network.blank(layers, backend, **config)
        if network.config() != description["network"]:
            raise ValueError("an option is missing, or stands there as no file has it")
    except ModelFileError:
        raise
    except UnknownNameError as error:
        raise ModelFileError(f"{source}: {error}, then load again") from error
    except (
        *(LookupError, TypeError, ValueError, AttributeError),
        *(ArithmeticError, MemoryError),
    ) as error:
        why = safetensors_files.short(repr(error))
        raise ModelFileError(f"{source}: its network can't be built ({why})") from error
    network.load_state(arrays, source)
    return network
