"""CUDA C++ of the tables' rows: a kernel for each update, and for each loss of one output."""

from __future__ import annotations

from textwrap import indent

from ..output_losses import OUTPUT_LOSSES, OutputLoss
from ..updates import UPDATES, Update

#: What a row calls p is at `at_p`, and loaded as `vec_p`. An option is each member's own where
#: there is such an array.
_UPDATE = """\
KERNEL {name}({arrays}, {scalars}, const real* at_keep, {options}index n_decayed, index size,
              index step, index first_member) {{
    const index member = member_of(first_member), first = member * size, s = member * step;
    const index kept_from = first + n_decayed;
    const real {values}, keep = at_keep ? at_keep[s] : real(1);
{numbers}
    everywhere(first, first + size, [=](auto width, index i) {{
        constexpr int W = decltype(width)::value;
        Vec<W> {loads};
        const Vec<W> vec_g = load<W>(at_g + i);
        for (int k = 0; k < W; k++) {{
            real {elements};
            const real g = vec_g.v[k];
            if (at_keep && i + k < kept_from) p *= keep;
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
    """Return the kernel of an update."""
    written = row.code.written
    return _UPDATE.format(
        name=row.name,
        arrays=", ".join(
            ["real* at_p", "const real* at_g", *(f"real* at_{m}" for m in row.moments)]
        ),
        scalars=", ".join(f"const real* at_{name}" for name in row.scalars),
        options="".join(f"const double* own_{o}, double common_{o}, " for o in row.options),
        values=", ".join(f"{name} = at_{name}[s]" for name in row.scalars),
        numbers="\n".join(
            f"    const double {o} = number_of(own_{o}, common_{o}, member);" for o in row.options
        ),
        loads=", ".join(f"vec_{name} = load<W>(at_{name} + i)" for name in written),
        elements=", ".join(f"{name} = vec_{name}.v[k]" for name in written),
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
    losses, updates = map(_output_loss, OUTPUT_LOSSES.values()), map(_update, UPDATES.values())
    return "\n".join([*losses, *updates])
