// What all kernels share: vector loads, the way threads lie over a matrix, and sums.
//
// REAL is float or double; THREADS are in a block, always: a power of two. A kernel takes pointers,
// whole numbers as `index` and all others as `double`, so that a launch needs no conversions.
// Matrices are contiguous. Nothing here depends on the order in which blocks or threads run.
//
// Members, networks that are trained at once, lie along z: their matrices one behind another, what
// is theirs in a flat buffer (weights, biases, gradients) `step` numbers apart; 0 is one for all.

using real = REAL;
using index = long long;

// How many numbers one 128-bit access moves.
constexpr int V = 16 / sizeof(real);

#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)

// A block's member. A launch begins with one of them: more than lie along z take several.
__device__ inline index member_of(index first_member) {
    return first_member + blockIdx.z;
}

// A member's part of an array, if there is one.
template <class T> __device__ inline T* part_of(T* array, index offset) {
    return array ? array + offset : nullptr;
}

// A member's own number, if there are such, or the one for all.
template <class T, class U> __device__ inline U number_of(const T* each, U all, index member) {
    return each ? U(each[member]) : all;
}

// 1, -1, or x itself if it is 0 or NaN.
__device__ inline real sign_of(real x) {
    return x > 0 ? real(1) : x < 0 ? real(-1) : x;
}

// -- W neighbours, moved by one access where they lie on a 16-byte boundary ----

template <int W> struct alignas(W * sizeof(real) < 16 ? W * sizeof(real) : 16) Vec {
    real v[W];
};

__device__ inline bool aligned(const void* p, int bytes = 16) {
    return reinterpret_cast<unsigned long long>(p) % bytes == 0;
}

template <int W> __device__ inline Vec<W> load(const real* p) {
    Vec<W> vec;
    if (W * sizeof(real) < 16 || !aligned(p)) {
        for (int k = 0; k < W; k++) vec.v[k] = p[k];
        return vec;
    }
    return *reinterpret_cast<const Vec<W>*>(p);
}

template <int W> __device__ inline void store(real* p, const Vec<W>& vec) {
    if (W * sizeof(real) < 16 || !aligned(p)) {
        for (int k = 0; k < W; k++) p[k] = vec.v[k];
        return;
    }
    *reinterpret_cast<Vec<W>*>(p) = vec;
}

// -- a matrix's columns lie along x; a thread keeps W of them and goes down the rows. The matrix begins
// at `start`: a shifted pointer would take more registers ----

template <int W> struct Tile {
    index start, column, row, step;

    __device__ Tile(index start = 0)
        : start(start), column((blockIdx.x * index(blockDim.x) + threadIdx.x) * W),
          row(blockIdx.y * index(blockDim.y) + threadIdx.y),
          step(gridDim.y * index(blockDim.y)) {}
};

// How many rows a thread loads before it computes: so their ways from memory overlap.
constexpr int UNROLL = 4;

// W columns of a chunk of rows.
template <int W> struct Rows {
    Vec<W> v[UNROLL];
};

// A tile's rows from `row` on, of n.
template <int W> struct RowChunk {
    index row, step, n, first, leading_dimension;

    __device__ bool has(int r) const { return row + r * step < n; }

    // Rows that there are not are zero.
    __device__ Rows<W> load_from(const real* p) const {
        Rows<W> rows = {};
#pragma unroll
        for (int r = 0; r < UNROLL; r++)
            if (has(r)) rows.v[r] = load<W>(p + first + r * leading_dimension);
        return rows;
    }

    __device__ void store_to(real* p, const Rows<W>& rows) const {
#pragma unroll
        for (int r = 0; r < UNROLL; r++)
            if (has(r)) store<W>(p + first + r * leading_dimension, rows.v[r]);
    }
};

// Call body(chunk) down the rows of a matrix with n rows and m columns.
template <int W, class Body>
__device__ inline void for_each_row_chunk(const Tile<W>& t, index n, index m, Body body) {
    if (t.column >= m) return;
    for (index i = t.row; i < n; i += UNROLL * t.step)
        body(RowChunk<W>{i, t.step, n, t.start + i * m + t.column, t.step * m});
}

// Call body(r, k) for each number of a chunk: row r, column k.
template <int W, class Body> __device__ inline void each_number(Body body) {
#pragma unroll
    for (int r = 0; r < UNROLL; r++)
        for (int k = 0; k < W; k++) body(r, k);
}

// -- dropout: the bits are those of Kernels.dropout, four elements to a word ----

__device__ inline unsigned long long mix64(unsigned long long x) {
    x = (x ^ (x >> 30)) * MULTIPLIER_1;
    x = (x ^ (x >> 27)) * MULTIPLIER_2;
    return x ^ (x >> 31);
}

// What those that live are multiplied by.
__device__ inline real scale_of(index threshold) {
    return real(65536) / real(65536 - threshold);
}

