// Signs that make norm_2(J s) large, and vectors made orthogonal to a basis.
//
// `columns` (n, d, width): a column of J lies together. The image J s of a sample is float64 in
// global memory; each thread reads and writes its own entries of it alone.

constexpr double FLIP_NOISE = 1e-13;

__device__ double square_of(const real* column, whole width) {
    return sum(width, [&](whole j) { return wide(column[j]) * wide(column[j]); });
}

__device__ double product(const double* image, const real* column, whole width) {
    return sum(width, [&](whole j) { return image[j] * wide(column[j]); });
}

__device__ void add(double* image, double factor, const real* column, whole width) {
    for (whole j = threadIdx.x; j < width; j += blockDim.x) image[j] += factor * wide(column[j]);
}

// A warp a column, so that narrow columns do not leave most threads idle.
extern "C" __global__ void column_squares(const real* columns, double* out, whole d, whole width) {
    for (whole i = first_entry() / WARP; i < d; i += stride() / WARP) {
        const real* column = columns + (blockIdx.x * d + i) * width;
        auto square = [&](whole j) { return wide(column[j]) * wide(column[j]); };
        double total = sum_of_warp(width, square);
        if (threadIdx.x % WARP == 0) out[blockIdx.x * d + i] = total;
    }
}

// `order` (n, d): the columns by falling norm.
extern "C" __global__ void greedy_signs(
    const real* columns, real* out, const whole* order, double* images, whole d, whole width
) {
    const real* one = columns + blockIdx.x * d * width;
    double* image = images + blockIdx.x * width;
    for (whole j = threadIdx.x; j < width; j += blockDim.x) image[j] = 0;
    for (whole place = 0; place < d; place++) {
        whole i = order[blockIdx.x * d + place];
        double sign = product(image, one + i * width, width) < 0 ? -1.0 : 1.0;
        add(image, sign, one + i * width, width);
        if (threadIdx.x == 0) out[blockIdx.x * d + i] = (real)sign;
    }
}

extern "C" __global__ void one_opt(
    const real* columns, const real* signs, whole sweeps, real* out, double* values,
    double* images, double* squares, whole d, whole width
) {
    const real* one = columns + blockIdx.x * d * width;
    double *image = images + blockIdx.x * width, *sizes = squares + blockIdx.x * d;
    real* chosen = out + blockIdx.x * d;
    for (whole j = threadIdx.x; j < width; j += blockDim.x) image[j] = 0;
    for (whole i = 0; i < d; i++) {
        double square = square_of(one + i * width, width);
        add(image, wide(signs[blockIdx.x * d + i]), one + i * width, width);
        if (threadIdx.x == 0) {
            sizes[i] = square;
            chosen[i] = signs[blockIdx.x * d + i];
        }
    }
    __syncthreads();
    auto value_now = [&]() { return sum(width, [&](whole j) { return image[j] * image[j]; }); };
    bool flipped = true;
    for (whole sweep = 0; sweep < sweeps && flipped; sweep++) {
        double value = value_now();
        flipped = false;
        for (whole i = 0; i < d; i++) {
            double sign = wide(chosen[i]), along = product(image, one + i * width, width);
            double rise = sizes[i] - sign * along;
            if (!(rise > FLIP_NOISE * sqrt(sizes[i] * value))) continue;
            add(image, -2.0 * sign, one + i * width, width);
            __syncthreads();  // all have read the sign
            if (threadIdx.x == 0) chosen[i] = -chosen[i];
            flipped = true;
            value += 4.0 * rise;
        }
        __syncthreads();
    }
    double value = value_now();
    if (threadIdx.x == 0) values[blockIdx.x] = value;
}

// out = w less its part in the span of the first counts[k] rows of the basis, removed twice.
extern "C" __global__ void reorthogonalise(
    const real* basis, const whole* counts, const real* w, real* out, double* products, whole rows,
    whole d
) {
    const real* v = basis + blockIdx.x * rows * d;
    double* found = products + blockIdx.x * rows;
    real* rest = out + blockIdx.x * d;
    whole count = counts[blockIdx.x];
    for (whole i = threadIdx.x; i < d; i += blockDim.x) rest[i] = w[blockIdx.x * d + i];
    for (int removal = 0; removal < 2; removal++) {
        for (whole b = 0; b < count; b++) {
            double along = sum(d, [&](whole i) { return wide(v[b * d + i]) * wide(rest[i]); });
            if (threadIdx.x == 0) found[b] = along;
        }
        __syncthreads();
        for (whole i = threadIdx.x; i < d; i += blockDim.x) {
            double part = 0;
            for (whole b = 0; b < count; b++) part += found[b] * wide(v[b * d + i]);
            rest[i] = (real)(wide(rest[i]) - part);
        }
        __syncthreads();  // all have read the products
    }
}
