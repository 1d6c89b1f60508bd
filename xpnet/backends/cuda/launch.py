"""The CUDA program: its source, and how its threads lie over a matrix or a buffer.

The kernels are CUDA C++, in ``cuda/`` and from `rows`: one program, compiled once for float32 and
once for float64. A `Launcher` compiles it and launches kernels; nothing here needs a GPU.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

from ..._typing import Array
from ...randomness import GAMMA, MULTIPLIER_1, MULTIPLIER_2
from ..activations import KINDS, NO_OPTION, ROWS
from . import rows

#: Threads in a block, a power of two.
THREADS = 256

#: The most blocks that add up together, and that go over a matrix or a buffer together.
MOST_BLOCKS, MOST_TILES = 512, 4096

#: The most members whose blocks lie along a grid's z in one launch: CUDA has no more room there.
MOST_MEMBERS = 2**16 - 1

#: Rows that a thread adds up on its own, so that one block does for a column; and rows of each
#: thread where it does not.
ROWS_ALONE, ROWS_SHARED = 32, 8

#: From so many elements on a thread takes several neighbouring columns; below, there are more
#: threads than work.
LARGE = 2**18

#: Bytes in which blocks add up together: a counter for each column of blocks of each member; then
#: what 32 threads of a block bring, up to 40 bytes each.
WORKSPACE = MOST_BLOCKS * (4 + 32 * 40)

_FILES = (
    *("common.cu", "activations.cu", "layers.cu", "categories.cu", "piecewise.cu", "ensemble.cu"),
    *("periodic.cu", "losses.cu", "update.cu"),
)


@lru_cache
def source() -> str:
    """Return the CUDA C++ of all kernels, as one program."""
    folder = Path(__file__).parent
    texts = {name: (folder / name).read_text("ascii") for name in _FILES}
    texts["rows"] = rows.source()
    parts = (f'#line 1 "{name}"\n{text}' for name, text in texts.items())
    return "\n".join([_activations(), *parts])


def _activations() -> str:
    """Return the cases of the activations, numbered by `KINDS`, as macros."""
    macros: dict[str, list[str]] = {}
    for name, kind in KINDS.items():
        row = ROWS[name]
        given = f"const double {row.option.name} = option;" if row.option is not NO_OPTION else ""
        kept = f"[[maybe_unused]] const real {row.backward.arrays[1]} = kept;"
        for way, code, names in (
            ("FORWARD", row.forward, given),
            ("BACKWARD", row.backward, f"{given} {kept}"),
        ):
            case = f"case {kind}: {{ {names} {code.to_c()} break; }}".replace("\n", " ")
            macros.setdefault(f"{way}_{'CALLS' if code.functions else 'CASES'}", []).append(case)
    return "\n".join(f"#define {name} {' '.join(cases)}" for name, cases in macros.items())


def definitions(double: bool) -> tuple[str, ...]:
    """Return the compiler's options that make it a program in float64 or float32."""
    values = {
        "REAL": "double" if double else "float",
        "THREADS": THREADS,
        "MOST_BLOCKS": MOST_BLOCKS,
        "GAMMA": f"{GAMMA}ULL",
        "MULTIPLIER_1": f"{MULTIPLIER_1}ULL",
        "MULTIPLIER_2": f"{MULTIPLIER_2}ULL",
    }
    return tuple(f"-D{name}={value}" for name, value in values.items())


#: A grid's or a block's size along x, a matrix's columns, and y, its rows.
Pair: TypeAlias = tuple[int, int]

#: A grid's size along x, y, and z, the members.
Grid: TypeAlias = tuple[int, int, int]


class Launcher(Protocol):
    """Compiles `source` and launches its kernels on the current stream."""

    def __call__(self, name: str, double: bool, grid: Grid, block: Pair, *arguments: Any) -> None:
        """Launch a kernel. Arguments are arrays, None for a null pointer, integers and floats."""

    def workspace(self) -> Array:
        """Return `WORKSPACE` bytes for the launch that follows, zero unless a kernel is at work."""


class Tiles(NamedTuple):
    """How threads lie over the matrix of each member.

    ``wide``: each takes as many columns as 128 bits hold.
    """

    grid: Pair
    block: Pair
    wide: int


