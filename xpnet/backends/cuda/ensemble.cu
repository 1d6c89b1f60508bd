// Members that share weights: each scales and shifts its own n rows, which lie one below another,
// behind those of the member before. `given` says how many rows x has: as many as all members
// together, or n, which all of them take.

// out <- f(x scale + bias), and dropout; without a bias f(x scale). `kept` gets f's input, if it is
// wanted.
template <int W>
__device__ void member_affine_columns(const real* x, const real* scale, const real* bias,
                                      real* kept, real* out, index rows, index m, index n,
                                      index given, Activation f, Mask mask) {
    const Tile<W> t;
    for_each_row_chunk(t, rows, m, [=](const RowChunk<W>& s) {
        Rows<W> found = {};
#pragma unroll
        for (int r = 0; r < UNROLL; r++) {
            if (!s.has(r)) continue;
            const index row = s.row + r * s.step, own = row / n * m + t.column;
            const Vec<W> a = load<W>(x + row % given * m + t.column), by = load<W>(scale + own);
            Vec<W> b = {};
            if (bias) b = load<W>(bias + own);
            for (int k = 0; k < W; k++) found.v[r].v[k] = a.v[k] * by.v[k] + b.v[k];
        }
        if (kept) s.store_to(kept, found);
        each_number<W>([&](int r, int k) { found.v[r].v[k] = f(found.v[r].v[k]); });
        mask.drop(found, s, t.column, m);
        s.store_to(out, found);
    });
}

KERNEL member_affine(const real* x, const real* scale, const real* bias, real* kept, real* out,
                     index rows, index m, index n, index given, index wide, index kind,
                     double option, const unsigned long long* keys, index key_step,
                     const unsigned long long* salts, index salt, const int* thresholds,
                     index threshold) {
    const Dropped dropped = {keys, key_step, salts, salt, thresholds, threshold};
    const Activation f = {int(kind), real(option), real(1)};
    const Mask mask(dropped, 0);
    if (wide) member_affine_columns<V>(x, scale, bias, kept, out, rows, m, n, given, f, mask);
    else member_affine_columns<1>(x, scale, bias, kept, out, rows, m, n, given, f, mask);
}

// delta = dy f', in place dy <- delta scale; of each member d_scale = the sum of delta x, and d_bias
// that of delta, if it is wanted. Members lie along y: a block adds one of them up after another.
template <int W>
__device__ void member_affine_backward_columns(real* dy, const real* kept, const real* x,
                                               const real* scale, real* d_scale, real* d_bias,
                                               index rows, index m, index n, index given,
                                               Activation f) {
    const index column = Tile<W>().column, step = blockDim.y;
    for (index member = blockIdx.y; member < rows / n; member += gridDim.y) {
        Sums<W, 2> sums = {};
        const index own = member * m + column, start = member * n;
        for (index i = threadIdx.y; i < n && column < m; i += UNROLL * step) {
            const index row = start + i;
            const RowChunk<W> s = {i, step, n, row * m + column, step * m};
            const RowChunk<W> from = {i, step, n, row % given * m + column, step * m};
            Rows<W> d = s.load_from(dy);
            const Rows<W> a = from.load_from(x);
            const Vec<W> by = load<W>(scale + own);
            if (f.kind) {
                const Rows<W> at = s.load_from(kept);
                each_number<W>([&](int r, int k) {
                    d.v[r].v[k] = f.back(d.v[r].v[k], at.v[r].v[k]);
                });
            }
            each_number<W>([&](int r, int k) {
                sums.v[0][k] += d.v[r].v[k] * a.v[r].v[k];
                sums.v[1][k] += d.v[r].v[k];
                d.v[r].v[k] *= by.v[k];
            });
            s.store_to(dy, d);
        }
        sums = sum_in_block(sums, blockDim.x);
        if (threadIdx.y || column >= m) continue;
        for (int k = 0; k < W; k++) {
            d_scale[own + k] = sums.v[0][k];
            if (d_bias) d_bias[own + k] = sums.v[1][k];
        }
    }
}

KERNEL member_affine_backward(real* dy, const real* kept, const real* x, const real* scale,
                              real* d_scale, real* d_bias, index rows, index m, index n,
                              index given, index wide, index kind, double option,
                              const int* thresholds, index threshold) {
    const index dropped = number_of(thresholds, threshold, 0);
    const Activation f = {int(kind), real(option), scale_of(dropped)};
    if (wide)
        member_affine_backward_columns<V>(dy, kept, x, scale, d_scale, d_bias, rows, m, n, given, f);
    else
        member_affine_backward_columns<1>(dy, kept, x, scale, d_scale, d_bias, rows, m, n, given, f);
}

// out = the sum over the members of what each has.
KERNEL sum_members(const real* x, real* out, index size, index members) {
    everywhere(0, size, [=](auto width, index i) {
        constexpr int W = decltype(width)::value;
        Vec<W> sum = {};
        for (index member = 0; member < members; member++) {
            const Vec<W> a = load<W>(x + member * size + i);
            for (int k = 0; k < W; k++) sum.v[k] += a.v[k];
        }
        store<W>(out + i, sum);
    });
}
