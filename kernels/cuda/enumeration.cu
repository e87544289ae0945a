// The best signs of every subset of columns: a warp a subset.
//
// `members` are the columns of subset 0, then of subset 1 and so on, `starts` (count + 1,) where
// each begins; signs of columns in no subset have been set to 0.

constexpr double TIE = 1e-12;

// This warp among all of the sample's, and how many they are.
__device__ inline whole first_warp() { return first_entry() / WARP; }
__device__ inline whole warps() { return stride() / WARP; }

// `ordered` (n, members): the members of each subset by falling norm. A warp keeps its own image.
extern "C" __global__ void subset_greedy(
    const real* columns, const whole* members, const whole* starts, real* signs, double* values,
    const whole* ordered, double* images, whole d, whole width, whole held, whole count
) {
    const real* one = columns + blockIdx.x * d * width;
    double* image = images + (blockIdx.x * warps() + first_warp()) * width;
    whole lane = threadIdx.x % WARP;
    for (whole s = first_warp(); s < count; s += warps()) {
        for (whole j = lane; j < width; j += WARP) image[j] = 0;
        for (whole k = starts[s]; k < starts[s + 1]; k++) {
            whole i = ordered[blockIdx.x * held + k];
            const real* column = one + i * width;
            auto term = [&](whole j) { return image[j] * wide(column[j]); };
            double sign = sum_of_warp(width, term) < 0 ? -1.0 : 1.0;
            for (whole j = lane; j < width; j += WARP) image[j] += sign * wide(column[j]);
            if (lane == 0) signs[blockIdx.x * d + i] = (real)sign;
        }
        double value = sum_of_warp(width, [&](whole j) { return image[j] * image[j]; });
        if (lane == 0) values[blockIdx.x * count + s] = value;
    }
}

// Sign i of the signs with this number: bit b set turns sign b + 1; sign 0 is +1.
__device__ inline double sign_in(whole number, whole i) {
    return i > 0 && ((number >> (i - 1)) & 1) ? -1.0 : 1.0;
}

// s . G s.
__device__ double worth_of(const double* gram, whole size, whole number) {
    double total = 0;
    for (whole i = 0; i < size; i++) {
        double across = 0;
        for (whole j = 0; j < i; j++) across += sign_in(number, j) * gram[i * size + j];
        total += gram[i * size + i] + 2.0 * sign_in(number, i) * across;
    }
    return total;
}

// The lowest number of the signs that are worth most, or so close to it that they are tied.
__device__ whole first_of_the_best(const double* gram, whole size) {
    whole count = (whole)1 << (size > 1 ? size - 1 : 0), found = NOWHERE;
    double best = -infinite();
    for (whole number = threadIdx.x % WARP; number < count; number += WARP)
        best = more(best, worth_of(gram, size, number));
    best = joined_in_warp(best, Larger());
    for (whole number = threadIdx.x % WARP; number < count && found == NOWHERE; number += WARP)
        if (worth_of(gram, size, number) >= best * (1 - TIE)) found = number;
    return joined_in_warp(found, Smaller());
}

// `grams` has a matrix for every warp of the sample, `most` the size of the largest subset.
extern "C" __global__ void subset_exact(
    const real* columns, const whole* members, const whole* starts, real* signs, double* values,
    whole most, double* grams, whole d, whole width, whole held, whole count
) {
    const real* one = columns + blockIdx.x * d * width;
    double* gram = grams + (blockIdx.x * warps() + first_warp()) * most * most;
    whole lane = threadIdx.x % WARP;
    for (whole s = first_warp(); s < count; s += warps()) {
        const whole* chosen = members + starts[s];
        whole size = starts[s + 1] - starts[s];
        for (whole k = lane; k < size * size; k += WARP) {
            const real *a = one + chosen[k / size] * width, *b = one + chosen[k % size] * width;
            double total = 0;
            for (whole j = 0; j < width; j++) total += wide(a[j]) * wide(b[j]);
            gram[k] = total;
        }
        __syncwarp();
        whole number = first_of_the_best(gram, size);
        for (whole i = lane; i < size; i += WARP)
            signs[blockIdx.x * d + chosen[i]] = (real)sign_in(number, i);
        if (lane == 0) values[blockIdx.x * count + s] = worth_of(gram, size, number);
        __syncwarp();
    }
}
