// Steps and projections for p = 2.

// An entry of -eps g / norm_2(g), g cleaned, its norm scaled: in float64 where the factor may leave
// the range of numbers.
__device__ inline real steepest(real g, Two norm, double eps) {
    bool plain = norm.first == 1 && 1e-9 < norm.second && norm.second < 1e9;
    if (plain) return (real)(-eps / norm.second) * g;
    return norm.second > 0 ? (real)(-eps * (wide(g) / norm.first / norm.second)) : (real)0;
}

extern "C" __global__ void dual_step_2(const real* g, const double* eps, real* out, whole d) {
    whole row = blockIdx.x * d;
    Two norm = scaled_norm_2(d, [&](whole i) { return clean(g[row + i]); });
    for (whole i = threadIdx.x; i < d; i += blockDim.x)
        out[row + i] = steepest(clean(g[row + i]), norm, eps[blockIdx.x]);
}

extern "C" __global__ void project_2(const real* delta, const double* eps, real* out, whole d) {
    const real* row = delta + blockIdx.x * d;
    double radius = eps[blockIdx.x], margin = 1 - more(4 * ULP, SAFETY);
    double norm = norm_2(d, [&](whole i) { return row[i]; });
    double factor = norm > radius ? radius * margin / norm : 1.0;
    bool shrinks = factor < 1 && !(factor > LEAST_SCALE && radius > LEAST_SCALE * d);
    for (whole i = threadIdx.x; i < d; i += blockDim.x) {
        // Factors and results near the subnormals are rounded toward 0, one by one.
        double v = wide(row[i]) / norm * (radius * margin);
        real s = (real)v;
        s = fabs(wide(s)) > fabs(v) ? next(s, 0) : s;
        out[blockIdx.x * d + i] = shrinks ? s : row[i] * (real)factor;
    }
}

extern "C" __global__ void lmo_box_2(
    const real* g, const real* x, const double* eps, const real* lo, real low, const real* hi,
    real high, real* out, whole d
) {
    whole row = blockIdx.x * d;
    Bound left = {lo, low}, right = {hi, high};
    double radius = eps[blockIdx.x];
    real top = largest(d, [&](whole i) { return clean(g[row + i]); });
    real unit = !(top > 0) || ((real)1e-15 < top && top < (real)1e15) ? (real)1 : top;
    auto w = [&](whole i) { return size_of(clean(g[row + i])) / unit; };
    auto r = [&](whole i) {
        return less(room(g[row + i], x[row + i], left.at(i), right.at(i)), (real)radius);
    };
    double t = radius > 0 ? saturating_scale(d, w, r, radius, infinite()) : 0.0;
    real scale = (real)t;
    for (whole i = threadIdx.x; i < d; i += blockDim.x) {
        real v = w(i) > 0 && radius > 0 ? less(scale * w(i), r(i)) : (real)0;
        out[row + i] = v > 0 ? -flip(v, negative(g[row + i])) : v;
    }
}

// out = the projection of z(i) on the ball around x within the box.
template <class Point>
__device__ void project_row(
    whole d, const real* x, Point z, double eps, Bound low, Bound high, real* out
) {
    double limit = eps * (1 - SAFETY), slack = ULP;
    if (!(limit > 0)) {
        for (whole i = threadIdx.x; i < d; i += blockDim.x) out[i] = x[i];
        return;
    }
    auto a = [&](whole i) { return way(z(i), x[i]); };
    auto r = [&](whole i) { return room(x[i] - z(i), x[i], low.at(i), high.at(i)); };
    auto at_scale = [&](whole i, real way) {
        return placed(x[i], z(i), way, r(i), low.at(i), high.at(i));
    };
    double t = saturating_scale(d, a, r, limit * (1 - slack), 1.0);
    if (!(t > LEAST_SCALE)) {
        auto target = [&](whole i) { return at_scale(i, (real)(wide(a(i)) * t)); };
        settle(d, x, target, eps, 2.0, low, high, out);
        return;
    }
    if (t > 1 - 1e-5) {
        for (whole i = threadIdx.x; i < d; i += blockDim.x)
            out[i] = clamp(z(i), low.at(i), high.at(i));
        if (!(distance(d, out, x, 2.0) > limit)) return;
    }
    double used = t;
    for (int pass = 0; pass < REPEATS; pass++) {
        used = t;
        for (whole i = threadIdx.x; i < d; i += blockDim.x)
            out[i] = t < 1 ? at_scale(i, (real)t * a(i)) : clamp(z(i), low.at(i), high.at(i));
        double norm = distance(d, out, x, 2.0);
        if (!(norm > limit)) return;
        t *= limit / norm * (1 - slack);
        slack *= 8;
    }
    settle(d, x, [&](whole i) { return at_scale(i, (real)used * a(i)); }, eps, 2.0, low, high, out);
}

extern "C" __global__ void project_box_2(
    const real* x, const real* z, const double* eps, const real* lo, real low, const real* hi,
    real high, real* out, whole d
) {
    whole row = blockIdx.x * d;
    auto point = [&](whole i) { return z[row + i]; };
    project_row(d, x + row, point, eps[blockIdx.x], Bound{lo, low}, Bound{hi, high}, out + row);
}

extern "C" __global__ void pgd_2(
    const real* x, const real* x_t, const real* g, const double* step, const double* eps,
    const real* lo, real low, const real* hi, real high, real* out, whole d
) {
    whole row = blockIdx.x * d;
    Two norm = scaled_norm_2(d, [&](whole i) { return clean(g[row + i]); });
    double length = step[blockIdx.x];
    auto point = [&](whole i) { return x_t[row + i] + steepest(clean(g[row + i]), norm, length); };
    project_row(d, x + row, point, eps[blockIdx.x], Bound{lo, low}, Bound{hi, high}, out + row);
}
