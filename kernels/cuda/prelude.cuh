// What happens to one entry and to one row, for all kernels: compiled for REAL = float and double.
//
// A block has one sample, or one slice of it where entries do not depend on each other. Sums are
// float64 and run in a fixed order: over the entries of a thread, then through a butterfly of the
// threads, so that all threads hold the same bits and the same launch gives the same bits again.
// Every source is compiled without fusing products and sums (--fmad=false): each rounding is meant.

typedef REAL real;
typedef long long whole;
typedef unsigned long long word;

constexpr bool SINGLE = sizeof(real) == 4;
constexpr real MOST = SINGLE ? (real)3.40282346638528859812e+38 : (real)1.79769313486231570815e+308;
constexpr double TINY = SINGLE ? 1.17549435082228750797e-38 : 2.22507385850720138309e-308;
constexpr double ULP = SINGLE ? 1.1920928955078125e-07 : 2.220446049250313e-16;
constexpr double SAFETY = 1e-9;
constexpr double SMALLEST = 1e-270, LARGEST = 1e300;  // sums of powers between these are safe
constexpr double LEAST_SCALE = TINY / ULP;            // a smaller factor has too few digits
constexpr int PASSES = 64, REPEATS = 4, WARP = 32;
constexpr whole NOWHERE = 0x7FFFFFFFFFFFFFFFLL;

__device__ inline int bits_of(float v) { return __float_as_int(v); }
__device__ inline whole bits_of(double v) { return __double_as_longlong(v); }
__device__ inline float number_of(int bits) { return __int_as_float(bits); }
__device__ inline double number_of(whole bits) { return __longlong_as_double(bits); }
__device__ inline double infinite() { return __longlong_as_double(0x7FF0000000000000LL); }
__device__ inline double missing() { return __longlong_as_double(0x7FF8000000000000LL); }

template <class T> __device__ inline T less(T a, T b) { return a < b ? a : b; }
template <class T> __device__ inline T more(T a, T b) { return a > b ? a : b; }
__device__ inline real size_of(real v) { return v < 0 ? -v : v == 0 ? (real)0 : v; }
__device__ inline double wide(real v) { return (double)v; }

// A bound of the box: one number, or one an entry.
struct Bound {
    const real* entries;
    real value;
    __device__ real at(whole i) const { return entries ? entries[i] : value; }
};

// v, negated where `negative`; NaN and zeros keep their bits.
__device__ inline real flip(real v, bool negative) { return negative ? -v : v; }
__device__ inline bool negative(real v) { return bits_of(v) < 0; }

// The next number below v, which is not 0.
__device__ inline real below(real v) {
    auto bits = bits_of(v);
    return number_of(bits < 0 ? bits + 1 : bits - 1);
}

// The next number from v towards `to`, which differs from v.
__device__ inline real next(real v, real to) {
    if (v == 0) {
        auto least = bits_of((real)0) + 1;
        return flip(number_of(least), to < 0);
    }
    auto bits = bits_of(v);
    return number_of((v < to) == (v > 0) ? bits + 1 : bits - 1);
}

// v within [low, high]; NaN stays.
__device__ inline real clamp(real v, real low, real high) {
    v = v < low ? low : v;
    return v > high ? high : v;
}

// g with NaN as 0 and infinities as the largest number.
__device__ inline real clean(real g) { return g == g ? clamp(g, -MOST, MOST) : (real)0; }

// The largest number <= eps >= 0.
__device__ inline real floor_to(double eps) {
    real e = (real)eps;
    return wide(e) > eps ? below(e) : e;
}

// x + e rounded down, e >= 0: of two differences one is exact and tells whether s is too large
// (Dekker 1971); the inexact one never errs that way, because rounding is monotone.
__device__ inline real plus_down(real x, real e) {
    real s = x + e;
    return (s - x > e) | (s - e > x) ? below(s) : s;
}

// v within [x - e, x + e], both ends rounded toward x; NaN in v stays.
__device__ inline real within(real x, real v, real e) {
    bool down = negative(v - x);
    real end = plus_down(flip(x, down), e);
    real w = flip(v, down);
    return flip(end < w ? end : w, down);
}

// The displacement as the ball is judged.
__device__ inline double gap(real a, real x) { return wide(a) - wide(x); }

// The distance from x to the bound that a step along -g meets; never negative or NaN.
__device__ inline real room(real g, real x, real low, real high) {
    real r = g < 0 ? high - x : x - low;
    return r > 0 ? r : (real)0;
}

__device__ inline float power(float t, float r) { return t > 0 ? powf(t, r) : 0.0f; }
__device__ inline double power(double t, double r) { return t > 0 ? pow(t, r) : 0.0; }
__device__ inline float power_of_two(float v) { return exp2f(v); }
__device__ inline double power_of_two(double v) { return exp2(v); }
__device__ inline float logarithm_of_two(float v) { return log2f(v); }
__device__ inline double logarithm_of_two(double v) { return log2(v); }

