// Steps and projections for p = 1.

extern "C" __global__ void dual_step_1(const real* g, const double* eps, real* out, whole d) {
    whole row = blockIdx.x * d;
    auto size = [&](whole i) { return size_of(clean(g[row + i])); };
    real top = largest(d, size);
    whole best = first_where(d, [&](whole i) { return size(i) == top && top > 0; });
    for (whole i = threadIdx.x; i < d; i += blockDim.x) {
        real e = (real)eps[blockIdx.x];
        out[row + i] = i == best ? -flip(e, negative(g[row + i])) : (real)0;
    }
}

// The number halfway from low to high >= 0, counted in representable numbers, rounded down.
__device__ inline real between(real low, real high) {
    auto first = bits_of(low);
    return number_of(first + (bits_of(high) - first) / 2);
}

// The sum of size(i) over the entries of this chunk's threads before this one, and over all.
__device__ Two before_and_all(double size) {
    __shared__ double sums[1024];
    __syncthreads();
    sums[threadIdx.x] = size;
    for (unsigned reach = 1; reach < blockDim.x; reach *= 2) {
        __syncthreads();
        double add = threadIdx.x >= reach ? sums[threadIdx.x - reach] : 0.0;
        __syncthreads();
        sums[threadIdx.x] += add;
    }
    __syncthreads();
    return {sums[threadIdx.x] - size, sums[blockDim.x - 1]};
}

// Fill size(i) of the entries in falling value(i) > 0, ties by index: take(i, amount) says how
// much entry i gets; returns what was spent. The value at which the budget ends is found by
// halving the interval between two values in representable numbers.
template <class Value, class Size, class Take>
__device__ double spend(whole d, Value value, Size size, double budget, Take take) {
    auto above = [&](real least) {
        return two_sums(d, [&](whole i) {
            bool in = value(i) > least;
            return Two{in ? (double)size(i) : 0.0, in ? 1.0 : 0.0};
        });
    };
    real low = 0, high = largest(d, value);
    Two found = above(low);
    double total = found.first, most = found.second, least = 0;
    if (total <= budget) {
        for (whole i = threadIdx.x; i < d; i += blockDim.x)
            take(i, value(i) > 0 ? (double)size(i) : 0.0);
        return total;
    }
    while (most - least > 1) {
        real middle = between(low, high);
        if (middle == low) break;
        found = above(middle);
        bool short_of = found.first < budget;
        (short_of ? high : low) = middle;
        (short_of ? least : most) = found.second;
    }
    double spent = above(high).first;
    bool single = most - least <= 1;
    for (whole start = 0; start < d; start += blockDim.x) {
        whole i = start + threadIdx.x;
        bool tied = i < d && low < value(i) && value(i) <= high;
        double left = budget - spent;
        if (!single) {
            Two sums = before_and_all(tied ? (double)size(i) : 0.0);
            left -= sums.first;
            spent += sums.second;
        }
        if (i >= d) continue;
        double rest = less((double)size(i), more(left, 0.0));
        take(i, tied ? rest : value(i) > high ? (double)size(i) : 0.0);
    }
    return budget;
}

extern "C" __global__ void lmo_box_1(
    const real* g, const real* x, const double* eps, const real* lo, real low, const real* hi,
    real high, real* out, whole d
) {
    whole row = blockIdx.x * d;
    Bound left = {lo, low}, right = {hi, high};
    double budget = eps[blockIdx.x];
    auto value = [&](whole i) { return size_of(clean(g[row + i])); };
    auto size = [&](whole i) {
        return less(room(g[row + i], x[row + i], left.at(i), right.at(i)), (real)budget);
    };
    spend(d, value, size, budget, [&](whole i, double amount) {
        real v = (real)amount;
        out[row + i] = v > 0 ? -flip(v, negative(g[row + i])) : v;
    });
}