#: One block, for what is too small for more.
ONE_BLOCK = Tiles((1, 1), (THREADS, 1), 0)


def _power_of_two(at_least: int, at_most: int) -> int:
    return min(1 << max(at_least - 1, 0).bit_length(), at_most)


def _columns(rows: int, m: int, itemsize: int) -> tuple[int, int, int]:
    """Return the columns of blocks, the threads across a block, and whether they are wide."""
    width = 16 // itemsize
    wide = m % width == 0 and rows * m >= LARGE
    columns = m // width if wide else m
    across = _power_of_two(columns, 32)
    return max(columns, 1), across, int(wide)


@lru_cache(4096)
def tiles(n: int, m: int, itemsize: int, members: int = 1) -> Tiles:
    """Return the tiles for a pass over a matrix, each element on its own."""
    columns, across, wide = _columns(members * n, m, itemsize)
    down, over = THREADS // across, -(-columns // across)
    rows = min(-(-n // down), max(MOST_TILES // (over * members), 1))
    return Tiles((over, max(rows, 1)), (across, down), wide)


@lru_cache(4096)
def tiles_to_add_up(n: int, m: int, itemsize: int, members: int = 1) -> Tiles:
    """Return the tiles for sums over the rows: narrow ones, for there to be enough blocks.

    A block is no narrower than the 32 bytes that memory moves at once.
    """
    columns, across, wide = _columns(members * n, m, itemsize)
    while across > 8 and members * -(-columns // across) < 32:
        across //= 2
    down, over = THREADS // across, -(-columns // across)
    alone = n <= ROWS_ALONE * down or members * over > MOST_BLOCKS // 2
    rows = 1 if alone else min(-(-n // (ROWS_SHARED * down)), MOST_BLOCKS // (members * over))
    return Tiles((over, rows), (across, down), wide)


@lru_cache(4096)
def rows_of(n: int, m: int, members: int = 1) -> Tiles:
    """Return the tiles for passes over whole rows, which also add up over all of a member's."""
    across = _power_of_two(m, THREADS)
    down = THREADS // across
    rows = min(max(-(-n // down), 1), max(MOST_BLOCKS // members, 1))
    return Tiles((1, rows), (across, down), 0)


@lru_cache(4096)
def table_rows(rows: int, columns: int, dims: int, members: int = 1) -> Tiles:
    """Return the tiles for sums over the examples of each row of some tables, of so many at most.

    A block takes one row after another, its threads several numbers of it and a part of the
    examples. The tables lie along y.
    """
    across = _power_of_two(dims, 32)
    down = max(min(columns, MOST_BLOCKS), 1)
    over = min(rows, max(MOST_TILES // (down * members), 1))
    return Tiles((max(over, 1), down), (across, THREADS // across), 0)


@lru_cache(4096)
def members_to_add_up(n: int, m: int, members: int, itemsize: int) -> Tiles:
    """Return the tiles for sums over the n rows of each of some members, who lie along y."""
    columns, across, wide = _columns(n * members, m, itemsize)
    down = max(min(members, MOST_BLOCKS), 1)
    while across > 8 and -(-columns // across) * down < MOST_BLOCKS:
        across //= 2
    return Tiles((-(-columns // across), down), (across, THREADS // across), wide)


@lru_cache(4096)
def flat(size: int, itemsize: int, members: int = 1) -> Tiles:
    """Return the tiles for a pass over a flat buffer, of which each member has so many elements."""
    blocks = -(-size // (THREADS * (16 // itemsize)))
    over = min(max(blocks, 1), max(MOST_TILES // members, 1))
    return Tiles((over, 1), (THREADS, 1), 1)


@lru_cache(4096)
def flat_to_add_up(size: int, itemsize: int, members: int = 1) -> Tiles:
    """Return the tiles for sums over a flat buffer."""
    blocks = -(-size // (THREADS * (16 // itemsize) * ROWS_SHARED))
    rows = min(max(blocks, 1), max(MOST_BLOCKS // members, 1))
    return Tiles((1, rows), (THREADS, 1), 1)
