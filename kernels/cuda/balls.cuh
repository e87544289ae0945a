// Points drawn into the ball of order p, and the largest multiple that a ball has room for.

// norm_p(float64(out) - float64(x)); NaN entries count nothing.
__device__ double distance(whole d, const real* out, const real* x, double p) {
    auto term = [&](whole i) {
        double v = fabs(gap(out[i], x[i]));
        double q = p == 1 ? v : p == 2 ? v * v : pow(v, p);
        return q > 0 ? q : 0.0;
    };
    double total = sum(d, term);
    if (SMALLEST < total && total < LARGEST) return p == 2 ? sqrt(total) : pow(total, 1 / p);
    double top = 0;
    for (whole i = threadIdx.x; i < d; i += blockDim.x) {
        double v = fabs(gap(out[i], x[i]));
        top = v > top ? v : top;
    }
    top = joined(top, 0.0, Larger());
    if (!(0 < top && top < infinite())) return top;
    total = sum(d, [&](whole i) {
        double v = fabs(gap(out[i], x[i]));
        return v > 0 ? pow(v / top, p) : 0.0;
    });
    return top * pow(total, 1 / p);
}

// out = target(i), a point of the box, drawn toward x until its norm is inside eps. Rounds to
// nearest while that is enough, toward x as a last resort, so that no displacement is too large.
template <class Target>
__device__ void settle(
    whole d, const real* x, Target target, double eps, double p, Bound low, Bound high, real* out
) {
    for (whole i = threadIdx.x; i < d; i += blockDim.x) out[i] = target(i);
    double limit = eps * (1 - SAFETY), slack = ULP;
    double norm = distance(d, out, x, p);
    if (!(norm > limit)) return;
    double first = limit / norm, scale = 1;
    for (int pass = 0; pass < REPEATS && first > LEAST_SCALE; pass++) {
        scale *= limit / norm * (1 - slack);
        slack *= 8;
        real c = (real)scale;
        for (whole i = threadIdx.x; i < d; i += blockDim.x)
            out[i] = clamp(x[i] + c * (target(i) - x[i]), low.at(i), high.at(i));
        norm = distance(d, out, x, p);
        if (!(norm > limit)) return;
    }
    for (whole i = threadIdx.x; i < d; i += blockDim.x) {
        double move = first > 0 ? first * gap(target(i), x[i]) : 0.0;
        real s = (real)(wide(x[i]) + move);
        s = fabs(gap(s, x[i])) > fabs(move) ? next(s, x[i]) : s;
        out[i] = first > 0 ? clamp(s, low.at(i), high.at(i)) : x[i];
    }
}

// The largest t <= most with norm_2(min(t w, r)) <= radius > 0: between breakpoints the square of
// the norm is S + t^2 F; the roots of these pieces rise to t (Newton on a concave function of t^2).
template <class Weight, class Room>
__device__ double saturating_scale(whole d, Weight w, Room r, double radius, double most) {
    double norm = norm_2(d, w);
    double t = norm > 0 ? radius / norm : most;
    real inverse = (real)less(1 / radius, wide(MOST));
    for (int pass = 0; pass < PASSES; pass++) {
        if (!(t < most)) return most;
        real scale = (real)less(t / radius, wide(MOST));
        Two found = two_sums(d, [&](whole i) {
            real v = scale * w(i), cap = inverse * r(i);
            double m = wide(v < cap ? v : cap);
            return Two{m * m, v < cap ? m * m : 0.0};
        });
        if (found.first >= 1 - ULP || !(found.second > 0)) return t;
        t *= sqrt(1 + (1 - found.first) / found.second);
    }
    return t;
}

// |z - x|, NaN as 0, infinity as a number whose square is one.
__device__ inline real way(real z, real x) {
    real v = size_of(z - x), far = (real)less(wide(MOST), 1e300);
    return v > 0 ? less(v, far) : (real)0;
}

// x + sign(z - x) min(a, r), within the box.
__device__ inline real placed(real x, real z, real a, real r, real low, real high) {
    return clamp(x + flip(a < r ? a : r, negative(z - x)), low, high);
}