extern "C" __global__ void hyperplane_1(
    const real* g, const double* level, const real* x, const real* lo, real low, const real* hi,
    real high, real* out, bool* feasible, whole d
) {
    whole row = blockIdx.x * d;
    Bound left = {lo, low}, right = {hi, high};
    double goal = more(level[blockIdx.x], 0.0);
    auto value = [&](whole i) { return size_of(clean(g[row + i])); };
    auto gain = [&](whole i) {
        double r = wide(room(g[row + i], x[row + i], left.at(i), right.at(i)));
        return value(i) > 0 ? less(wide(value(i)) * r, goal) : 0.0;
    };
    double gained = spend(d, value, gain, goal, [&](whole i, double amount) {
        real v = value(i) > 0 ? (real)(amount / wide(value(i))) : (real)0;
        out[row + i] = v > 0 ? -flip(v, negative(g[row + i])) : v;
    });
    if (threadIdx.x == 0) feasible[blockIdx.x] = gained >= goal * (1 - 1e-12);
}

// tau with sum max(a - tau, 0) = radius: Newton's method on a convex piecewise linear function;
// its iterates rise to tau, and are there when the set of entries above stays the same.
extern "C" __global__ void project_1(const real* delta, const double* eps, real* out, whole d) {
    const real* row = delta + blockIdx.x * d;
    double budget = eps[blockIdx.x], radius = budget * (1 - more(4 * ULP, SAFETY));
    double total = sum(d, [&](whole i) { return fabs(wide(row[i])); }), tau = 0;
    if (total > budget) {
        double top = wide(largest(d, [&](whole i) { return row[i]; })), before = -1;
        tau = more(more((total - radius) / d, top - radius), 0.0);
        for (int pass = 0; pass < 2 * PASSES; pass++) {
            Two found = two_sums(d, [&](whole i) {
                double v = fabs(wide(row[i])) - tau;
                return Two{v > 0 ? v : 0.0, v > 0 ? 1.0 : 0.0};
            });
            tau += (found.first - radius) / more(found.second, 1.0);
            if (found.second == before) break;
            before = found.second;
        }
    }
    for (whole i = threadIdx.x; i < d; i += blockDim.x) {
        double v = fabs(wide(row[i])) - tau;
        out[blockIdx.x * d + i] = flip((real)(v < 0 ? 0.0 : v), negative(row[i]));
    }
}

// The smallest tau >= 0 with sum min(max(a - tau, 0), r) <= radius, to rounding: falling and
// piecewise linear, but not convex, so Newton's steps are taken inside a bracket, else it is halved.
template <class Way, class Room>
__device__ double capped_threshold(whole d, Way a, Room r, double radius) {
    double low = 0, high = wide(largest(d, a)), tau = 0;
    for (int pass = 0; pass < 4 * PASSES; pass++) {
        Two found = two_sums(d, [&](whole i) {
            double v = more(wide(a(i)) - tau, 0.0), cap = wide(r(i));
            return Two{v < cap ? v : cap, v > 0 && v < cap ? 1.0 : 0.0};
        });
        double over = found.first - radius;
        if (pass == 0 && over <= 0) return 0;
        if (fabs(over) <= ULP * radius + 1e-15 * tau * found.second) return tau;
        (over <= 0 ? high : low) = tau;
        double following = tau + over / more(found.second, 1.0);
        bool usable = low < following && following < high && pass % 4 != 3;
        tau = usable ? following : low + (high - low) / 2;
        if (!(low < tau && tau < high)) return high;
    }
    return high;
}

extern "C" __global__ void project_box_1(
    const real* x, const real* z, const double* eps, const real* lo, real low, const real* hi,
    real high, real* out, whole d
) {
    whole row = blockIdx.x * d;
    const real *base = x + row, *point = z + row;
    Bound left = {lo, low}, right = {hi, high};
    double limit = eps[blockIdx.x] * (1 - SAFETY);
    for (whole i = threadIdx.x; i < d; i += blockDim.x)
        out[row + i] = clamp(point[i], left.at(i), right.at(i));
    if (distance(d, out + row, base, 1.0) <= limit) return;
    auto a = [&](whole i) { return way(point[i], base[i]); };
    auto r = [&](whole i) { return room(base[i] - point[i], base[i], left.at(i), right.at(i)); };
    double tau = capped_threshold(d, a, r, limit * (1 - ULP));
    auto target = [&](whole i) {
        real v = (real)more(wide(a(i)) - tau, 0.0);
        return placed(base[i], point[i], v, r(i), left.at(i), right.at(i));
    };
    settle(d, base, target, eps[blockIdx.x], 1.0, left, right, out + row);
}
