// One update over the flat buffers, the rows of the next mini-batch, and what changes from step to
// step.
//
// Rates and corrections are read from device memory, so that a replayed graph sees them change.

// -- the parameters p and their gradients g, of each member `size` numbers that begin `step` apart;
// what optimisers do, rows.py says ----

// g <- g + factor p; the factor is an array's element if there is one, each member's own or not.
KERNEL add_decay(real* g, const real* p, const real* given, double number, index size, index step,
                 index factor_step, index first_member) {
    const index member = member_of(first_member), first = member * step;
    const real factor = given ? given[member * factor_step] : real(number);
    everywhere(first, first + size, [=](auto width, index i) {
        constexpr int W = decltype(width)::value;
        Vec<W> a = load<W>(g + i);
        const Vec<W> b = load<W>(p + i);
        for (int k = 0; k < W; k++) a.v[k] += factor * b.v[k];
        store<W>(g + i, a);
    });
}

// The largest size of some numbers, and the sum of their squares over its square, which can't
// overflow; += merges two of them. NaN stays NaN.
struct Squares {
    real largest, sum;

    __device__ void operator+=(const Squares& other) {
        if (other.largest == 0) return;
        if (largest == 0) {
            *this = other;
            return;
        }
        const bool grows = other.largest > largest;
        const real ratio = grows ? largest / other.largest : other.largest / largest;
        sum = grows ? other.sum + sum * (ratio * ratio) : sum + other.sum * (ratio * ratio);
        if (grows) largest = other.largest;
    }
};

// factor = min(1, limit / |g|); the blocks lie along y.
KERNEL clip_factor(const real* g, real* factor, const real* limits, double limit, index size,
                   index step, unsigned char* work, index first_member) {
    const index member = member_of(first_member), first = member * step;
    Squares found = {};
    everywhere(first, first + size, [&](auto width, index i) {
        constexpr int W = decltype(width)::value;
        const Vec<W> a = load<W>(g + i);
        for (int k = 0; k < W; k++) found += Squares{fabs(a.v[k]), real(1)};
    });
    if (!sum_over_blocks(found, 1, work) || place()) return;
    const real most = number_of(limits, real(limit), member);
    // What is infinite makes NaN of all, as in the reference.
    const real f = most / sqrt(found.sum) / found.largest + (found.largest - found.largest);
    factor[member] = found.largest == 0 || f > 1 ? real(1) : f;
}

// g <- factor g.
KERNEL clip(real* g, const real* factor, index size, index step, index first_member) {
    const index member = member_of(first_member), first = member * step;
    const real f = factor[member];
    if (f == 1) return;
    everywhere(first, first + size, [=](auto width, index i) {
        constexpr int W = decltype(width)::value;
        Vec<W> a = load<W>(g + i);
        for (int k = 0; k < W; k++) a.v[k] *= f;
        store<W>(g + i, a);
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

// A member's array, where `count` of its n rows go, and how a row is divided into units. The next
// member's rows begin `step` rows on, its output `count`.
struct Copied {
    const unsigned char* rows;
    unsigned char* out;
    index units, size;

    __device__ Copied(const unsigned char* all_rows, unsigned char* all_out, index units,
                      index size, index step, index count, index member)
        : rows(all_rows + member * step * units * size),
          out(all_out + member * count * units * size), units(units), size(size) {}
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
// `units` units of `size` bytes; the order, of which each member has its own, has `length` indices.
// The blocks along x are those of the first array, then those of the second and the third.
KERNEL gather(const index* order, const index* start, index count, index length, index n,
              const unsigned char* rows_0, unsigned char* out_0, index units_0, index size_0,
              index step_0, const unsigned char* rows_1, unsigned char* out_1, index units_1,
              index size_1, index step_1, const unsigned char* rows_2, unsigned char* out_2,
              index units_2, index size_2, index step_2, index first_member) {
    const index first = *start, across = blockDim.x, member = member_of(first_member);
    order += member * length;
    Copied c(rows_0, out_0, units_0, size_0, step_0, count, member);
    index block = blockIdx.x;
    if (block * across >= c.units) {
        block -= (c.units + across - 1) / across;
        c = Copied(rows_1, out_1, units_1, size_1, step_1, count, member);
        if (block * across >= c.units) {
            block -= (c.units + across - 1) / across;
            c = Copied(rows_2, out_2, units_2, size_2, step_2, count, member);
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

// Copy row i of a table that is `width` wide.
template <class T> __device__ inline void copy_row(const T* table, T* row, index i, index width) {
    for (index k = threadIdx.x; k < width; k += THREADS) row[k] = table[i * width + k];
}

// Copy row `cursor` of each table and go on to the next, after the last to the first; one block. All
// have `rows` rows.
KERNEL advance(index* cursor, const real* scalars, real* row, const unsigned long long* keys,
               unsigned long long* key, const index* starts, index* start, const int* thresholds,
               int* threshold, index rows, index width, index n_keys, index n_starts,
               index n_thresholds) {
    const index i = *cursor;
    copy_row(scalars, row, i, width);
    copy_row(keys, key, i, n_keys);
    copy_row(starts, start, i, n_starts);
    copy_row(thresholds, threshold, i, n_thresholds);
    __syncthreads();  // all have read the cursor
    if (threadIdx.x == 0) *cursor = i + 1 < rows ? i + 1 : 0;
}
