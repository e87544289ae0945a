// CUDA on one CPU thread: a block's threads are fibers that take turns at every barrier.
//
// A fiber runs until it meets a barrier, and a warp of them until it meets one of the whole block;
// then the next runs, so that a missing barrier is a wrong result every time. A barrier opens when
// all threads of the block that still run, or all lanes of the warp, stand at it. They take turns
// in rising or in falling order, as BACKWARDS says: a result that depends on the order is a race.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <bit>
#include <cmath>
#include <cstdint>
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

constexpr unsigned LANES = 32;
struct Barrier {
    unsigned waiting = 0, opened = 0;
};
static Barrier block_barrier, warp_barriers[FIBERS / LANES];
static Barrier* waits_at[FIBERS];
static unsigned arrived_in[FIBERS], running;

[[gnu::noinline]] inline void wait_at(Barrier& barrier, unsigned all) {
    unsigned mine = threadIdx.x;
    waits_at[mine] = &barrier;
    arrived_in[mine] = barrier.opened;
    if (++barrier.waiting == all) barrier.waiting = 0, barrier.opened++;
    if (!_setjmp(places[mine])) _longjmp(home, 1);
}

inline void __syncthreads() { wait_at(block_barrier, running); }
inline void __syncwarp() { wait_at(warp_barriers[threadIdx.x / LANES], LANES); }

// Every lane of the warp takes part, as in all kernels here.
template <class T> [[gnu::noinline]] T __shfl_xor_sync(unsigned, T value, int lanes) {
    static T slots[FIBERS];
    slots[threadIdx.x] = value;
    __syncwarp();
    T found = slots[threadIdx.x ^ lanes];
    __syncwarp();
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

// Every lane of this warp that can go on runs to its next barrier; says whether one could.
static bool run_warp(unsigned first, bool backwards) {
    bool moved = false;
    for (unsigned k = 0; k < LANES; k++) {
        unsigned t = backwards ? first + LANES - 1 - k : first + k;
        if (finished[t]) continue;
        bool fresh = waits_at[t] == nullptr;
        if (!fresh && waits_at[t]->opened == arrived_in[t]) continue;
        resume(t, fresh);
        running -= finished[t];
        moved = true;
    }
    return moved;
}

// False where threads wait at barriers that not all of them reach.
static bool run_block(unsigned threads, bool backwards) {
    for (unsigned t = 0; t < threads; t++) {
        getcontext(&contexts[t]);
        contexts[t].uc_stack.ss_sp = &stacks[t * STACK];
        contexts[t].uc_stack.ss_size = STACK;
        contexts[t].uc_link = nullptr;
        makecontext(&contexts[t], fiber, 0);
        finished[t] = false;
        waits_at[t] = nullptr;
    }
    block_barrier = Barrier();
    for (Barrier& barrier : warp_barriers) barrier = Barrier();
    for (running = threads; running > 0;) {
        bool moved = false;
        for (unsigned w = 0; w < threads; w += LANES) {
            unsigned first = backwards ? threads - LANES - w : w;
            while (run_warp(first, backwards)) moved = true;
        }
        if (!moved) return false;
    }
    return true;
}

template <class... A> struct Call {
    void (*kernel)(A...);
    void** args;
    template <size_t... I> void with(std::index_sequence<I...>) {
        kernel(*static_cast<A*>(args[I])...);
    }
};

template <class... A>
bool launch(void (*kernel)(A...), void** args, const unsigned* grid, unsigned threads, int back) {
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
            if (!run_block(threads, back)) return false;
        }
    return true;
}
