// Steps and projections for p = inf: every entry for itself, bit for bit as on the CPU.

#define EACH(i, d) for (whole i = first_entry(); i < (d); i += stride())

extern "C" __global__ void dual_step_inf(const real* g, const double* eps, real* out, whole d) {
    whole row = blockIdx.x * d;
    real e = floor_to(eps[blockIdx.x]);
    EACH(i, d) {
        real v = g[row + i];
        out[row + i] = size_of(v) > 0 ? -flip(e, negative(v)) : (real)0;
    }
}

extern "C" __global__ void lmo_box_inf(
    const real* g, const real* x, const double* eps, const real* lo, real low, const real* hi,
    real high, real* out, whole d
) {
    whole row = blockIdx.x * d;
    Bound left = {lo, low}, right = {hi, high};
    real e = floor_to(eps[blockIdx.x]);
    EACH(i, d) {
        real v = g[row + i];
        real reach = less(e, room(v, x[row + i], left.at(i), right.at(i)));
        out[row + i] = size_of(v) > 0 ? -flip(reach, negative(v)) : (real)0;
    }
}

// x_t - move sign(g), within e of x and within the box.
__device__ inline real moved(real x, real x_t, real g, real move, real e, real low, real high) {
    real m = size_of(g) > 0 ? flip(move, negative(g)) : (real)0;
    return clamp(within(x, x_t - m, e), low, high);
}

extern "C" __global__ void pgd_inf(
    const real* x, const real* x_t, const real* g, const double* step, const double* eps,
    const real* lo, real low, const real* hi, real high, real* out, whole d
) {
    whole row = blockIdx.x * d;
    Bound left = {lo, low}, right = {hi, high};
    real move = (real)step[blockIdx.x], e = floor_to(eps[blockIdx.x]);
    EACH(i, d) {
        whole k = row + i;
        out[k] = moved(x[k], x_t[k], g[k], move, e, left.at(i), right.at(i));
    }
}

extern "C" __global__ void ball_step_inf(
    const real* x, const real* x_t, const real* g, const double* radius, const double* eps,
    const real* lo, real low, const real* hi, real high, real* out, whole d
) {
    whole row = blockIdx.x * d;
    Bound left = {lo, low}, right = {hi, high};
    real move = floor_to(radius[blockIdx.x]), e = floor_to(eps[blockIdx.x]);
    EACH(i, d) {
        whole k = row + i;
        out[k] = moved(x[k], x_t[k], g[k], move, e, left.at(i), right.at(i));
    }
}

extern "C" __global__ void project_inf(const real* delta, const double* eps, real* out, whole d) {
    whole row = blockIdx.x * d;
    real e = floor_to(eps[blockIdx.x]);
    EACH(i, d) out[row + i] = clamp(delta[row + i], -e, e);
}

extern "C" __global__ void finish_inf(
    const real* x, const real* z, const double* eps, const real* lo, real low, const real* hi,
    real high, real* out, whole d
) {
    whole row = blockIdx.x * d;
    Bound left = {lo, low}, right = {hi, high};
    real e = floor_to(eps[blockIdx.x]);
    EACH(i, d) out[row + i] = clamp(within(x[row + i], z[row + i], e), left.at(i), right.at(i));
}
