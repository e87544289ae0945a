// Steps, projections and the exact finish for a general order p.

// |g| / top to the power q - 1 = 1 / (p - 1).
struct Weights {
    const real* g;
    real top;
    double rate;
    __device__ real size(whole i) const { return size_of(clean(g[i])); }
    __device__ real at(whole i) const {
        return top > 0 ? power(size(i) / top, (real)rate) : (real)0;
    }
};

__device__ Weights weights_of(whole d, const real* g, double p) {
    return {g, largest(d, [&](whole i) { return clean(g[i]); }), 1 / (p - 1)};
}

// sum w^p = sum (|g| / top)^q.
__device__ double weight_powers(whole d, Weights w) {
    if (!(w.top > 0)) return 0;
    return sum(d, [&](whole i) { return wide(w.size(i) / w.top) * wide(w.at(i)); });
}

extern "C" __global__ void dual_step_p(
    const real* g, const double* eps, double p, real* out, whole d
) {
    whole row = blockIdx.x * d;
    Weights w = weights_of(d, g + row, p);
    double total = weight_powers(d, w);
    real c = (real)(total > 0 ? eps[blockIdx.x] * pow(total, -1 / p) : 0.0);
    for (whole i = threadIdx.x; i < d; i += blockDim.x) {
        real v = w.at(i);
        out[row + i] = v > 0 ? -flip(c * v, negative(g[row + i])) : (real)0;
    }
}

// The largest t (first) with sum min(t w, r)^p <= 1, and that sum (second), from a t that is not
// too large, by the pieces S + t^p F, as for p = 2; r <= 1.
template <class Room>
__device__ Two filling_scale(whole d, const real* w, Room r, double p, double t) {
    double spent = 0;
    for (int pass = 0; pass < PASSES; pass++) {
        real scale = (real)t;
        Two found = two_sums(d, [&](whole i) {
            real v = scale * w[i], cap = r(i);
            double q = power(v < cap ? v : cap, (real)p);
            return Two{q, v < cap ? q : 0.0};
        });
        spent = found.first;
        double free = found.second;
        double following = free > 0 ? t * pow(1 + (1 - spent) / free, 1 / p) : t;
        following = less(following, wide(MOST));
        if (spent >= 1 - ULP || !(following > t)) break;
        t = following;
    }
    return {t, spent};
}

// New weights where a ball is not full for lack of digits of the small |g|: what is at its room
// stays there (w infinite), the others are weighed relative to the largest of them. Returns
// 1 - sum r^p over the full entries and sum w^p over the others; 0 where nothing changes.
template <class Room>
__device__ Two weigh_open(whole d, const real* g, real* w, Room r, double p, double t) {
    real scale = (real)t;
    double top = 0, filled = 0, news = 0;
    for (whole i = threadIdx.x; i < d; i += blockDim.x) {
        if (w[i] > 0 && scale * w[i] >= r(i)) {
            news += wide(w[i]) < infinite() ? 1 : 0;
            filled += pow(wide(r(i)), p);
            w[i] = (real)infinite();
        } else {
            top = more(top, wide(size_of(clean(g[i]))));
        }
    }
    Two full = joined(Two{filled, news}, Two{0, 0}, Add());
    top = joined(top, 0.0, Larger());
    double total = 0;
    bool changes = top > 0 && full.second > 0;
    for (whole i = threadIdx.x; i < d && changes; i += blockDim.x) {
        if (wide(w[i]) == infinite()) continue;
        w[i] = (real)pow(wide(size_of(clean(g[i]))) / top, 1 / (p - 1));
        total += pow(wide(w[i]), p);
    }
    return {more(1 - full.first, 1e-30), joined(total, 0.0, Add())};
}

