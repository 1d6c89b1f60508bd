// One update over the flat buffers, the rows of the next mini-batch, and what changes from step to
// step.
//
// Rates and corrections are read from device memory, so that a replayed graph sees them change.

// -- the parameters p and their gradients g; what optimisers do, rows.py says ----

// g <- g + factor p; the factor is the array's element if there is one.
KERNEL add_decay(real* g, const real* p, const real* given, double number, index size) {
    const real factor = given ? *given : real(number);
    everywhere(size, [=](auto width, index i) {
        constexpr int W = decltype(width)::value;
        Vec<W> a = load<W>(g + i);
        const Vec<W> b = load<W>(p + i);
        for (int k = 0; k < W; k++) a.v[k] += factor * b.v[k];
        store<W>(g + i, a);
    });
}

// Whether parameter i of several networks' is one of the first n of its network's `length`.
__device__ inline bool is_first(index i, index n, index length) {
    return (i < length ? i : i % length) < n;
}

// -- gather: rows of any type, moved in units of the largest size that divides a row ----

template <int BYTES> struct alignas(BYTES) Unit {
    unsigned char bytes[BYTES];
};

// The number nearest to i of those from 0 to n - 1: nothing is read from beside an array.
__device__ inline index within(index i, index n) {
    return i < 0 ? 0 : i < n ? i : n - 1;
}

// An array, where `count` of its n rows go, and how a row is divided into units.
struct Copied {
    const unsigned char* rows;
    unsigned char* out;
    index units, size;
};

template <int BYTES>
__device__ void copy_units(const Copied& c, index column, const index* order, index start,
                           index count, index length, index n) {
    using U = Unit<BYTES>;
    const Tile<1> t;
    for (index i = t.row; i < count; i += t.step) {
        const index from = within(order[within(start + i, length)], n);
        const unsigned char* source = c.rows + (from * c.units + column) * BYTES;
        unsigned char* target = c.out + (i * c.units + column) * BYTES;
        if (aligned(c.rows, BYTES) && aligned(c.out, BYTES))
            *reinterpret_cast<U*>(target) = *reinterpret_cast<const U*>(source);
        else
            for (int k = 0; k < BYTES; k++) target[k] = source[k];
    }
}

// out[i] = rows[order[start + i]] for `count` rows of up to three arrays of n rows, each row of
// `units` units of `size` bytes; the order has `length` indices. The blocks along x are those of
// the first array, then those of the second and the third.
KERNEL gather(const index* order, const index* start, index count, index length, index n,
              const unsigned char* rows_0, unsigned char* out_0, index units_0, index size_0,
              const unsigned char* rows_1, unsigned char* out_1, index units_1, index size_1,
              const unsigned char* rows_2, unsigned char* out_2, index units_2, index size_2) {
    const index first = *start, across = blockDim.x;
    Copied c = {rows_0, out_0, units_0, size_0};
    index block = blockIdx.x;
    if (block * across >= c.units) {
        block -= (c.units + across - 1) / across;
        c = {rows_1, out_1, units_1, size_1};
        if (block * across >= c.units) {
            block -= (c.units + across - 1) / across;
            c = {rows_2, out_2, units_2, size_2};
        }
    }
    const index column = block * across + threadIdx.x;
    if (column >= c.units) return;
    switch (c.size) {
        case 16: copy_units<16>(c, column, order, first, count, length, n); break;
        case 8: copy_units<8>(c, column, order, first, count, length, n); break;
        case 4: copy_units<4>(c, column, order, first, count, length, n); break;
        case 2: copy_units<2>(c, column, order, first, count, length, n); break;
        default: copy_units<1>(c, column, order, first, count, length, n);
    }
}

// Copy row `cursor` of each table and go on to the next, after the last to the first; one block. The
// tables have `rows` rows, that of the scalars is `width` wide.
KERNEL advance(index* cursor, const real* scalars, real* row, const unsigned long long* keys,
                 unsigned long long* key, const index* starts, index* start, index rows,
                 index width) {
    const index i = *cursor;
    for (index k = threadIdx.x; k < width; k += THREADS) row[k] = scalars[i * width + k];
    __syncthreads();  // all have read the cursor
    if (threadIdx.x) return;
    *key = keys[i];
    *start = starts[i];
    *cursor = i + 1 < rows ? i + 1 : 0;
}
