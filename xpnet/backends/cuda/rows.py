"""CUDA C++ of the tables' rows: a kernel for each update, and for each loss of one output."""

from __future__ import annotations

from textwrap import indent

from ..output_losses import OUTPUT_LOSSES, OutputLoss
from ..updates import UPDATES, Update

#: The updates of optimisers that have weight decay.
DECAYED = ("adam", "lion")

#: The updates that have kernels: the table's, and those with factors, by their names.
UPDATE_ROWS = {
    row.name: row
    for row in (
        *UPDATES.values(),
        *(row.with_factors() for row in UPDATES.values()),
        *(UPDATES[name].with_factors(decays=True) for name in DECAYED),
    )
}

#: What a row calls p is at `at_p`, and loaded as `vec_p`. An option is each member's own where
#: there is such an array; factors are all members'.
_UPDATE = """\
KERNEL {name}({arrays}, {scalars}, {options}index n_decayed, index size, index step,
              index first_member) {{
    const index member = member_of(first_member), first = member * size, s = member * step;{kept}
    const real {values};
{numbers}
    everywhere(first, first + size, [=](auto width, index i) {{
        constexpr int W = decltype(width)::value;
        Vec<W> {loads};
        const Vec<W> {reads};
        for (int k = 0; k < W; k++) {{
            real {elements};
            const real {given};
            {decay}
{lines}
            {results};
        }}
        {stores};
    }});
}}
"""

_OUTPUT_LOSS = """\
KERNEL {name}(const real* z, const real* y, const real* weights, double weight, {options}real* dz,
              real* loss, index n, index m, index y_step, index weight_step, unsigned char* work,
              index first_member) {{
    const auto f = [=](real z, real y, real& dz) {{
        real term;
{lines}
        return term;
    }};
    each_output(z, y, weights, weight, dz, loss, n, m, y_step, weight_step, work,
                member_of(first_member), f);
}}
"""


def _update(row: Update) -> str:
    """Return the kernel of an update; one without factors decays if it finds ``at_keep``."""
    written, read = row.code.written, ("g", *row.factors)
    scalars, kept, decay = row.scalars, "", ""
    values = [f"{name} = at_{name}[s]" for name in scalars]
    if not row.factors:
        scalars, kept = (*scalars, "keep"), "\n    const index kept_from = first + n_decayed;"
        decay = "if (at_keep && i + k < kept_from) p *= keep;"
        values.append("keep = at_keep ? at_keep[s] : real(1)")
    return _UPDATE.format(
        name=row.name,
        arrays=", ".join(
            f"{'real*' if name in written else 'const real*'} at_{name}" for name in row.code.arrays
        ),
        scalars=", ".join(f"const real* at_{name}" for name in scalars),
        options="".join(f"const double* own_{o}, double common_{o}, " for o in row.options),
        kept=kept,
        values=", ".join(values),
        numbers="\n".join(
            f"    const double {o} = number_of(own_{o}, common_{o}, member);" for o in row.options
        ),
        loads=", ".join(f"vec_{name} = load<W>(at_{name} + i)" for name in written),
        reads=", ".join(
            f"vec_{name} = load<W>(at_{name} + i{' - first' if name in row.factors else ''})"
            for name in read
        ),
        elements=", ".join(f"{name} = vec_{name}.v[k]" for name in written),
        given=", ".join(f"{name} = vec_{name}.v[k]" for name in read),
        decay=decay,
        lines=indent(row.code.to_c(), 12 * " "),
        results="; ".join(f"vec_{name}.v[k] = {name}" for name in written),
        stores="; ".join(f"store<W>(at_{name} + i, vec_{name})" for name in written),
    )


def _output_loss(row: OutputLoss) -> str:
    """Return the kernel of a loss."""
    lines = indent(row.code.to_c(), 8 * " ")
    options = "".join(f"double {name}, " for name in row.options)
    return _OUTPUT_LOSS.format(name=row.name, options=options, lines=lines)


def source() -> str:
    """Return the CUDA C++ of all rows."""
    losses, updates = map(_output_loss, OUTPUT_LOSSES.values()), map(_update, UPDATE_ROWS.values())
    return "\n".join([*losses, *updates])
