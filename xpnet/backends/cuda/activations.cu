// The activations. The cases of the switches are macros, made from backends/activations.py.

// Those that call functions such as exp, which take long in any case: one copy of each suffices.
__device__ __noinline__ real call_forward(int kind, real option, real z) {
    real y = z;
    switch (kind) { FORWARD_CALLS }
    return y;
}

// `kept` is the output y or the input z, as the kind asks for.
__device__ __noinline__ real call_backward(int kind, real option, real dy, real kept) {
    switch (kind) { BACKWARD_CALLS }
    return dy;
}

struct Activation {
    int kind;
    real option;
    real scale;  // what dropout multiplies by what it does not drop

    // f(z); NaN stays NaN.
    __device__ real operator()(real z) const {
        real y = z;
        switch (kind) {
            FORWARD_CASES
            default: y = call_forward(kind, option, z);
        }
        return y;
    }

    // dy f', from what `call_backward` is given.
    __device__ real back(real dy, real kept) const {
        switch (kind) {
            BACKWARD_CASES
            default: dy = call_backward(kind, option, dy, kept);
        }
        return scale * dy;
    }
};
