// Losses of classifiers and regressors, with their cotangents: a block a sample.

struct Compared {
    double own, best, margin;
    whole runner_up;  // -1 where the row holds a NaN or an infinity
};

__device__ Compared compare(const real* f, whole own, bool targeted, whole d) {
    Place none = {-infinite(), NOWHERE}, best = none;
    double broken = 0;
    for (whole j = threadIdx.x; j < d; j += blockDim.x) {
        broken += wide(size_of(f[j])) < infinite() ? 0 : 1;
        if (j != own) best = Leading()(best, Place{wide(f[j]), j});
    }
    best = joined(best, none, Leading());
    if (joined(broken, 0.0, Add()) > 0) return {0, 0, missing(), -1};
    double lead = wide(f[own]) - best.value;
    return {wide(f[own]), best.value, targeted ? -lead : lead, best.index};
}

// Stores the comparison; says whether the row is broken, and then blanks value and cotangent.
__device__ bool blank(
    Compared found, double* value, real* cotangent, double* margins, whole* runner_up, whole d
) {
    bool broken = found.runner_up < 0;
    if (threadIdx.x == 0) {
        margins[blockIdx.x] = found.margin;
        runner_up[blockIdx.x] = found.runner_up;
        if (broken) value[blockIdx.x] = missing();
    }
    for (whole j = threadIdx.x; j < d && broken; j += blockDim.x) cotangent[j] = (real)missing();
    return broken;
}

extern "C" __global__ void margin_loss(
    const real* f, const whole* y, whole targeted, double* value, real* cotangent, double* margins,
    whole* runner_up, whole d
) {
    whole row = blockIdx.x * d, own = y[blockIdx.x];
    Compared found = compare(f + row, own, targeted, d);
    if (blank(found, value, cotangent + row, margins, runner_up, d)) return;
    real sign = targeted ? -1 : 1;
    if (threadIdx.x == 0) value[blockIdx.x] = found.margin;
    for (whole j = threadIdx.x; j < d; j += blockDim.x)
        cotangent[row + j] = j == own ? sign : j == found.runner_up ? -sign : (real)0;
}

extern "C" __global__ void score_loss(
    const real* f, const whole* y, whole targeted, double* value, real* cotangent, double* margins,
    whole* runner_up, whole d
) {
    whole row = blockIdx.x * d, own = y[blockIdx.x];
    Compared found = compare(f + row, own, targeted, d);
    if (blank(found, value, cotangent + row, margins, runner_up, d)) return;
    real sign = targeted ? -1 : 1;
    if (threadIdx.x == 0) value[blockIdx.x] = wide(sign) * found.own;
    for (whole j = threadIdx.x; j < d; j += blockDim.x)
        cotangent[row + j] = j == own ? sign : (real)0;
}

extern "C" __global__ void cross_entropy_loss(
    const real* f, const whole* y, whole targeted, double* value, real* cotangent, double* margins,
    whole* runner_up, whole d
) {
    whole row = blockIdx.x * d, own = y[blockIdx.x];
    const real* score = f + row;
    Compared found = compare(score, own, targeted, d);
    if (blank(found, value, cotangent + row, margins, runner_up, d)) return;
    double sign = targeted ? -1 : 1, top = more(found.own, found.best);
    auto weight = [&](whole j) { return j == own ? 0.0 : exp(wide(score[j]) - top); };
    double rest = sum(d, weight), share = exp(found.own - top);
    if (threadIdx.x == 0)
        value[blockIdx.x] = sign * ((found.own - top) - log1p(rest + (share - 1)));
    if (rest / (rest + share) < TINY) {
        // Divided by 1 - p_y, which is rest / (rest + share): only a zero row would be left.
        top = found.best;
        rest = sum(d, weight);
        share = 0;
    }
    double scale = -sign / (rest + share);
    for (whole j = threadIdx.x; j < d; j += blockDim.x)
        cotangent[row + j] = (real)(j == own ? -scale * rest : weight(j) * scale);
}

extern "C" __global__ void dlr_loss(
    const real* f, const whole* y, whole targeted, double* value, real* cotangent, double* margins,
    whole* runner_up, whole d
) {
    whole row = blockIdx.x * d, own = y[blockIdx.x];
    const real* score = f + row;
    Compared found = compare(score, own, targeted, d);
    if (blank(found, value, cotangent + row, margins, runner_up, d)) return;
    int keep = (int)less(d, (whole)(targeted ? 4 : 3));
    Place leaders[4] = {};
    Place last = {infinite(), -1};
    for (int rank = 0; rank < keep && keep > 2; rank++) {
        auto every = [](whole) { return true; };
        last = next_leader(d, last, [&](whole j) { return wide(score[j]); }, every);
        leaders[rank] = last;
    }
    double sign = targeted ? -1 : 1, scale = 1, slope = 0;
    if (keep > 2) {
        double third = leaders[2].value;
        double floor = keep == 3 ? third : 0.5 * (third + leaders[3].value);
        scale = leaders[0].value - floor + 1e-12;
        slope = -(found.margin / scale) / scale;
    }
    if (threadIdx.x == 0) value[blockIdx.x] = found.margin / scale;
    for (whole j = threadIdx.x; j < d; j += blockDim.x) {
        double part = j == own ? sign / scale : j == found.runner_up ? -sign / scale : 0.0;
        for (int rank = 0; rank < keep && keep > 2; rank++)
            if (rank != 1 && leaders[rank].index == j)
                part += rank == 0 ? slope : -slope / (keep - 2);
        cotangent[row + j] = (real)part;
    }
}

extern "C" __global__ void squared_error_loss(
    const real* f, const real* target, whole targeted, double* value, real* cotangent, whole d
) {
    whole row = blockIdx.x * d;
    double sign = targeted ? 1 : -1;
    double total = sum(d, [&](whole j) {
        double error = wide(f[row + j]) - wide(target[row + j]);
        cotangent[row + j] = (real)(2 * sign * error);
        return error * error;
    });
    if (threadIdx.x == 0) value[blockIdx.x] = sign * total;
}

extern "C" __global__ void class_differences(
    const real* f, const whole* y, real* cotangents, double* levels, whole* classes, whole d,
    whole keep
) {
    whole own = y[blockIdx.x];
    const real* score = f + blockIdx.x * d;
    auto value = [&](whole j) { return score[j] == score[j] ? wide(score[j]) : -infinite(); };
    auto other = [&](whole j) { return j != own; };
    Place last = {infinite(), -1};
    for (whole rank = 0; rank < keep; rank++) {
        last = next_leader(d, last, value, other);
        whole place = rank * gridDim.x + blockIdx.x;
        if (threadIdx.x == 0) {
            classes[place] = last.index;
            levels[place] = wide(score[own]) - wide(score[last.index]);
        }
        for (whole j = threadIdx.x; j < d; j += blockDim.x)
            cotangents[place * d + j] = j == own ? (real)1 : j == last.index ? (real)-1 : (real)0;
    }
}