// `out` holds the weights until its entries are written.
extern "C" __global__ void lmo_box_p(
    const real* g, const real* x, const double* eps, double p, const real* lo, real low,
    const real* hi, real high, real* out, whole d
) {
    whole row = blockIdx.x * d;
    const real* slope = g + row;
    real* w = out + row;
    Bound left = {lo, low}, right = {hi, high};
    double budget = eps[blockIdx.x];
    auto way_out = [&](whole i) { return room(slope[i], x[row + i], left.at(i), right.at(i)); };
    auto r = [&](whole i) { return (real)less(wide((real)(wide(way_out(i)) / budget)), 1.0); };
    if (!(budget > 0)) {
        for (whole i = threadIdx.x; i < d; i += blockDim.x) w[i] = 0;
        return;
    }
    Weights start = weights_of(d, slope, p);
    double total = weight_powers(d, start);
    for (whole i = threadIdx.x; i < d; i += blockDim.x) w[i] = start.at(i);
    double t = total > 0 ? pow(total, -1 / p) : 0.0;
    for (int pass = 0; pass < PASSES; pass++) {
        Two found = filling_scale(d, w, r, p, t);
        t = found.first;
        if (!(found.second < 1 - 1e-5)) break;
        Two open = weigh_open(d, slope, w, r, p, t);
        if (!(open.second > 0)) break;
        t = pow(open.first / open.second, 1 / p);
    }
    for (whole i = threadIdx.x; i < d; i += blockDim.x) {
        real step = (real)(budget * (t * wide(w[i])));
        real v = step > 0 ? less(step, less(way_out(i), (real)budget)) : (real)0;
        w[i] = v > 0 ? -flip(v, negative(slope[i])) : v;
    }
}

// The smallest t with sum a min(t w, r) >= goal: Newton's method on a concave function, whose
// tangents lie above it, so that the iterates never pass t. Without such a t it is infinite.
template <class Size, class Weight, class Room>
__device__ double reaching_scale(whole d, Size a, Weight w, Room r, double goal) {
    double t = 0;
    if (!(goal > 0)) return 0;
    for (whole pass = 0; pass < d + PASSES; pass++) {
        Two found = two_sums(d, [&](whole i) {
            double v = t * wide(w(i)), b = wide(a(i)), cap = wide(r(i));
            return Two{b * (v < cap ? v : cap), v < cap ? b * wide(w(i)) : 0.0};
        });
        if (found.first >= goal * (1 - 1e-12)) return t;
        if (!(found.second > 0)) return infinite();
        double following = t + (goal - found.first) / found.second;
        if (!(following > t)) return t;
        t = following;
    }
    return t;
}

extern "C" __global__ void hyperplane_p(
    const real* g, const double* level, double p, const real* x, const real* lo, real low,
    const real* hi, real high, real* out, bool* feasible, whole d
) {
    whole row = blockIdx.x * d;
    const real* slope = g + row;
    Bound left = {lo, low}, right = {hi, high};
    Weights start = weights_of(d, slope, p);
    auto a = [&](whole i) { return start.size(i); };
    auto w = [&](whole i) {
        real t = start.top > 0 ? start.size(i) / start.top : (real)0;
        return p == infinite() ? (t > 0 ? (real)1 : (real)0)
            : p == 2           ? t
                               : power(t, (real)start.rate);
    };
    auto r = [&](whole i) { return room(slope[i], x[row + i], left.at(i), right.at(i)); };
    double t = reaching_scale(d, a, w, r, more(level[blockIdx.x], 0.0));
    if (threadIdx.x == 0) feasible[blockIdx.x] = t < infinite();
    for (whole i = threadIdx.x; i < d; i += blockDim.x) {
        real v = w(i) > 0 ? (real)less(t * wide(w(i)), wide(r(i))) : (real)0;
        out[row + i] = v > 0 ? -flip(v, negative(slope[i])) : v;
    }
}

extern "C" __global__ void finish_p(
    const real* x, const real* z, const double* eps, double p, const real* lo, real low,
    const real* hi, real high, real* out, whole d
) {
    whole row = blockIdx.x * d;
    Bound left = {lo, low}, right = {hi, high};
    auto target = [&](whole i) { return clamp(z[row + i], left.at(i), right.at(i)); };
    settle(d, x + row, target, eps[blockIdx.x], p, left, right, out + row);
}
