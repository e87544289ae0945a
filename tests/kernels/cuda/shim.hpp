// CUDA on one CPU thread: a block's threads are fibers that take turns at every barrier.
//
// A fiber runs until it meets __syncthreads; then the next one runs, so that a missing barrier is
// a wrong result every time. They take turns in rising or in falling order, as BACKWARDS says:
// a result that depends on the order is a race.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <tuple>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __shared__ static
#define __forceinline__ inline

struct Dim {
    unsigned x = 0, y = 0, z = 0;
};
static Dim threadIdx, blockIdx, blockDim, gridDim;

inline int __float_as_int(float v) { return std::bit_cast<int>(v); }
inline float __int_as_float(int v) { return std::bit_cast<float>(v); }
inline long long __double_as_longlong(double v) { return std::bit_cast<long long>(v); }
inline double __longlong_as_double(long long v) { return std::bit_cast<double>(v); }

constexpr int FIBERS = 1024;
constexpr size_t STACK = 64 * 1024;
static jmp_buf home, places[FIBERS];
static ucontext_t main_context, contexts[FIBERS];
static std::vector<char> stacks(FIBERS* STACK);
static bool finished[FIBERS];
static void (*body)(void*);
static void* body_data;

[[gnu::noinline]] inline void __syncthreads() {
    unsigned mine = threadIdx.x;
    if (!_setjmp(places[mine])) _longjmp(home, 1);
}

// Every thread of the block takes part, as in all kernels here.
template <class T> [[gnu::noinline]] T __shfl_xor_sync(unsigned, T value, int lanes) {
    static T slots[FIBERS];
    slots[threadIdx.x] = value;
    __syncthreads();
    T found = slots[threadIdx.x ^ lanes];
    __syncthreads();
    return found;
}

static void fiber() {
    unsigned mine = threadIdx.x;
    body(body_data);
    finished[mine] = true;
    _longjmp(home, 1);
}

[[gnu::noinline]] static void resume(unsigned t, bool fresh) {
    threadIdx.x = t;
    if (_setjmp(home)) return;
    if (fresh)
        setcontext(&contexts[t]);
    else
        _longjmp(places[t], 1);
}

static void run_block(unsigned threads, bool backwards) {
    for (unsigned t = 0; t < threads; t++) {
        getcontext(&contexts[t]);
        contexts[t].uc_stack.ss_sp = &stacks[t * STACK];
        contexts[t].uc_stack.ss_size = STACK;
        contexts[t].uc_link = nullptr;
        makecontext(&contexts[t], fiber, 0);
        finished[t] = false;
    }
    bool fresh = true;
    for (unsigned open = threads; open > 0; fresh = false) {
        for (unsigned k = 0; k < threads; k++) {
            unsigned t = backwards ? threads - 1 - k : k;
            if (finished[t]) continue;
            resume(t, fresh);
            open -= finished[t];
        }
    }
}

template <class... A> struct Call {
    void (*kernel)(A...);
    void** args;
    template <size_t... I> void with(std::index_sequence<I...>) {
        kernel(*static_cast<A*>(args[I])...);
    }
};

template <class... A>
void launch(void (*kernel)(A...), void** args, const unsigned* grid, unsigned threads, int back) {
    Call<A...> call{kernel, args};
    body_data = &call;
    body = [](void* data) {
        static_cast<Call<A...>*>(data)->with(std::index_sequence_for<A...>());
    };
    blockDim.x = threads;
    gridDim.x = grid[0], gridDim.y = grid[1];
    for (unsigned y = 0; y < grid[1]; y++)
        for (unsigned x = 0; x < grid[0]; x++) {
            blockIdx.x = x, blockIdx.y = y;
            run_block(threads, back);
        }
}