// Where the entries of this thread begin, and how far apart they are, in a row cut in slices.
__device__ inline whole first_entry() { return (whole)blockIdx.y * blockDim.x + threadIdx.x; }
__device__ inline whole stride() { return (whole)gridDim.y * blockDim.x; }

struct Two {
    double first, second;
};
struct Place {
    double value;
    whole index;
};

template <class T> __device__ inline T shuffled(T v, int lanes) {
    return __shfl_xor_sync(0xFFFFFFFFu, v, lanes);
}
__device__ inline Two shuffled(Two v, int lanes) {
    return {shuffled(v.first, lanes), shuffled(v.second, lanes)};
}
__device__ inline Place shuffled(Place v, int lanes) {
    return {shuffled(v.value, lanes), shuffled(v.index, lanes)};
}

struct Add {
    __device__ double operator()(double a, double b) const { return a + b; }
    __device__ Two operator()(Two a, Two b) const {
        return {a.first + b.first, a.second + b.second};
    }
};
struct Larger {
    template <class T> __device__ T operator()(T a, T b) const { return a > b ? a : b; }
};
struct Smaller {
    template <class T> __device__ T operator()(T a, T b) const { return a < b ? a : b; }
};
// The larger value, the lower index among equals.
struct Leading {
    __device__ Place operator()(Place a, Place b) const {
        return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
    }
};

// The values of a warp's lanes joined, in all lanes.
template <class Join, class T> __device__ T joined_in_warp(T v, Join join) {
    for (int lanes = 1; lanes < WARP; lanes *= 2) v = join(v, shuffled(v, lanes));
    return v;
}

// The threads' values joined by the commutative `join`, in all threads; `none` changes nothing.
template <class Join, class T> __device__ T joined(T v, T none, Join join) {
    __shared__ T warps[WARP];
    v = joined_in_warp(v, join);
    int lane = threadIdx.x % WARP, count = blockDim.x / WARP;
    __syncthreads();  // the last result has been read by all
    if (lane == 0) warps[threadIdx.x / WARP] = v;
    __syncthreads();
    return joined_in_warp(lane < count ? warps[lane] : none, join);
}

// Sum of term(i) over a row of d entries.
template <class Term> __device__ double sum(whole d, Term term) {
    double total = 0;
    for (whole i = threadIdx.x; i < d; i += blockDim.x) total += term(i);
    return joined(total, 0.0, Add());
}
// The same by one warp: other warps may be at another sum, or at none.
template <class Term> __device__ double sum_of_warp(whole d, Term term) {
    double total = 0;
    for (whole i = threadIdx.x % WARP; i < d; i += WARP) total += term(i);
    return joined_in_warp(total, Add());
}
template <class Term> __device__ Two two_sums(whole d, Term term) {
    Two total = {0, 0};
    for (whole i = threadIdx.x; i < d; i += blockDim.x) total = Add()(total, term(i));
    return joined(total, Two{0, 0}, Add());
}

// max |term(i)|, by integer comparison: NaN where there is one.
template <class Term> __device__ real largest(whole d, Term term) {
    auto top = bits_of((real)0);
    for (whole i = threadIdx.x; i < d; i += blockDim.x) {
        auto bits = bits_of((real)term(i));
        bits = bits & ~((decltype(bits))1 << (sizeof(bits) * 8 - 1));
        top = Larger()(top, bits);
    }
    return number_of(joined(top, bits_of((real)0), Larger()));
}

// The first i with holds(i), NOWHERE without one.
template <class Holds> __device__ whole first_where(whole d, Holds holds) {
    whole found = NOWHERE;
    for (whole i = threadIdx.x; i < d && found == NOWHERE; i += blockDim.x)
        if (holds(i)) found = i;
    return joined(found, NOWHERE, Smaller());
}

// The leading entry after `last` in the order of falling value, then rising index.
template <class Value, class Free>
__device__ Place next_leader(whole d, Place last, Value value, Free free) {
    Place best = {-infinite(), NOWHERE};
    for (whole i = threadIdx.x; i < d; i += blockDim.x) {
        Place here = {value(i), i};
        bool after = here.value < last.value || (here.value == last.value && i > last.index);
        if (after && free(i)) best = Leading()(best, here);
    }
    return joined(best, Place{-infinite(), NOWHERE}, Leading());
}

// norm_2 of term(i) as unit (first) times norm (second); the unit is the largest entry where the
// sum of squares is not safe, else 1.
template <class Term> __device__ Two scaled_norm_2(whole d, Term term) {
    double total = sum(d, [&](whole i) { return wide(term(i)) * wide(term(i)); });
    if (SMALLEST < total && total < LARGEST) return {1.0, sqrt(total)};
    double top = wide(largest(d, term));
    if (!(0 < top && top < infinite())) return {1.0, top};
    total = sum(d, [&](whole i) { return (wide(term(i)) / top) * (wide(term(i)) / top); });
    return {top, sqrt(total)};
}
template <class Term> __device__ double norm_2(whole d, Term term) {
    Two found = scaled_norm_2(d, term);
    return found.first * found.second;
}
