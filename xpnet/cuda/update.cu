// One update over the flat buffers, the rows of the next mini-batch, and what changes from step to
// step.
//
// Rates and corrections are read from device memory, so that a replayed graph sees them change.

// -- optimisers: p parameters, g gradients, v and s moments ----

// g <- g + factor p; the factor is the array's element if there is one.
KERNEL add_decay(real* g, const real* p, const real* given, double number, index size) {
    const real factor = given ? *given : real(number);
    everywhere(size, [=](auto width, index i) {
        constexpr int W = decltype(width)::value;
        Pack<W> a = load<W>(g + i);
        const Pack<W> b = load<W>(p + i);
        for (int k = 0; k < W; k++) a.v[k] += factor * b.v[k];
        store<W>(g + i, a);
    });
}

KERNEL sgd(real* p, const real* g, const real* rate, index size) {
    const real alpha = *rate;
    everywhere(size, [=](auto width, index i) {
        constexpr int W = decltype(width)::value;
        Pack<W> a = load<W>(p + i);
        const Pack<W> d = load<W>(g + i);
        for (int k = 0; k < W; k++) a.v[k] -= alpha * d.v[k];
        store<W>(p + i, a);
    });
}

KERNEL sgd_momentum(real* p, const real* g, real* v, const real* rate, double momentum,
                    index nesterov, index size) {
    const real alpha = *rate, mu = real(momentum);
    everywhere(size, [=](auto width, index i) {
        constexpr int W = decltype(width)::value;
        Pack<W> a = load<W>(p + i), b = load<W>(v + i);
        const Pack<W> d = load<W>(g + i);
        for (int k = 0; k < W; k++) {
            b.v[k] = mu * b.v[k] + d.v[k];
            a.v[k] -= alpha * (nesterov ? mu * b.v[k] + d.v[k] : b.v[k]);
        }
        store<W>(v + i, b);
        store<W>(p + i, a);
    });
}

KERNEL momentum(real* p, const real* g, real* v, const real* rate, double beta, index size) {
    const real alpha = *rate, keep = real(beta), take = real(1 - beta);
    everywhere(size, [=](auto width, index i) {
        constexpr int W = decltype(width)::value;
        Pack<W> a = load<W>(p + i), b = load<W>(v + i);
        const Pack<W> d = load<W>(g + i);
        for (int k = 0; k < W; k++) {
            b.v[k] = keep * b.v[k] + take * d.v[k];
            a.v[k] -= alpha * b.v[k];
        }
        store<W>(v + i, b);
        store<W>(p + i, a);
    });
}

KERNEL rmsprop(real* p, const real* g, real* s, const real* rate, double beta, double eps,
               index size) {
    const real alpha = *rate, keep = real(beta), take = real(1 - beta), least = real(eps);
    everywhere(size, [=](auto width, index i) {
        constexpr int W = decltype(width)::value;
        Pack<W> a = load<W>(p + i), b = load<W>(s + i);
        const Pack<W> d = load<W>(g + i);
        for (int k = 0; k < W; k++) b.v[k] = keep * b.v[k] + take * (d.v[k] * d.v[k]);
        store<W>(s + i, b);
        for (int k = 0; k < W; k++) a.v[k] -= alpha * (d.v[k] / (sqrt(b.v[k]) + least));
        store<W>(p + i, a);
    });
}

KERNEL adam(real* p, const real* g, real* v, real* s, const real* rate, const real* correction,
            double beta_1, double beta_2, double eps, index size) {
    const real alpha = *rate, root = *correction, least = real(eps);
    const real keep_1 = real(beta_1), take_1 = real(1 - beta_1);
    const real keep_2 = real(beta_2), take_2 = real(1 - beta_2);
    everywhere(size, [=](auto width, index i) {
        constexpr int W = decltype(width)::value;
        Pack<W> a = load<W>(p + i), b = load<W>(v + i), c = load<W>(s + i);
        const Pack<W> d = load<W>(g + i);
        for (int k = 0; k < W; k++) {
            b.v[k] = keep_1 * b.v[k] + take_1 * d.v[k];
            c.v[k] = keep_2 * c.v[k] + take_2 * (d.v[k] * d.v[k]);
            a.v[k] -= alpha * (b.v[k] / (sqrt(c.v[k]) * root + least));
        }
        store<W>(v + i, b);
        store<W>(s + i, c);
        store<W>(p + i, a);
    });
}

// -- gather: rows of any type, moved in units of the largest size that divides a row ----

template <int BYTES> struct alignas(BYTES) Unit {
    unsigned char bytes[BYTES];
};

// The number nearest to i of those from 0 to n - 1: nothing is read from beside an array.
__device__ inline index within(index i, index n) {
    return i < 0 ? 0 : i < n ? i : n - 1;
}

template <int BYTES>
__device__ void copy_rows(const unsigned char* rows, const index* order, index start,
                          unsigned char* out, index count, index length, index n, index units) {
    using U = Unit<BYTES>;
    const Tile<1> t;
    if (t.column >= units) return;
    for (index i = t.row; i < count; i += t.step) {
        const index from = within(order[within(start + i, length)], n);
        const unsigned char* source = rows + (from * units + t.column) * BYTES;
        unsigned char* target = out + (i * units + t.column) * BYTES;
        if (aligned(rows, BYTES) && aligned(out, BYTES))
            *reinterpret_cast<U*>(target) = *reinterpret_cast<const U*>(source);
        else
            for (int k = 0; k < BYTES; k++) target[k] = source[k];
    }
}

// out[i] = rows[order[start + i]] for `count` rows, each of `units` units of `size` bytes, where
// the order has `length` indices of n rows.
KERNEL gather(const unsigned char* rows, const index* order, const index* start,
              unsigned char* out, index count, index length, index n, index units, index size) {
    const index first = *start;
    switch (size) {
        case 16: copy_rows<16>(rows, order, first, out, count, length, n, units); break;
        case 8: copy_rows<8>(rows, order, first, out, count, length, n, units); break;
        case 4: copy_rows<4>(rows, order, first, out, count, length, n, units); break;
        case 2: copy_rows<2>(rows, order, first, out, count, length, n, units); break;
        default: copy_rows<1>(rows, order, first, out, count, length, n, units);
    }
}

// Copy row `page` of each table and go on to the next, after the last to the first; one block. The
// tables have `pages` rows, that of the numbers is `width` wide.
KERNEL turn_page(index* page, const real* numbers, real* row, const unsigned long long* keys,
                 unsigned long long* key, const index* starts, index* start, index pages,
                 index width) {
    const index i = *page;
    for (index k = threadIdx.x; k < width; k += THREADS) row[k] = numbers[i * width + k];
    __syncthreads();  // all have read the page
    if (threadIdx.x) return;
    *key = keys[i];
    *start = starts[i];
    *page = i + 1 < pages ? i + 1 : 0;
}
