// What the CUDA program needs of CUDA, for one core of the host: its threads are coroutines.
//
// The threads of a block run one after the other, each up to the next barrier, in an order that can
// be turned around: what a missing barrier allows to happen does happen. Shared memory is full of
// ones (NaN) when a block begins. Threads that wait at different barriers, or at one that others
// never reach, are an error; so is an access to memory beside the boundary that its width asks for,
// which the compiler is told to report.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

// Of half turns: what is taken off first changes nothing.
template <class T> inline T sinpi(T x) {
    return std::sin(T(M_PI) * (x - 2 * std::round(x / 2)));
}

template <class T> inline T cospi(T x) {
    return std::cos(T(M_PI) * (x - 2 * std::round(x / 2)));
}

struct Index3 {
    unsigned x = 0, y = 0, z = 0;
};

static Index3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

enum Failure { NONE, UNKNOWN_KERNEL, WRONG_ARGUMENTS, WRONG_BLOCK, DIVERGED, MISALIGNED };

struct Thread {
    ucontext_t context;
    std::vector<unsigned char> stack = std::vector<unsigned char>(1 << 16);
    int waits_at = 0;  // the line of a barrier
    bool done = false;
};

static std::vector<Thread> threads(THREADS);
static ucontext_t scheduler;
static Thread* running;
static const std::function<void()>* body;
static bool vote, verdict, misaligned;

inline int barrier(int line, bool here = false) {
    vote |= here;
    running->waits_at = line;
    swapcontext(&running->context, &scheduler);
    return verdict;
}

inline void enter() {
    (*body)();
    running->done = true;
    swapcontext(&running->context, &scheduler);
}

// Run each thread up to the next barrier, or to its end.
inline Failure stretch(bool backwards) {
    vote = false;
    for (int k = 0; k < THREADS; k++) {
        const int place = backwards ? THREADS - 1 - k : k;
        running = &threads[place];
        threadIdx = {place % blockDim.x, place / blockDim.x, 0};
        swapcontext(&scheduler, &running->context);
    }
    verdict = vote;
    for (const Thread& t : threads)
        if (t.done != threads[0].done || (!t.done && t.waits_at != threads[0].waits_at))
            return DIVERGED;
    return NONE;
}

// Shared memory is a section, with at least this in it; the linker says where it lies.
static unsigned char something __attribute__((section("shared_memory"), used));
extern "C" unsigned char __start_shared_memory, __stop_shared_memory;

inline Failure run_block(bool backwards) {
    memset(&__start_shared_memory, 0xff, &__stop_shared_memory - &__start_shared_memory);
    for (Thread& t : threads) {
        t.done = false;
        getcontext(&t.context);
        t.context.uc_stack.ss_sp = t.stack.data();
        t.context.uc_stack.ss_size = t.stack.size();
        makecontext(&t.context, enter, 0);
    }
    do {
        const Failure failure = stretch(backwards);
        if (failure) return failure;
    } while (!threads[0].done);
    return NONE;
}

inline Failure run_grid(const std::function<void()>& kernel, bool backwards) {
    if (blockDim.x * blockDim.y != THREADS) return WRONG_BLOCK;
    body = &kernel;
    misaligned = false;
    const unsigned layer = gridDim.x * gridDim.y, count = layer * gridDim.z;
    for (unsigned k = 0; k < count; k++) {
        const unsigned block = backwards ? count - 1 - k : k;
        blockIdx = {block % gridDim.x, block % layer / gridDim.x, block / layer};
        const Failure failure = run_block(backwards);
        if (failure) return failure;
    }
    return misaligned ? MISALIGNED : NONE;
}

// What a parameter may be given: 'p' a pointer, 'i' an integer, 'd' a floating-point number.
template <class T> constexpr char code = '?';
template <class T> constexpr char code<T*> = 'p';
template <> constexpr char code<long long> = 'i';
template <> constexpr char code<double> = 'd';

template <class... T, size_t... I>
Failure call(void (*kernel)(T...), const char* codes, void** arguments, bool backwards,
             std::index_sequence<I...>) {
    const char expected[] = {code<T>..., 0};
    if (strcmp(codes, expected)) return WRONG_ARGUMENTS;
    return run_grid([=] { kernel(*static_cast<T*>(arguments[I])...); }, backwards);
}

template <class... T>
Failure launch(void (*kernel)(T...), const char* codes, void** arguments, bool backwards) {
    return call(kernel, codes, arguments, backwards, std::index_sequence_for<T...>());
}

}  // namespace emulator

// What -fsanitize=alignment calls.
extern "C" void __ubsan_handle_type_mismatch_v1(void*, uintptr_t) { emulator::misaligned = true; }

#define __global__
#define __device__
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(threads)
#define __noinline__
#define __shared__ static __attribute__((section("shared_memory")))
#define __syncthreads() emulator::barrier(__LINE__)
#define __syncthreads_or(vote) emulator::barrier(__LINE__, vote)

inline void __threadfence() {}

inline unsigned atomicInc(unsigned* p, unsigned limit) {
    const unsigned old = *p;
    *p = old >= limit ? 0 : old + 1;
    return old;
}
