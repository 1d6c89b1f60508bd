// Linear layers, batch norm, dropout: what is left of them beside the products.
//
// A matrix has n rows and m columns, and there is one for each member; `wide` says that a thread takes
// V columns, else one. Kernels with sums over the rows get `work`, see sum_over_blocks.

// -- linear layers ----

template <int W> struct alignas(2 * W) Halves {
    unsigned short v[W];
};

// bfloat16 is the upper half of a float: rounded to the nearest, from the middle to the even one.
__device__ inline unsigned short to_half(float x) {
    const unsigned bits = __float_as_uint(x);
    if (x != x) return bits >> 16 | 0x40;  // what is kept of a NaN must not be that of infinity
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// out <- x, rounded, of each member's `size` numbers; out lies on a boundary of 16 bytes.
KERNEL to_bfloat16(const real* x, unsigned short* out, index size, index step, index first_member) {
    const index member = member_of(first_member);
    const index first = member * size;
    const real* from = x + (member * step - first);
    everywhere(first, first + size, [=](auto width, index i) {
        constexpr int W = decltype(width)::value;
        const Vec<W> a = load<W>(from + i);
        Halves<W> halves;
        for (int k = 0; k < W; k++) halves.v[k] = to_half(float(a.v[k]));
        *reinterpret_cast<Halves<W>*>(out + i) = halves;
    });
}

// out <- f(x + b), and dropout; without a bias f(x). `kept` gets x + b, if it is wanted.
template <int W>
__device__ void bias_activation_columns(const real* x, const real* bias, real* kept, real* out,
                                        index at, index n, index m, Activation f, Mask mask) {
    const Tile<W> t(at);
    if (t.column >= m) return;
    Vec<W> b = {};
    if (bias) b = load<W>(bias + t.column);
    for_each_row_chunk(t, n, m, [=](const RowChunk<W>& s) {
        Rows<W> rows = s.load_from(x);
        each_number<W>([&](int r, int k) { rows.v[r].v[k] += b.v[k]; });
        if (kept) s.store_to(kept, rows);
        each_number<W>([&](int r, int k) { rows.v[r].v[k] = f(rows.v[r].v[k]); });
        mask.drop(rows, s, t.column, m);
        s.store_to(out, rows);
    });
}

KERNEL bias_activation(const real* x, const real* bias, real* kept, real* out, index n, index m,
                       index wide, index step, index kind, double option,
                       const unsigned long long* keys, index key_step,
                       const unsigned long long* salts, index salt, const int* thresholds,
                       index threshold, index first_member) {
    const Dropped dropped = {keys, key_step, salts, salt, thresholds, threshold};
    const Activation f = {int(kind), real(option), real(1)};
    const index member = member_of(first_member), at = member * n * m;
    const real* b = part_of(bias, member * step);
    const Mask mask(dropped, member);
    if (wide) bias_activation_columns<V>(x, b, kept, out, at, n, m, f, mask);
    else bias_activation_columns<1>(x, b, kept, out, at, n, m, f, mask);
}

// In place dy <- dy f', unless f is the identity; total = the sum of dy, if it is wanted.
template <int W>
__device__ void bias_activation_backward_columns(real* dy, const real* kept, real* total, index at,
                                                 index n, index m, Activation f,
                                                 unsigned char* work) {
    const Tile<W> t(at);
    Sums<W> sums = {};
    for_each_row_chunk(t, n, m, [&](const RowChunk<W>& s) {
        Rows<W> d = s.load_from(dy);
        if (f.kind) {
            const Rows<W> at = s.load_from(kept);
            each_number<W>([&](int r, int k) { d.v[r].v[k] = f.back(d.v[r].v[k], at.v[r].v[k]); });
            s.store_to(dy, d);
        }
        each_number<W>([&](int r, int k) { sums.v[0][k] += d.v[r].v[k]; });
    });
    if (!total || !sum_over_blocks(sums, blockDim.x, work)) return;
    if (threadIdx.y || t.column >= m) return;
    for (int k = 0; k < W; k++) total[t.column + k] = sums.v[0][k];
}

KERNEL bias_activation_backward(real* dy, const real* kept, real* total, index n, index m,
                                index wide, index step, index kind, double option,
                                const int* thresholds, index threshold, unsigned char* work,
                                index first_member) {
    const index member = member_of(first_member), at = member * n * m;
    real* sum = part_of(total, member * step);
    const index dropped = number_of(thresholds, threshold, member);
    const Activation f = {int(kind), real(option), scale_of(dropped)};
    if (wide) bias_activation_backward_columns<V>(dy, kept, sum, at, n, m, f, work);
    else bias_activation_backward_columns<1>(dy, kept, sum, at, n, m, f, work);
}

// -- batch norm ----

// Where a member's numbers begin: in matrices, in rows of statistics, and in gamma and beta, which are
// `step` apart, as their gradients are.
struct Begin {
    index matrix, row, parameters;

    __device__ Begin(index member, index n, index m, index step)
        : matrix(member * n * m), row(member * m), parameters(member * step) {}
};

// Mean and sum of squared deviations of `count` numbers in each of W columns; += merges two of them
// (Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample
// variances", 1979).
template <int W> struct Moments {
    real count, mean[W], squares[W];

    __device__ void operator+=(const Moments& other) {
        if (other.count == 0) return;
        if (count == 0) {
            *this = other;
            return;
        }
        const real both = count + other.count, share = other.count / both;
        for (int k = 0; k < W; k++) {
            const real delta = other.mean[k] - mean[k];
            mean[k] += delta * share;
            squares[k] += other.squares[k] + delta * delta * (count * share);
        }
        count = both;
    }
};

template <int W>
__device__ Moments<W> moments_of(const real* x, const Tile<W>& t, index n, index m) {
    Moments<W> found = {};
    for_each_row_chunk(t, n, m, [&](const RowChunk<W>& s) {
        const Rows<W> rows = s.load_from(x);
        Moments<W> these = {};
        for (int r = 0; r < UNROLL; r++) these.count += s.has(r) ? real(1) : real(0);
        each_number<W>([&](int r, int k) { these.mean[k] += rows.v[r].v[k]; });
        for (int k = 0; k < W; k++) these.mean[k] /= these.count;
        each_number<W>([&](int r, int k) {
            const real d = rows.v[r].v[k] - these.mean[k];
            these.squares[k] += s.has(r) ? d * d : real(0);
        });
        found += these;
    });
    return found;
}

// x_hat = (x - mean) inverse, out = f(gamma x_hat + beta), and dropout. `kept` gets f's input, if it
// is wanted.
template <int W>
__device__ void normalise_columns(const real* x, const real* gamma, const real* beta,
                                  Vec<W> mean, Vec<W> inverse, real* x_hat, real* kept,
                                  real* out, Begin at, index n, index m, Activation f, Mask mask) {
    const Tile<W> t(at.matrix);
    if (t.column >= m) return;
    const index p = at.parameters + t.column;
    const Vec<W> g = load<W>(gamma + p), b = load<W>(beta + p);
    for_each_row_chunk(t, n, m, [=](const RowChunk<W>& s) {
        Rows<W> rows = s.load_from(x);
        each_number<W>([&](int r, int k) {
            rows.v[r].v[k] = (rows.v[r].v[k] - mean.v[k]) * inverse.v[k];
        });
        s.store_to(x_hat, rows);
        each_number<W>([&](int r, int k) {
            rows.v[r].v[k] = g.v[k] * rows.v[r].v[k] + b.v[k];
        });
        if (kept) s.store_to(kept, rows);
        each_number<W>([&](int r, int k) { rows.v[r].v[k] = f(rows.v[r].v[k]); });
        mask.drop(rows, s, t.column, m);
        s.store_to(out, rows);
    });
}

// The statistics; where one block has a column to itself, the rest as well.
template <int W>
__device__ void batch_norm_columns(const real* x, const real* gamma, const real* beta, real* mean,
                                   real* variance, real* inverse, real* x_hat, real* kept,
                                   real* out, Begin at, index n, index m, real eps, Activation f,
                                   Mask mask, unsigned char* work) {
    const Tile<W> t(at.matrix);
    Moments<W> found = moments_of(x, t, n, m);
    if (!sum_over_blocks(found, blockDim.x, work)) return;
    Vec<W> center, scale;
    for (int k = 0; k < W; k++) {
        const real v = found.squares[k] / real(n);
        center.v[k] = found.mean[k];
        scale.v[k] = real(1) / sqrt(v + eps);
        if (threadIdx.y || t.column >= m) continue;
        const index row = at.row + t.column + k;
        mean[row] = center.v[k];
        variance[row] = v;
        inverse[row] = scale.v[k];
    }
    if (gridDim.y == 1)
        normalise_columns<W>(x, gamma, beta, center, scale, x_hat, kept, out, at, n, m, f, mask);
}

KERNEL batch_norm(const real* x, const real* gamma, const real* beta, real* mean, real* variance,
                  real* inverse, real* x_hat, real* kept, real* out, index n, index m, index wide,
                  index step, double eps, index kind, double option,
                  const unsigned long long* keys, index key_step, const unsigned long long* salts,
                  index salt, const int* thresholds, index threshold, unsigned char* work,
                  index first_member) {
    const Dropped dropped = {keys, key_step, salts, salt, thresholds, threshold};
    const Activation f = {int(kind), real(option), real(1)};
    const index member = member_of(first_member);
    const Begin at(member, n, m, step);
    const Mask mask(dropped, member);
    if (wide)
        batch_norm_columns<V>(x, gamma, beta, mean, variance, inverse, x_hat, kept, out, at, n, m,
                              real(eps), f, mask, work);
    else
        batch_norm_columns<1>(x, gamma, beta, mean, variance, inverse, x_hat, kept, out, at, n, m,
                              real(eps), f, mask, work);
}

template <int W>
__device__ void normalise_given(const real* x, const real* gamma, const real* beta,
                                const real* mean, const real* inverse, real* x_hat, real* kept,
                                real* out, Begin at, index n, index m, Activation f, Mask mask) {
    const Tile<W> t;
    if (t.column >= m) return;
    const index row = at.row + t.column;
    normalise_columns<W>(x, gamma, beta, load<W>(mean + row), load<W>(inverse + row), x_hat, kept,
                         out, at, n, m, f, mask);
}

KERNEL normalise(const real* x, const real* gamma, const real* beta, const real* mean,
                 const real* inverse, real* x_hat, real* kept, real* out, index n, index m,
                 index wide, index step, index kind, double option,
                 const unsigned long long* keys, index key_step, const unsigned long long* salts,
                 index salt, const int* thresholds, index threshold, index first_member) {
    const Dropped dropped = {keys, key_step, salts, salt, thresholds, threshold};
    const Activation f = {int(kind), real(option), real(1)};
    const index member = member_of(first_member);
    const Begin at(member, n, m, step);
    const Mask mask(dropped, member);
    if (wide)
        normalise_given<V>(x, gamma, beta, mean, inverse, x_hat, kept, out, at, n, m, f, mask);
    else
        normalise_given<1>(x, gamma, beta, mean, inverse, x_hat, kept, out, at, n, m, f, mask);
}

// f(gamma (x - mean) / sqrt(variance + eps) + beta), with given statistics.
template <int W>
__device__ void standardise_columns(const real* x, const real* gamma, const real* beta,
                                    const real* mean, const real* variance, real* out, Begin at,
                                    index statistics, index n, index m, real eps, Activation f) {
    const Tile<W> t(at.matrix);
    if (t.column >= m) return;
    const index p = at.parameters + t.column, s = statistics + t.column;
    const Vec<W> b = load<W>(beta + p), center = load<W>(mean + s);
    Vec<W> g = load<W>(gamma + p), v = load<W>(variance + s);
    for (int k = 0; k < W; k++) g.v[k] /= sqrt(v.v[k] + eps);
    for_each_row_chunk(t, n, m, [=](const RowChunk<W>& s) {
        Rows<W> rows = s.load_from(x);
        each_number<W>([&](int r, int k) {
            rows.v[r].v[k] = f((rows.v[r].v[k] - center.v[k]) * g.v[k] + b.v[k]);
        });
        s.store_to(out, rows);
    });
}

// The given statistics are `statistics_step` apart.
KERNEL standardise(const real* x, const real* gamma, const real* beta, const real* mean,
                   const real* variance, real* out, index n, index m, index wide, index step,
                   index statistics_step, double eps, index kind, double option,
                   index first_member) {
    const Activation f = {int(kind), real(option), real(1)};
    const index member = member_of(first_member), s = member * statistics_step;
    const Begin at(member, n, m, step);
    if (wide)
        standardise_columns<V>(x, gamma, beta, mean, variance, out, at, s, n, m, real(eps), f);
    else
        standardise_columns<1>(x, gamma, beta, mean, variance, out, at, s, n, m, real(eps), f);
}

// dx = gamma inverse (dz - d_beta / n - x_hat d_gamma / n) with dz = dy f'.
template <int W>
__device__ void normalise_backward_columns(const real* dy, const real* kept, const real* x_hat,
                                const real* gamma, const real* inverse, Vec<W> d_gamma,
                                Vec<W> d_beta, real* dx, Begin at, index n, index m, Activation f) {
    const Tile<W> t(at.matrix);
    if (t.column >= m) return;
    Vec<W> scale = load<W>(gamma + at.parameters + t.column);
    const Vec<W> inv = load<W>(inverse + at.row + t.column);
    const real share = real(1) / real(n);
    for (int k = 0; k < W; k++) {
        scale.v[k] *= inv.v[k];
        d_gamma.v[k] *= share;
        d_beta.v[k] *= share;
    }
    for_each_row_chunk(t, n, m, [=](const RowChunk<W>& s) {
        Rows<W> d = s.load_from(dy), at = {};
        const Rows<W> h = s.load_from(x_hat);
        if (f.kind) at = s.load_from(kept);
        each_number<W>([&](int r, int k) {
            const real dz = f.back(d.v[r].v[k], at.v[r].v[k]);
            d.v[r].v[k] = scale.v[k] * (dz - d_beta.v[k] - h.v[r].v[k] * d_gamma.v[k]);
        });
        s.store_to(dx, d);
    });
}

// d_beta = sum dz, d_gamma = sum dz x_hat; where one block has a column to itself, dx as well.
template <int W>
__device__ void batch_norm_back(const real* dy, const real* kept, const real* x_hat,
                                const real* gamma, const real* inverse, real* d_gamma,
                                real* d_beta, real* dx, Begin at, index n, index m, Activation f,
                                unsigned char* work) {
    const Tile<W> t(at.matrix);
    Sums<W, 2> sums = {};
    for_each_row_chunk(t, n, m, [&](const RowChunk<W>& s) {
        const Rows<W> d = s.load_from(dy), h = s.load_from(x_hat);
        Rows<W> at = {};
        if (f.kind) at = s.load_from(kept);
        each_number<W>([&](int r, int k) {
            const real dz = f.back(d.v[r].v[k], at.v[r].v[k]);
            sums.v[0][k] += dz;
            sums.v[1][k] += dz * h.v[r].v[k];
        });
    });
    if (!sum_over_blocks(sums, blockDim.x, work)) return;
    Vec<W> total, product;
    for (int k = 0; k < W; k++) {
        total.v[k] = sums.v[0][k];
        product.v[k] = sums.v[1][k];
        if (threadIdx.y || t.column >= m) continue;
        d_beta[at.parameters + t.column + k] = total.v[k];
        d_gamma[at.parameters + t.column + k] = product.v[k];
    }
    if (gridDim.y == 1)
        normalise_backward_columns<W>(dy, kept, x_hat, gamma, inverse, product, total, dx, at, n, m,
                                      f);
}

KERNEL batch_norm_backward(const real* dy, const real* kept, const real* x_hat, const real* gamma,
                           const real* inverse, real* d_gamma, real* d_beta, real* dx, index n,
                           index m, index wide, index step, index kind, double option,
                           const int* thresholds, index threshold, unsigned char* work,
                           index first_member) {
    const index member = member_of(first_member);
    const Begin at(member, n, m, step);
    const index dropped = number_of(thresholds, threshold, member);
    const Activation f = {int(kind), real(option), scale_of(dropped)};
    if (wide)
        batch_norm_back<V>(dy, kept, x_hat, gamma, inverse, d_gamma, d_beta, dx, at, n, m, f, work);
    else
        batch_norm_back<1>(dy, kept, x_hat, gamma, inverse, d_gamma, d_beta, dx, at, n, m, f, work);
}

template <int W>
__device__ void normalise_backward_given(const real* dy, const real* kept, const real* x_hat,
                                         const real* gamma, const real* inverse,
                                         const real* d_gamma, const real* d_beta, real* dx,
                                         Begin at, index n, index m, Activation f) {
    const Tile<W> t;
    if (t.column >= m) return;
    const index p = at.parameters + t.column;
    normalise_backward_columns<W>(dy, kept, x_hat, gamma, inverse, load<W>(d_gamma + p),
                                  load<W>(d_beta + p), dx, at, n, m, f);
}

KERNEL normalise_backward(const real* dy, const real* kept, const real* x_hat, const real* gamma,
                          const real* inverse, const real* d_gamma, const real* d_beta, real* dx,
                          index n, index m, index wide, index step, index kind, double option,
                          const int* thresholds, index threshold, index first_member) {
    const index member = member_of(first_member);
    const Begin at(member, n, m, step);
    const index dropped = number_of(thresholds, threshold, member);
    const Activation f = {int(kind), real(option), scale_of(dropped)};
    if (wide)
        normalise_backward_given<V>(dy, kept, x_hat, gamma, inverse, d_gamma, d_beta, dx, at, n, m,
                                    f);
    else
        normalise_backward_given<1>(dy, kept, x_hat, gamma, inverse, d_gamma, d_beta, dx, at, n, m,
                                    f);
}

// In place average <- average + fraction (scale value - average), of each member's m numbers; the
// averages are `step` apart.
KERNEL running_average(real* average, const real* value, double scale, double fraction, index m,
                       index step, index first_member) {
    const real s = real(scale), f = real(fraction);
    const index member = member_of(first_member);
    real* to = average + member * step;
    const real* from = value + member * m;
    everywhere(0, m, [=](auto width, index i) {
        constexpr int W = decltype(width)::value;
        Vec<W> a = load<W>(to + i);
        const Vec<W> v = load<W>(from + i);
        for (int k = 0; k < W; k++) a.v[k] += f * (s * v.v[k] - a.v[k]);
        store<W>(to + i, a);
    });
}

// -- dropout that follows no ReLU ----

// Here a column is a word; the members' counters are `step` apart.
KERNEL dropout(const real* x, const unsigned long long* counters, const unsigned long long* keys,
               const int* thresholds, real* mask, real* out, index n, index words, index m,
               index step, index key_step, index threshold, index first_member) {
    const Tile<1> t;
    if (t.column >= words) return;
    const index member = member_of(first_member), whole = member * n * m;
    const unsigned long long start = keys[member * key_step];
    const index most = number_of(thresholds, threshold, member);
    const real scale = scale_of(most);
    const index first = 4 * t.column, count = m - first < 4 ? m - first : 4;
    for (index i = t.row; i < n; i += t.step) {
        const unsigned long long count_from = counters[member * step + i * words + t.column];
        const unsigned long long bits = mix64(count_from + start);
        const index at = whole + i * m + first;
        Vec<4> lives, p = {};
#pragma unroll
        for (int k = 0; k < 4; k++)
            lives.v[k] = index((bits >> (16 * k)) & 0xffff) >= most ? scale : real(0);
        if (count == 4) {
            p = load<4>(x + at);
#pragma unroll
            for (int k = 0; k < 4; k++) p.v[k] *= lives.v[k];
            store<4>(mask + at, lives);
            store<4>(out + at, p);
            continue;
        }
#pragma unroll
        for (int k = 0; k < 3; k++) {
            if (k >= count) continue;
            mask[at + k] = lives.v[k];
            out[at + k] = x[at + k] * lives.v[k];
        }
    }
}
