// Columns of codes: one-hot blocks, embeddings and their gradient.
//
// x has n rows and m columns, the output `width` columns: first the `others` that hold no codes,
// then a block for each column of codes. `source` says from which column of x each comes. The members'
// outputs lie one behind another, their x and their tables so many steps apart.

// The category that a code stands for; -1 if it is none of 0 ... size - 1, as NaN or a fraction.
__device__ inline index category_of(real code, index size) {
    if (!(code >= 0 && code < real(size))) return -1;
    const index category = index(code);
    return real(category) == code ? category : -1;
}

// `categories` are the codes that the blocks' columns stand for.
KERNEL one_hot(const real* x, const index* source, const real* categories, real* out, index n,
               index width, index m, index others, index x_step, index first_member) {
    const Tile<1> t;
    if (t.column >= width) return;
    const bool coded = t.column >= others;
    const index from = source[t.column];
    const real category = coded ? categories[t.column - others] : real(0);
    const index member = member_of(first_member);
    x += member * x_step;
    out += member * n * width;
    for (index i = t.row; i < n; i += t.step) {
        const real v = x[i * m + from];
        out[i * width + t.column] = coded ? real(v == category) : v;
    }
}

// The tables stand one below another in `weight`: each begins at one of `starts`.
KERNEL embedding(const real* x, const real* weight, const index* source, const index* sizes,
                 const index* starts, real* out, index n, index width, index m, index others,
                 index dims, index x_step, index weight_step, index first_member) {
    const Tile<1> t;
    if (t.column >= width) return;
    const bool coded = t.column >= others;
    const index from = source[t.column], block = coded ? (t.column - others) / dims : 0;
    const index size = sizes[block];
    const index member = member_of(first_member);
    x += member * x_step;
    weight += member * weight_step;
    out += member * n * width;
    const real* numbers = weight + starts[block] * dims + (coded ? (t.column - others) % dims : 0);
    for (index i = t.row; i < n; i += t.step) {
        real v = x[i * m + from];
        if (coded) {
            const index category = category_of(v, size);
            v = category < 0 ? real(0) : numbers[category * dims];
        }
        out[i * width + t.column] = v;
    }
}

// d_weight = for each category the sum of its examples' dy, zero where there are none. A block takes
// one row of a table after another; its threads lie over the row's numbers and over the examples.
KERNEL embedding_backward(const real* dy, const real* x, const index* columns, const index* sizes,
                          const index* starts, real* d_weight, index n, index width, index m,
                          index others, index dims, index count, index x_step,
                          index weight_step, index first_member) {
    const index member = member_of(first_member);
    x += member * x_step;
    dy += member * n * width;
    d_weight += member * weight_step;
    for (index block = blockIdx.y; block < count; block += gridDim.y) {
        const real* codes = x + columns[block];
        for (index row = blockIdx.x; row < sizes[block]; row += gridDim.x) {
            for (index first = 0; first < dims; first += blockDim.x) {
                const index k = first + threadIdx.x;
                const real* d = dy + others + block * dims + k;
                Sums<1> sums = {};
                bool found = false;
                for (index i = threadIdx.y; i < n; i += blockDim.y) {
                    if (codes[i * m] != real(row)) continue;
                    found = true;
                    if (k < dims) sums.v[0][0] += d[i * width];
                }
                // Of many categories few are in a batch: only these are added up.
                if (__syncthreads_or(found)) sums = sum_in_block(sums, blockDim.x);
                if (threadIdx.y == 0 && k < dims)
                    d_weight[(starts[block] + row) * dims + k] = sums.v[0][0];
            }
        }
    }
}
