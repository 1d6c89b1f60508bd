// Losses with their gradients, softmax, and a run's bookkeeping.
//
// Threads along x share a row: there are at least as many as columns, or a block's worth. A loss is
// sum weight_i (loss of row i), where weight_i is `weight`, times weights[i] if there is such an array.
// Members have matrices of their own; their labels and weights are so many steps apart, or shared.

struct Larger {
    __device__ real operator()(real a, real b) const { return a > b || a != a ? a : b; }
};

struct Plus {
    __device__ real operator()(real a, real b) const { return a + b; }
};

// Combine the values of a row's threads: each gets the result.
template <class Op> __device__ real across(real value, Op op) {
    real* all = reinterpret_cast<real*>(shared_memory());
    all[place()] = value;
    for (unsigned half = blockDim.x / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) all[place()] = op(all[place()], all[place() + half]);
    }
    __syncthreads();
    value = all[threadIdx.y * blockDim.x];
    __syncthreads();
    return value;
}

// The largest number of a row of z and sum exp(z - largest). All threads of the block have to call
// it; those without a row say so.
__device__ inline void exponents(const real* row, index m, bool live, real& largest, real& total) {
    largest = live ? row[0] : real(0);
    for (index j = threadIdx.x; live && j < m; j += blockDim.x) largest = Larger()(largest, row[j]);
    largest = across(largest, Larger());
    total = 0;
    for (index j = threadIdx.x; live && j < m; j += blockDim.x) total += exp(row[j] - largest);
    total = across(total, Plus());
}

// The rows of a block lie together; all its threads go through the same number of bands.
#define EACH_BAND(first, n)                                           \
    for (index first = blockIdx.y * index(blockDim.y); first < (n); \
         first += gridDim.y * index(blockDim.y))

// -- softmax ----

KERNEL softmax(const real* z, real* out, index n, index m) {
    EACH_BAND(first, n) {
        const index i = first + threadIdx.y;
        real largest, total;
        exponents(z + i * m, m, i < n, largest, total);
        for (index j = threadIdx.x; i < n && j < m; j += blockDim.x)
            out[i * m + j] = exp(z[i * m + j] - largest) / total;
    }
}

// dz = (softmax(z) - t) weight; loss = sum weight (log sum exp(z - max z) - sum t (z - max z)), where
// t is 1 - smoothing at the label, and everywhere smoothing / m more.
KERNEL softmax_cross_entropy(const real* z, const int* y, const real* weights, double weight,
                             const real* smoothings, double smoothing, real* dz, real* loss,
                             index n, index m, index y_step, index weight_step,
                             unsigned char* work, index first_member) {
    const index member = member_of(first_member);
    z += member * n * m;
    dz += member * n * m;
    y += member * y_step;
    weights = part_of(weights, member * weight_step);
    smoothing = number_of(smoothings, smoothing, member);
    Total cost = {};
    const real hit = real(1 - smoothing), share = real(smoothing) / real(m);
    EACH_BAND(first, n) {
        const index i = first + threadIdx.y;
        const bool live = i < n;
        real largest, total, others = 0;
        exponents(z + i * m, m, live, largest, total);
        if (smoothing > 0) {  // for all threads or none
            for (index j = threadIdx.x; live && j < m; j += blockDim.x)
                others += z[i * m + j] - largest;
            others = across(others, Plus());
        }
        if (!live) continue;
        const real part = real(weight) * (weights ? weights[i] : real(1)), factor = part / total;
        const real one = part * hit, all = part * share;
        const index label = y[i];
        for (index j = threadIdx.x; j < m; j += blockDim.x) {
            const real p = exp(z[i * m + j] - largest) * factor - all;
            dz[i * m + j] = j == label ? p - one : p;
        }
        if (threadIdx.x) continue;
        const real own = 0 <= label && label < m ? z[i * m + label] - largest : real(0);
        cost.v += double(part * (log(total) - (hit * own + share * others)));
    }
    if (sum_over_blocks(cost, 1, work) && place() == 0) loss[member] = real(cost.v);
}

// -- losses of one output at a time: f gives a term of the loss and its derivative; see rows.py ----

template <class F>
__device__ void each_output(const real* z, const real* y, const real* weights, double weight,
                            real* dz, real* loss, index n, index m, index y_step,
                            index weight_step, unsigned char* work, index member, F f) {
    z += member * n * m;
    dz += member * n * m;
    y += member * y_step;
    weights = part_of(weights, member * weight_step);
    Total cost = {};
    EACH_BAND(first, n) {
        const index i = first + threadIdx.y;
        if (i >= n) continue;
        const real part = real(weight) * (weights ? weights[i] : real(1));
        for (index j = threadIdx.x; j < m; j += blockDim.x) {
            real derivative;
            const real term = f(z[i * m + j], y[i * m + j], derivative);
            dz[i * m + j] = derivative * part;
            cost.v += double(term * part);
        }
    }
    if (sum_over_blocks(cost, 1, work) && place() == 0) loss[member] = real(cost.v);
}

// -- weights of examples; a run's losses ----

// weight = w / sum w, decay = l2 / sum w, both 0 if all weights are. A block for each member whose
// weights are its own; each block has `decays` numbers l2.
KERNEL normalize_weights(const real* weights, real* weight, real* total, real* safe, real* decay,
                         const real* l2s, double l2, index n, index decays, double tiny,
                         index first_member) {
    const index member = member_of(first_member);
    weights += member * n;
    weight += member * n;
    Sums<1> sums = {};
    for (index i = place(); i < n; i += THREADS) sums.v[0][0] += weights[i];
    const real sum = sum_in_block(sums, 1).v[0][0];
    const real divisor = sum < real(tiny) ? real(tiny) : sum;
    for (index i = place(); i < n; i += THREADS) weight[i] = weights[i] / divisor;
    for (index i = member * decays + place(); i < (member + 1) * decays; i += THREADS)
        decay[i] = sign_of(sum) * number_of(l2s, real(l2), i) / divisor;
    if (place()) return;
    total[member] = sum;
    safe[member] = divisor;
}

// total += n loss; finite = whether that is; steps += finite, of each member. One block.
KERNEL observe(const real* loss, double n, double* total, double* steps, bool* finite,
               index members) {
    for (index k = place(); k < members; k += THREADS) {
        const double sum = total[k] + n * double(loss[k]);
        total[k] = sum;
        finite[k] = sum - sum == 0;
        steps[k] += finite[k] ? 1 : 0;
    }
}
