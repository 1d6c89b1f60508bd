// Columns of numbers as waves, and the blocks that such columns become.
//
// What is computed of c columns has a row for each of them in each of n examples: all examples of the
// first column, then all of the second. x has m columns; `order` names first the `others`, which are
// passed on, then the c. The members' rows lie one behind another, their x and what is theirs in flat
// buffers so many steps apart.

// out <- [cos a, sin a] with a = 2 pi w x; or with phases b, a = 2 pi w x + b: cos a, and its sine
// where that is wanted. `values` gets the columns' numbers.
KERNEL periodic(const real* x, const index* order, const real* frequencies, const real* phases,
                real* values, real* sines, real* out, index rows, index k, index n, index m,
                index others, index x_step, index step, index phase_step, index first_member) {
    const Tile<1> t;
    if (t.column >= k) return;
    const index member = member_of(first_member);
    x += member * x_step;
    frequencies += member * step;
    phases = part_of(phases, member * phase_step);
    values += member * rows;
    sines = part_of(sines, member * rows * k);
    out += member * rows * k * (phases ? 1 : 2);
    for (index row = t.row; row < rows; row += t.step) {
        const index column = row / n, of = column * k + t.column;
        const real v = x[row % n * m + order[others + column]];
        // In half turns: no angle is too large, and none takes a table to reduce.
        const real half_turns = 2 * frequencies[of] * v;
        if (t.column == 0) values[row] = v;
        if (phases) {
            const real a = half_turns + phases[of] * real(0.31830988618379067154);
            out[row * k + t.column] = cospi(a);
            if (sines) sines[row * k + t.column] = sinpi(a);
        } else {
            real* pair = out + row * 2 * k + t.column;
            pair[0] = cospi(half_turns);
            pair[k] = sinpi(half_turns);
        }
    }
}

// What dy says of an angle: of frequency j in a row, of which `sines` are known, or pairs y.
__device__ inline real angle_gradient(const real* dy, const real* y, const real* sines, index row,
                                      index j, index k) {
    if (sines) return -dy[row * k + j] * sines[row * k + j];
    const index at = row * 2 * k + j;
    return dy[at + k] * y[at] - dy[at] * y[at + k];
}

// d_frequencies = 2 pi times the sum of the angles' gradients times values, and with `sines` d_phases
// = their sum. Columns lie along y: a block adds one of them up after another.
KERNEL periodic_backward(const real* dy, const real* y, const real* sines, const real* values,
                         real* d_frequencies, real* d_phases, index rows, index k, index n,
                         index step, index phase_step, index first_member) {
    const index j = Tile<1>().column, member = member_of(first_member);
    const index size = rows * k * (sines ? 1 : 2);
    dy += member * size;
    y += member * size;
    sines = part_of(sines, member * rows * k);
    values += member * rows;
    d_frequencies += member * step;
    d_phases = part_of(d_phases, member * phase_step);
    for (index column = blockIdx.y; column < rows / n; column += gridDim.y) {
        Sums<1, 2> sums = {};
        for (index i = threadIdx.y; i < n && j < k; i += blockDim.y) {
            const index row = column * n + i;
            const real d = angle_gradient(dy, y, sines, row, j, k);
            sums.v[0][0] += d * values[row];
            sums.v[1][0] += d;
        }
        sums = sum_in_block(sums, blockDim.x);
        if (threadIdx.y || j >= k) continue;
        d_frequencies[column * k + j] = real(6.2831853071795864769) * sums.v[0][0];
        if (d_phases) d_phases[column * k + j] = sums.v[1][0];
    }
}

// d_values = 2 pi times the sum over a row of the angles' gradients times frequencies.
KERNEL periodic_values_backward(const real* dy, const real* y, const real* sines,
                                const real* frequencies, real* d_values, index rows, index k,
                                index n, index step, index first_member) {
    const index member = member_of(first_member), size = rows * k * (sines ? 1 : 2);
    dy += member * size;
    y += member * size;
    sines = part_of(sines, member * rows * k);
    frequencies += member * step;
    d_values += member * rows;
    const index first = (blockIdx.y * index(gridDim.x) + blockIdx.x) * THREADS + place();
    for (index row = first; row < rows; row += gridDim.x * index(gridDim.y) * THREADS) {
        real sum = 0;
        for (index j = 0; j < k; j++)
            sum += angle_gradient(dy, y, sines, row, j, k) * frequencies[row / n * k + j];
        d_values[row] = real(6.2831853071795864769) * sum;
    }
}

// out <- the columns that are passed on, then each other one's block of `wide` columns: its d numbers
// in `numbers`, behind its value where blocks are wider than d.
KERNEL place_blocks(const real* x, const real* values, const real* numbers, const index* order,
                    real* out, index n, index width, index m, index others, index wide, index d,
                    index x_step, index first_member) {
    const Tile<1> t;
    if (t.column >= width) return;
    const index member = member_of(first_member);
    const real* from = x + member * x_step;
    index step = m;
    if (t.column < others) {
        from += order[t.column];
    } else {
        const index block = (t.column - others) / wide;
        const index at = (t.column - others) % wide - (wide - d);
        const index first = (member * ((width - others) / wide) + block) * n;
        from = at < 0 ? values + first : numbers + first * d + at;
        step = at < 0 ? 1 : d;
    }
    out += member * n * width + t.column;
    for (index i = t.row; i < n; i += t.step) out[i * width] = from[i * step];
}
