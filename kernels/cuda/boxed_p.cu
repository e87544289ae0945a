// The projection on ball and box for a general order p: d + mu d^(p-1) = |z - x|, the mu >= 0 at
// which norm_p(min(d, r)) = eps.
//
// In units where eps = 1 and in logarithms of base 2: v of d, L of |z - x| / top, m of mu / top.
// The equation of an entry is s + t = 1, s = 2^(v + k - L), t = 2^(m + (p - 1) v - L), and has no
// scale: nothing leaves the range of numbers, whatever eps, top and p are.

constexpr double NOTHING = -2000.0;  // stands for the logarithm of 0
constexpr double HIGHEST = 60.0;     // no power d^p is taken larger than 2^HIGHEST
constexpr int STEPS = 6;

__device__ inline real logarithm_of(real t) {
    return t > (real)TINY ? logarithm_of_two(t) : (real)NOTHING;
}

struct Three {
    double full, free, slope;
};

template <class Size, class Cap> struct Curve {
    Size size;
    Cap cap;
    double k, p;
    whole d;

    // v of entry i at this m by Newton's method: s + t(s) is concave in s for p < 2, s(t) + t is
    // concave in t elsewhere, so that the iterates rise to the solution.
    __device__ real solved(whole i, double m) const {
        real near = (real)k - size(i), far = (real)m - size(i), rho = (real)(p - 1);
        real inverse = (real)(1 / (p - 1)), w = less(-near, -far * inverse);
        for (int step = 0; step < STEPS; step++) {
            w = less(w, less(-near, -far * inverse));
            real s = power_of_two(w + near), t = power_of_two(rho * w + far);
            real one = p < 2 ? rho : inverse, first = p < 2 ? s : t, second = p < 2 ? t : s;
            real rise = logarithm_of_two((1 - (1 - one) * second) / (first + one * second));
            w += p < 2 ? rise : inverse * rise;
        }
        return w;
    }

    // Sums of d^p over the capped entries, over the others, and of d^p t / (s + (p - 1) t).
    __device__ Three norms_at(double m) const {
        double full = 0, free = 0, slope = 0;
        for (whole i = threadIdx.x; i < d; i += blockDim.x) {
            real v = solved(i, m), rho = (real)(p - 1), most = cap(i);
            real t = power_of_two(less(rho * v + ((real)m - size(i)), (real)0));
            double part = wide(power_of_two((real)p * less(v, most)));
            (v < most ? free : full) += part;
            if (v < most) slope += part * wide(t / (((real)1 - t) + rho * t));
        }
        Two found = joined(Two{full, free}, Two{0, 0}, Add());
        return {found.first, found.second, joined(slope, 0.0, Add())};
    }

    // log2 mu. (norm_p of the entries not capped)^(1-p) is nearly linear in mu, and linear for
    // p = 2 and for large mu: Newton's method on it inside a bracket.
    __device__ double multiplier() const {
        real one = (real)p, two = (real)(p / (p - 1));
        Two found = two_sums(d, [&](whole i) {
            return Two{wide(power_of_two(one * size(i))), wide(power_of_two(two * size(i)))};
        });
        double low = 0, high = pow(found.second, 1 - 1 / p) * (1 + 1e-5);
        double before = (1 - p) * (log(found.first) / p - k * log(2.0));
        double mu = -high * expm1(less(before, -1e-12)), enough = more(1e-12, 8 * ULP) * p;
        for (int pass = 0; pass < PASSES; pass++) {
            Three at = norms_at(log2(mu));
            double total = at.full + at.free, following = -1;
            if (fabs(total - 1) <= enough) break;
            (total > 1 ? low : high) = mu;
            if (at.full < 1 && at.slope > 0) {
                double ratio = pow(at.free / (1 - at.full), 1 - 1 / p);
                following = mu * (1 + (ratio - 1) * at.free / ((p - 1) * at.slope));
            }
            if (!(low < following && following < high))
                following = sqrt(more(low, high * 1e-6) * high);
            if (!(low < following && following < high)) break;
            mu = following;
        }
        return log2(mu);
    }
};
template <class Size, class Cap> Curve(Size, Cap, double, double, whole) -> Curve<Size, Cap>;

extern "C" __global__ void project_box_p(
    const real* x, const real* z, const double* eps, double p, const real* lo, real low,
    const real* hi, real high, real* out, real* points, whole d
) {
    whole row = blockIdx.x * d;
    const real *base = x + row, *point = z + row;
    real* found = points + row;
    Bound left = {lo, low}, right = {hi, high};
    double budget = eps[blockIdx.x], limit = budget * (1 - SAFETY), unit = limit * (1 - ULP);
    for (whole i = threadIdx.x; i < d; i += blockDim.x)
        out[row + i] = clamp(point[i], left.at(i), right.at(i));
    if (distance(d, out + row, base, p) <= limit) return;
    auto a = [&](whole i) { return way(point[i], base[i]); };
    auto r = [&](whole i) { return room(base[i] - point[i], base[i], left.at(i), right.at(i)); };
    double top = wide(largest(d, a));
    if (!(unit > 0 && top > 0)) {
        for (whole i = threadIdx.x; i < d; i += blockDim.x) out[row + i] = base[i];
        return;
    }
    auto size = [&](whole i) { return logarithm_of((real)(wide(a(i)) / top)); };
    double most = exp2(HIGHEST / p);
    auto cap = [&](whole i) { return logarithm_of((real)less(wide(r(i)) / unit, most)); };
    Curve curve = {size, cap, log2(unit) - log2(top), p, d};
    double m = curve.multiplier();
    for (whole i = threadIdx.x; i < d; i += blockDim.x) {
        real v = curve.solved(i, m);
        real inside = (real)(unit * wide(power_of_two(less(v, cap(i)))));
        real length = v >= cap(i) && r(i) < inside ? r(i) : inside;
        found[i] = placed(base[i], point[i], length, r(i), left.at(i), right.at(i));
    }
    settle(d, base, [&](whole i) { return found[i]; }, budget, p, left, right, out + row);
}