// What a kernel is told of the dropout behind a ReLU: for each member, or one for all, the bits of
// the step, those of the layer, and whom they kill. Without keys there is none.
struct Dropped {
    const unsigned long long* keys;
    index key_step;
    const unsigned long long* salts;
    index salt;
    const int* thresholds;
    index threshold;
};

// What dropout does behind a ReLU, whose slope becomes `scale`. The step's bits are read at once: to
// keep where they are, and the salt, would take more registers.
struct Mask {
    const unsigned long long* keys;
    unsigned long long start;
    int threshold;
    real scale;

    __device__ Mask(const Dropped& d, index member)
        : keys(d.keys),
          start(number_of(d.salts, static_cast<unsigned long long>(d.salt), member) +
                (keys ? keys[member * d.key_step] : 0)),
          threshold(number_of(d.thresholds, int(d.threshold), member)), scale(scale_of(threshold)) {}

    // A thread's columns lie in one word, for W divides 4 and the first column.
    template <int W>
    __device__ void drop(Rows<W>& rows, const RowChunk<W>& s, index column, index m) const {
        if (!keys) return;
        const index words = (m + 3) / 4, word = column / 4, lane = column % 4;
        for (int r = 0; r < UNROLL; r++) {
            const index counter = (s.row + r * s.step) * words + word;
            const unsigned long long bits = mix64(start + counter * GAMMA) >> (16 * lane);
            for (int k = 0; k < W; k++)
                rows.v[r].v[k] *= int((bits >> (16 * k)) & 0xffff) >= threshold ? scale : real(0);
        }
    }
};

// -- flat buffers: body(width, i) is called once for each stretch of `width` numbers from i, from
// `begin` to `end`; wide stretches begin at multiples of V ----

template <int W> struct Width {
    static constexpr int value = W;
};

template <class Body> __device__ inline void everywhere(index begin, index end, Body body) {
    const index first = (blockIdx.y * index(gridDim.x) + blockIdx.x) * THREADS + threadIdx.x;
    const index step = gridDim.x * index(gridDim.y) * THREADS;
    const index from = (begin + V - 1) / V, to = end / V;
    for (index i = from + first; i < to; i += step) body(Width<V>(), i * V);
    // What is left of them, and right; all, if there is no wide one.
    const index left = (from <= to ? from * V : end) - begin, right = from <= to ? to * V : end;
    for (index i = first; i < left + end - right; i += step)
        body(Width<1>(), i < left ? begin + i : right + i - left);
}

// -- sums that come out the same in every run: in pairs within a block, then block by block ----

constexpr int LARGEST = 40;  // bytes of what a thread may bring to a sum

__device__ static unsigned char* shared_memory() {
    alignas(16) __shared__ unsigned char bytes[THREADS * LARGEST];
    return bytes;
}

__device__ inline int place() {
    return threadIdx.y * blockDim.x + threadIdx.x;
}

// Add up the values of all threads whose places differ by multiples of `width`, a power of two:
// each gets the sum.
template <class T> __device__ T sum_in_block(T value, int width) {
    static_assert(sizeof(T) <= LARGEST, "shared memory is too small");
    T* all = reinterpret_cast<T*>(shared_memory());
    all[place()] = value;
    for (int half = THREADS / 2; half >= width; half /= 2) {
        __syncthreads();
        if (place() < half) all[place()] += all[place() + half];
    }
    __syncthreads();
    value = all[place() % width];
    __syncthreads();  // the memory is free again
    return value;
}

// The same over all blocks of a member's column of blocks. True in the block that comes last and has
// the sum, which it adds up in the blocks' order. `work` is zero before and after.
template <class T> __device__ bool sum_over_blocks(T& value, int width, unsigned char* work) {
    value = sum_in_block(value, width);
    if (gridDim.y == 1) return true;
    const index column = blockIdx.z * index(gridDim.x) + blockIdx.x;
    unsigned* arrived = reinterpret_cast<unsigned*>(work) + column;
    T* parts = reinterpret_cast<T*>(work + MOST_BLOCKS * sizeof(unsigned));
    parts += column * gridDim.y * width;
    if (place() < width) parts[blockIdx.y * width + place()] = value;
    __syncthreads();
    bool last = false;
    if (place() == 0) {
        __threadfence();  // this block's part lies there before it is counted,
        last = atomicInc(arrived, gridDim.y - 1) == gridDim.y - 1;
        __threadfence();  // and the others' parts are read after
    }
    if (!__syncthreads_or(last)) return false;
    value = T{};
    for (unsigned block = place() / width; block < gridDim.y; block += THREADS / width)
        value += parts[block * width + place() % width];
    value = sum_in_block(value, width);
    return true;
}

// K sums for each of W columns.
template <int W, int K = 1> struct Sums {
    real v[K][W];

    __device__ void operator+=(const Sums& other) {
        for (int k = 0; k < K; k++)
            for (int w = 0; w < W; w++) v[k][w] += other.v[k][w];
    }
};

// A loss is added up in double.
struct Total {
    double v;

    __device__ void operator+=(const Total& other) { v += other.v; }
};
