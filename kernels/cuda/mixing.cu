// The mixing method: rows v_i on the unit sphere, each in turn along what the others ask of it.
//
// W, the running sum of J_i v_i^T, and all products are float64. A warp takes one of the `rank`
// products of a step, so that narrow columns keep more than one warp at work.

constexpr double STILL = 64;

// g (rank,) = sum_j held(c, j) column[j] - square v[c], seen by all threads.
template <class Held>
__device__ void slopes(
    Held held, const real* column, double square, const real* v, double* g, whole width, whole rank
) {
    for (whole c = threadIdx.x / WARP; c < rank; c += blockDim.x / WARP) {
        double along = sum_of_warp(width, [&](whole j) { return held(c, j) * wide(column[j]); });
        if (threadIdx.x % WARP == 0) g[c] = along - square * wide(v[c]);
    }
    __syncthreads();
}

// norm_2 of g (first), and by how much turning v along g raises the value (second); the norm is -1
// where g is no more than rounding.
__device__ Two turned(const double* g, const real* v, double square, whole rank) {
    double total = 0, along = 0;
    for (whole c = 0; c < rank; c++) {
        total += g[c] * g[c];
        along += g[c] * wide(v[c]);
    }
    double size = sqrt(total);
    if (!(size > STILL * ULP * square)) return {-1.0, 0.0};
    return {size, more(2.0 * (size - along), 0.0)};
}

// w (rank, width) = V^T A, and the squares of the columns (d,).
__device__ void start_image(
    const real* columns, const real* v, double* w, double* squares, whole d, whole width, whole rank
) {
    for (whole i = threadIdx.x / WARP; i < d; i += blockDim.x / WARP) {
        const real* column = columns + i * width;
        auto square = [&](whole j) { return wide(column[j]) * wide(column[j]); };
        double found = sum_of_warp(width, square);
        if (threadIdx.x % WARP == 0) squares[i] = found;
    }
    for (whole k = threadIdx.x; k < rank * width; k += blockDim.x) {
        double total = 0;
        for (whole i = 0; i < d; i++)
            total += wide(v[i * rank + k / width]) * wide(columns[i * width + k % width]);
        w[k] = total;
    }
    __syncthreads();
}

// The row v of this column turns; returns by how much the value rises.
__device__ double turn(
    const real* column, double square, real* v, double* w, double* g, whole width, whole rank
) {
    slopes([&](whole c, whole j) { return w[c * width + j]; }, column, square, v, g, width, rank);
    Two found = turned(g, v, square, rank);
    for (whole k = threadIdx.x; k < rank * width && found.first > 0; k += blockDim.x) {
        double moved = wide((real)(g[k / width] / found.first)) - wide(v[k / width]);
        w[k] += moved * wide(column[k % width]);
    }
    __syncthreads();  // all have read the old row
    for (whole c = threadIdx.x; c < rank && found.first > 0; c += blockDim.x)
        v[c] = (real)(g[c] / found.first);
    __syncthreads();
    return found.second;
}

extern "C" __global__ void mixing(
    const real* columns, const real* start, whole sweeps, double rise, real* rows, real* image,
    double* across, double* squares, double* slope, whole d, whole width, whole rank
) {
    const real* one = columns + blockIdx.x * d * width;
    real* v = rows + blockIdx.x * d * rank;
    double *w = across + blockIdx.x * rank * width, *sizes = squares + blockIdx.x * d;
    for (whole k = threadIdx.x; k < d * rank; k += blockDim.x)
        v[k] = start[blockIdx.x * d * rank + k];
    __syncthreads();
    start_image(one, v, w, sizes, d, width, rank);
    for (whole sweep = 0; sweep < sweeps; sweep++) {
        double risen = 0;
        for (whole i = 0; i < d; i++)
            risen += turn(
                one + i * width, sizes[i], v + i * rank, w, slope + blockIdx.x * rank, width, rank
            );
        double mass = sum(rank * width, [&](whole k) { return w[k] * w[k]; });
        if (risen <= rise * mass) break;
    }
    for (whole k = threadIdx.x; k < rank * width; k += blockDim.x)
        image[blockIdx.x * rank * width + k % width * rank + k / width] = (real)w[k];
}

// The same on G = J^T J: one problem, one block.
extern "C" __global__ void gram_mixing(
    const real* gram, const real* start, whole sweeps, double rise, real* rows, double* g, whole d,
    whole rank
) {
    for (whole k = threadIdx.x; k < d * rank; k += blockDim.x) rows[k] = start[k];
    __syncthreads();
    auto held = [&](whole c, whole j) { return wide(rows[j * rank + c]); };
    double value = 0;
    for (whole i = 0; i < d; i++) {
        slopes(held, gram + i * d, 0.0, rows + i * rank, g, d, rank);
        for (whole c = 0; c < rank; c++) value += wide(rows[i * rank + c]) * g[c];
        __syncthreads();
    }
    for (whole sweep = 0; sweep < sweeps; sweep++) {
        double risen = 0;
        for (whole i = 0; i < d; i++) {
            real* mine = rows + i * rank;
            double square = wide(gram[i * d + i]);
            slopes(held, gram + i * d, square, mine, g, d, rank);
            Two found = turned(g, mine, square, rank);
            risen += found.second;
            __syncthreads();  // all have read the old row
            for (whole c = threadIdx.x; c < rank && found.first > 0; c += blockDim.x)
                mine[c] = (real)(g[c] / found.first);
            __syncthreads();
        }
        value += risen;
        if (risen <= rise * value) break;
    }
}
