// The relaxation of max norm_1(J^T w) over unit w in a cone: one problem, one block.
//
// W and the prices are float64 while they move.

constexpr double PULL = 0.3, PRICE = 3.0, LEAST = 1.17549435082228750797e-38;

struct Cone {
    const real *planes, *normals;
    whole width, d, count, rank;

    // v (rank, d): the unit vectors along W^T J_i.
    __device__ void directions(const double* w, double* v) const {
        for (whole i = threadIdx.x; i < d; i += blockDim.x) {
            double square = 0;
            for (whole c = 0; c < rank; c++) {
                double total = 0;
                for (whole k = 0; k < width; k++)
                    total += w[k * rank + c] * wide(planes[k * d + i]);
                v[c * d + i] = total;
                square += total * total;
            }
            double size = sqrt(square) + LEAST;
            for (whole c = 0; c < rank; c++) v[c * d + i] /= size;
        }
        __syncthreads();
    }

    // inner (count, rank) = P W.
    __device__ void images(const double* w, double* inner) const {
        for (whole k = threadIdx.x; k < count * rank; k += blockDim.x) {
            double total = 0;
            for (whole j = 0; j < width; j++)
                total += wide(normals[k / rank * width + j]) * w[j * rank + k % rank];
            inner[k] = total;
        }
        __syncthreads();
    }

    // (norm_2(p_a) norm_2(p_b) - p_a . p_b) / 4.
    __device__ double turning(whole a, whole b) const {
        double one = 0, two = 0, both = 0;
        for (whole j = 0; j < width; j++) {
            double u = wide(normals[a * width + j]), v = wide(normals[b * width + j]);
            one += u * u;
            two += v * v;
            both += u * v;
        }
        return (sqrt(one * two) - both) / 4;
    }

    // slope (width, rank) = J v^T + pull W + P^T prices P W.
    __device__ void pulled(
        const double* v, const double* w, const double* inner, const double* cost, double* slope
    ) const {
        double pull = PULL + sum(count * count, [&](whole k) {
            return cost[k] != 0 ? cost[k] * turning(k / count, k % count) : 0.0;
        });
        for (whole k = threadIdx.x / WARP; k < width * rank; k += blockDim.x / WARP) {
            const real* plane = planes + k / rank * d;
            const double* along = v + k % rank * d;
            double total = sum_of_warp(d, [&](whole i) { return wide(plane[i]) * along[i]; });
            total += pull * w[k];
            for (whole a = 0; a < count; a++) {
                double priced = 0;
                for (whole b = 0; b < count; b++)
                    priced += cost[a * count + b] * inner[b * rank + k % rank];
                total += priced * wide(normals[a * width + k / rank]);
            }
            if (threadIdx.x % WARP == 0) slope[k] = total;
        }
        __syncthreads();
    }
};

extern "C" __global__ void cone_ascent(
    const real* planes, const real* normals, const real* rates, const real* start,
    const real* first, whole steps, double settled, real* image, real* prices, double* w,
    double* cost, double* v, double* slope, double* inner, whole width, whole d, whole count,
    whole rank
) {
    Cone cone = {planes, normals, width, d, count, rank};
    whole entries = width * rank, pairs = count * count;
    for (whole k = threadIdx.x; k < entries; k += blockDim.x) w[k] = wide(start[k]);
    for (whole k = threadIdx.x; k < pairs; k += blockDim.x) cost[k] = wide(first[k]);
    __syncthreads();
    for (whole step = 0; step < steps; step++) {
        cone.directions(w, v);
        cone.images(w, inner);
        cone.pulled(v, w, inner, cost, slope);
        double size = sqrt(sum(entries, [&](whole k) { return slope[k] * slope[k]; }));
        double change = 0;
        for (whole k = threadIdx.x; k < entries; k += blockDim.x) {
            double moved = slope[k] / more(size, LEAST);
            change = more(change, fabs(moved - w[k]));
            w[k] = moved;
        }
        __syncthreads();
        cone.images(w, inner);
        for (whole k = threadIdx.x; k < pairs; k += blockDim.x) {
            whole a = k / count, b = k % count;
            double product = 0;
            for (whole c = 0; c < rank; c++) product += inner[a * rank + c] * inner[b * rank + c];
            double dearer = cost[k] - PRICE * wide(rates[a]) * wide(rates[b]) * product;
            double after = a == b ? 0.0 : more(dearer, 0.0);
            change = more(change, fabs(after - cost[k]));
            cost[k] = after;
        }
        if (joined(change, 0.0, Larger()) <= settled) break;
        __syncthreads();
    }
    for (whole k = threadIdx.x; k < entries; k += blockDim.x) image[k] = (real)w[k];
    for (whole k = threadIdx.x; k < pairs; k += blockDim.x) prices[k] = (real)cost[k];
}
