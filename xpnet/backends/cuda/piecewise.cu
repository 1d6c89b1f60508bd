// Columns of numbers and their bins: piecewise-linear encodings, embeddings and their gradients.
//
// x has n rows and m columns, the output `width` columns: first the `others` of them, then a block
// for each of `columns`. `order` says which columns of x these are. The bins of all columns, `all`,
// stand in `bins`, six rows of numbers: low, slope, least, most, start and stop of each (see
// piecewise_work.py). A column's are `counts` from `firsts` on. The members' outputs lie one behind
// another, their x and their parameters so many steps apart.

// Of some bins from `first` on the last one that begins at v or below, or the first.
__device__ inline index bin_of(real v, const real* bins, index first, index count) {
    while (count > 1) {
        const index half = count / 2;
        if (bins[first + half] <= v) first += half;
        count -= half;
    }
    return first;
}

// How far v is in bin t: from 0 to 1, and beyond in an outer bin that goes on; NaN of NaN.
__device__ inline real value_at(real v, const real* bins, index all, index t) {
    const real value = (v - bins[t]) * bins[all + t];
    const real least = bins[2 * all + t], most = bins[3 * all + t];
    return value < least ? least : value > most ? most : value;
}

// The slope of that.
__device__ inline real slope_at(real v, const real* bins, index all, index t) {
    return v < bins[4 * all + t] || v >= bins[5 * all + t] ? real(0) : bins[all + t];
}

// `owners` says of which block each bin is.
KERNEL piecewise_encoding(const real* x, const index* order, const index* owners, const index* counts,
                          const index* firsts, const real* bins, real* out, index n, index width,
                          index m, index others, index all, index x_step, index first_member) {
    const Tile<1> t;
    if (t.column >= width) return;
    const bool passed = t.column < others;
    const index bin = t.column - others, block = passed ? 0 : owners[bin];
    const index from = order[passed ? t.column : others + block];
    const index first = firsts[block], count = counts[block];
    const index member = member_of(first_member);
    x += member * x_step;
    out += member * n * width;
    for (index i = t.row; i < n; i += t.step) {
        real v = x[i * m + from];
        if (!passed) {
            const index found = bin_of(v, bins, first, count);
            v = bin < found ? real(1) : bin > found ? real(0) : value_at(v, bins, all, bin);
        }
        out[i * width + t.column] = v;
    }
}

// Each column of dx: dy where the column has been passed on, else that of x's bin, times its slope.
KERNEL piecewise_encoding_backward(const real* dy, const real* x, const index* order,
                                   const index* counts, const index* firsts, const real* bins,
                                   real* dx, index n, index width, index m, index others,
                                   index all, index x_step, index first_member) {
    const Tile<1> t;
    if (t.column >= m) return;
    const index j = order[t.column], block = t.column - others;
    const index member = member_of(first_member);
    x += member * x_step;
    dy += member * n * width;
    dx += member * n * m;
    for (index i = t.row; i < n; i += t.step) {
        if (block < 0) {
            dx[i * m + j] = dy[i * width + t.column];
            continue;
        }
        const real v = x[i * m + j];
        const index bin = bin_of(v, bins, firsts[block], counts[block]);
        dx[i * m + j] = dy[i * width + others + bin] * slope_at(v, bins, all, bin);
    }
}

// For each bin the bias of its column, and the weights of the bins below it, which are full. A
// thread goes up a column's bins with one of the `dims` numbers.
KERNEL piecewise_sums(const real* weight, const real* bias, const index* counts,
                      const index* firsts, real* sums, index columns, index dims, index all,
                      index weight_step, index bias_step, index first_member) {
    const Tile<1> t;
    if (t.column >= dims) return;
    const index member = member_of(first_member);
    weight += member * weight_step;
    bias += member * bias_step;
    sums += member * all * dims;
    for (index block = t.row; block < columns; block += t.step) {
        real sum = bias[block * dims + t.column];
        const index first = firsts[block], end = first + counts[block];
        for (index bin = first; bin < end; bin++) {
            sums[bin * dims + t.column] = sum;
            sum += weight[bin * dims + t.column];
        }
    }
}

// `sums` are those of the kernel above.
KERNEL piecewise_embedding(const real* x, const real* weight, const real* linear, const real* sums,
                           const index* order, const index* counts, const index* firsts,
                           const real* bins, real* out, index n, index width, index m,
                           index others, index dims, index all, index relu, index x_step,
                           index weight_step, index bias_step, index first_member) {
    const Tile<1> t;
    if (t.column >= width) return;
    const bool passed = t.column < others;
    const index block = passed ? 0 : (t.column - others) / dims, k = (t.column - others) % dims;
    const index from = order[passed ? t.column : others + block];
    const index first = firsts[block], count = counts[block];
    const index member = member_of(first_member);
    x += member * x_step;
    out += member * n * width;
    weight += member * weight_step + k;
    sums += member * all * dims + k;
    const real slope = passed || !linear ? real(0)
                                         : linear[member * bias_step + block * dims + k];
    for (index i = t.row; i < n; i += t.step) {
        const real v = x[i * m + from];
        real y = v;
        if (!passed) {
            const index bin = bin_of(v, bins, first, count);
            y = sums[bin * dims] + value_at(v, bins, all, bin) * weight[bin * dims];
            if (linear) y += slope * v;
            if (relu && y < 0) y = 0;  // NaN stays
        }
        out[i * width + t.column] = y;
    }
}

