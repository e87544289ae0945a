// Steps that change one subset of the coordinates.
//
// A partition comes as the labels (d,), and for sums as `members`, the coordinates of subset 0,
// then of subset 1 and so on, and `starts`, where each begins. A thread sums a subset in the order
// of its coordinates, as every version does.

__device__ double gain_of(real g, real x, real low, real high, double eps) {
    double reach = g > 0 ? gap(x, low) : gap(high, x);
    double gain = fabs(wide(g)) * (reach < eps ? reach : eps);
    return gain > 0 ? gain : 0.0;
}

struct Gains {
    const real *g, *x;
    double eps;
    Bound low, high;
    const whole *members, *starts;
    __device__ double of(whole s) const {
        double total = 0;
        for (whole k = starts[s]; k < starts[s + 1]; k++) {
            whole i = members[k];
            total += gain_of(g[i], x[i], low.at(i), high.at(i), eps);
        }
        return total;
    }
};

extern "C" __global__ void subset_gains(
    const real* g, const real* x, const whole* labels, const double* eps, const real* lo, real low,
    const real* hi, real high, double* out, const whole* members, const whole* starts, whole d,
    whole count
) {
    whole row = blockIdx.x * d;
    Gains gains = {g + row, x + row, eps[blockIdx.x], {lo, low}, {hi, high}, members, starts};
    for (whole s = threadIdx.x; s < count; s += blockDim.x)
        out[blockIdx.x * count + s] = gains.of(s);
}

extern "C" __global__ void best_subset(
    const real* g, const real* x, const whole* labels, const double* eps, const real* lo, real low,
    const real* hi, real high, const bool* taken, whole* out, const whole* members,
    const whole* starts, whole d, whole count
) {
    whole row = blockIdx.x * d;
    Gains gains = {g + row, x + row, eps[blockIdx.x], {lo, low}, {hi, high}, members, starts};
    Place none = {-infinite(), NOWHERE}, best = none;
    for (whole s = threadIdx.x; s < count; s += blockDim.x)
        if (!taken[blockIdx.x * count + s]) best = Leading()(best, Place{gains.of(s), s});
    best = joined(best, none, Leading());
    if (threadIdx.x == 0) out[blockIdx.x] = best.index == NOWHERE ? -1 : best.index;
}

extern "C" __global__ void top_subsets(
    const double* gains, const bool* taken, whole* out, whole count, whole most
) {
    whole row = blockIdx.x * count;
    Place last = {infinite(), -1};
    for (whole rank = 0; rank < most; rank++) {
        auto value = [&](whole s) { return gains[row + s]; };
        auto free = [&](whole s) { return !taken[row + s]; };
        if (last.index != NOWHERE) last = next_leader(count, last, value, free);
        if (threadIdx.x == 0)
            out[blockIdx.x * most + rank] = last.index == NOWHERE ? -1 : last.index;
    }
}

// x moved against g by eps, or as far below it as the dtype has a number, within the box.
__device__ real moved(real x, real g, double eps, real low, real high) {
    if (!(g > 0 || g < 0)) return x;
    real to = (real)(g > 0 ? wide(x) - eps : wide(x) + eps);
    if (fabs(gap(to, x)) > eps) to = next(to, x);
    return clamp(to, low, high);
}

extern "C" __global__ void subset_step(
    const real* x_t, const real* g, const whole* labels, const whole* chosen, const double* eps,
    const real* lo, real low, const real* hi, real high, real* out, whole d
) {
    whole row = blockIdx.x * d, wanted = chosen[blockIdx.x];
    Bound left = {lo, low}, right = {hi, high};
    double size = eps[blockIdx.x];
    for (whole i = first_entry(); i < d; i += stride()) {
        real x = x_t[row + i];
        bool inside = wanted >= 0 && labels[i] == wanted;
        out[row + i] = inside ? moved(x, g[row + i], size, left.at(i), right.at(i)) : x;
    }
}
