// Search over signs on a stored Gram matrix: a block a start.

constexpr double FLIP_NOISE = 1e-13;
constexpr int SWEEPS = 50;
constexpr double SHARES[2] = {0.02, 0.05}, CAP[2] = {0.2, 0.98};

struct Search {
    const real *gram, *rows;
    whole d, rank;

    // slope += factor times a row of the Gram matrix.
    __device__ void add(double* slope, double factor, whole i) const {
        for (whole j = threadIdx.x; j < d; j += blockDim.x)
            slope[j] += factor * wide(gram[i * d + j]);
    }

    // Single flips while they raise s . G s, which is returned; slope = G s. Between two flips
    // nothing changes, so that all threads look for the next one.
    __device__ double climb(real* signs, double* slope) const {
        double value = sum(d, [&](whole i) { return slope[i] * wide(signs[i]); });
        for (int sweep = 0; sweep < SWEEPS; sweep++) {
            bool flipped = false;
            for (whole from = 0; from < d; from++) {
                auto gain = [&](whole i) {
                    return wide(gram[i * (d + 1)]) - wide(signs[i]) * slope[i];
                };
                whole steps = first_where(d - from, [&](whole step) {
                    double gained = gain(from + step), square = wide(gram[(from + step) * (d + 1)]);
                    return gained > 0 && gained > FLIP_NOISE * sqrt(square * more(value, 0.0));
                });
                if (steps == NOWHERE) break;
                from += steps;
                double sign = wide(signs[from]);
                value += 4.0 * gain(from);
                __syncthreads();  // all have read the sign and its slope
                add(slope, -2.0 * sign, from);
                if (threadIdx.x == 0) signs[from] = (real)-sign;
                __syncthreads();
                flipped = true;
            }
            if (!flipped) break;
        }
        return value;
    }

    // tried = signs with some flipped: a share of them for even t, those whose rows are close to
    // one row for odd t; tried_slope = G tried.
    __device__ void kick(
        Stream stream, whole t, const real* signs, const double* slope, real* tried,
        double* tried_slope
    ) const {
        double share = SHARES[t / 2 % 2];
        whole place = (whole)(stream.unit(0) * d);
        double level = CAP[0] + (CAP[1] - CAP[0]) * stream.unit(1);
        for (whole i = threadIdx.x; i < d; i += blockDim.x) {
            double excess = share - stream.unit(i);
            if (t % 2) {
                double inner = 0;
                for (whole c = 0; c < rank; c++)
                    inner += wide(rows[i * rank + c]) * wide(rows[place * rank + c]);
                excess = wide(signs[place]) * wide(signs[i]) * inner - level;
            }
            tried[i] = flip(signs[i], excess > 0);
        }
        __syncthreads();
        for (whole j = threadIdx.x; j < d; j += blockDim.x) {
            double total = slope[j];
            for (whole i = 0; i < d; i++)
                if (tried[i] != signs[i]) total += -2.0 * wide(signs[i]) * wide(gram[i * d + j]);
            tried_slope[j] = total;
        }
        __syncthreads();
    }
};

extern "C" __global__ void gram_search(
    const real* gram, const real* rows, const real* signs, const word* keys, whole kicks, real* out,
    double* values, double* slopes, real* trials, double* trial_slopes, whole d, whole rank
) {
    whole row = blockIdx.x * d;
    Search search = {gram, rows, d, rank};
    real *best = out + row, *tried = trials + row;
    double *slope = slopes + row, *tried_slope = trial_slopes + row;
    for (whole j = threadIdx.x; j < d; j += blockDim.x) {
        best[j] = signs[row + j];
        double total = 0;
        for (whole i = 0; i < d; i++) total += wide(signs[row + i]) * wide(gram[i * d + j]);
        slope[j] = total;
    }
    __syncthreads();
    double value = search.climb(best, slope);
    for (whole t = 0; t < kicks; t++) {
        search.kick(Stream(keys[blockIdx.x], t, KICK), t, best, slope, tried, tried_slope);
        double risen = search.climb(tried, tried_slope);
        __syncthreads();
        for (whole j = threadIdx.x; j < d && risen > value; j += blockDim.x) {
            best[j] = tried[j];
            slope[j] = tried_slope[j];
        }
        value = more(risen, value);
        __syncthreads();
    }
    if (threadIdx.x == 0) values[blockIdx.x] = value;
}