// Of each bin the sum of dy, to `sums`, and of dy times how far x is in it, to d_weight, over the
// examples that are in it. Behind a column's bins comes what takes all: its bias, and its linear
// term with x itself. A block takes one of these after another; its threads lie over the numbers and
// over the examples. `kept` is the output, if there is a ReLU.
KERNEL piecewise_embedding_backward(const real* dy, const real* kept, const real* x,
                                    const index* order, const index* counts, const index* firsts,
                                    const real* bins, real* sums, real* d_weight, real* d_bias,
                                    real* d_linear, index n, index width, index m, index others,
                                    index dims, index columns, index all, index x_step,
                                    index weight_step, index bias_step, index first_member) {
    const index member = member_of(first_member);
    x += member * x_step;
    dy += member * n * width;
    kept = part_of(kept, member * n * width);
    sums += member * all * dims;
    d_weight += member * weight_step;
    d_bias += member * bias_step;
    d_linear = part_of(d_linear, member * bias_step);
    for (index block = blockIdx.y; block < columns; block += gridDim.y) {
        const real* numbers = x + order[others + block];
        const index first = firsts[block], count = counts[block];
        for (index row = blockIdx.x; row <= count; row += gridDim.x) {
            const index bin = first + row;
            // As `bin_of`: of outer bins, and of what takes all, one bound or both are missing.
            const bool from_low = row > 0 && row < count, to_next = row + 1 < count;
            const real low = from_low ? bins[bin] : real(0), next = to_next ? bins[bin + 1] : real(0);
            for (index k = threadIdx.x; k - threadIdx.x < dims; k += blockDim.x) {
                const index place = others + block * dims + k;
                Sums<1, 2> all_of = {};
                bool found = false;
                for (index i = threadIdx.y; i < n; i += blockDim.y) {
                    const real v = numbers[i * m];
                    if ((from_low && !(low <= v)) || (to_next && next <= v)) continue;
                    found = true;
                    if (k >= dims || (kept && kept[i * width + place] <= 0)) continue;
                    const real d = dy[i * width + place];
                    all_of.v[0][0] += d;
                    all_of.v[1][0] += d * (row < count ? value_at(v, bins, all, bin) : v);
                }
                // Of many bins few have an example of a batch: only these are added up.
                if (__syncthreads_or(found)) all_of = sum_in_block(all_of, blockDim.x);
                if (threadIdx.y > 0 || k >= dims) continue;
                if (row < count) {
                    sums[bin * dims + k] = all_of.v[0][0];
                    d_weight[bin * dims + k] = all_of.v[1][0];
                } else {
                    d_bias[block * dims + k] = all_of.v[0][0];
                    if (d_linear) d_linear[block * dims + k] = all_of.v[1][0];
                }
            }
        }
    }
}

// To d_weight of each bin the sums of the bins above it, in which it is full. A thread goes down a
// column's bins with one of the `dims` numbers.
KERNEL piecewise_sums_backward(const real* sums, const index* counts, const index* firsts,
                               real* d_weight, index columns, index dims, index all,
                               index weight_step, index first_member) {
    const Tile<1> t;
    if (t.column >= dims) return;
    const index member = member_of(first_member);
    sums += member * all * dims;
    d_weight += member * weight_step;
    for (index block = t.row; block < columns; block += t.step) {
        real sum = 0;
        const index first = firsts[block];
        for (index bin = first + counts[block] - 1; bin >= first; bin--) {
            d_weight[bin * dims + t.column] += sum;
            sum += sums[bin * dims + t.column];
        }
    }
}

// Each column of dx: dy where the column has been passed on, else its block times the slopes at x.
KERNEL piecewise_input_gradient(const real* dy, const real* kept, const real* x,
                                const real* weight, const real* linear, const index* order,
                                const index* counts, const index* firsts, const real* bins,
                                real* dx, index n, index width, index m, index others, index dims,
                                index all, index x_step, index weight_step, index bias_step,
                                index first_member) {
    const Tile<1> t;
    if (t.column >= m) return;
    const index j = order[t.column], block = t.column - others;
    const index member = member_of(first_member);
    x += member * x_step;
    dy += member * n * width;
    kept = part_of(kept, member * n * width);
    weight += member * weight_step;
    linear = part_of(linear, member * bias_step + block * dims);
    dx += member * n * m;
    for (index i = t.row; i < n; i += t.step) {
        if (block < 0) {
            dx[i * m + j] = dy[i * width + t.column];
            continue;
        }
        const real v = x[i * m + j];
        const index bin = bin_of(v, bins, firsts[block], counts[block]);
        const real slope = slope_at(v, bins, all, bin);
        const index place = i * width + others + block * dims;
        real sum = 0;
        for (index k = 0; k < dims; k++) {
            if (kept && kept[place + k] <= 0) continue;
            sum += (slope * weight[bin * dims + k] + (linear ? linear[k] : real(0))) * dy[place + k];
        }
        dx[i * m + j] = sum;
    }
}
