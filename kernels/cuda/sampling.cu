// Random points that belong to a sample.

constexpr word RADIUS = 1ULL << 62;
constexpr int SLOT = 40;
constexpr double MARGIN = SINGLE ? 1.1920928955078125e-07 : 1e-13, PI = 3.14159265358979323846;

// Gamma(shape > 1) by Marsaglia and Tsang 2000; attempt a uses slots 3 a + 1 to 3 a + 3.
__device__ double gamma_of(Stream stream, double shape, whole i) {
    double location = shape - 1.0 / 3.0, spread = 1.0 / sqrt(9.0 * location);
    for (word slot = 1;; slot += 3) {
        word one = (word)i + (slot << SLOT), step = (word)1 << SLOT;
        double angle = cos(2.0 * PI * stream.unit(one + step));
        double normal = sqrt(-2.0 * log(stream.unit(one))) * angle;
        double stretched = 1.0 + spread * normal;
        if (!(stretched > 0)) continue;
        double cube = stretched * stretched * stretched;
        double bound = 0.5 * normal * normal + location * (1.0 - cube + log(cube));
        if (log(stream.unit(one + step + step)) < bound) return location * cube;
    }
}

// Coordinate i of density proportional to exp(-|t|^p) (first), and |t|^p (second).
__device__ Two generalised_gaussian(Stream stream, double p, whole i, whole d) {
    if (p == 2) {
        whole half = (d + 1) / 2, pair = i < half ? i : i - half;
        double radius = sqrt(-log(stream.unit(pair)));
        double angle = 2.0 * PI * stream.unit(pair + half);
        double t = radius * (i < half ? cos(angle) : sin(angle));
        return {t, t * t};
    }
    if (p == 1) {
        double size = -log(stream.unit(i));
        return {stream.sign(i) * size, size};
    }
    double root = stream.unit(i), gamma = gamma_of(stream, 1.0 + 1.0 / p, i);
    return {stream.sign(i) * root * pow(gamma, 1.0 / p), gamma * pow(root, p)};
}

__device__ inline double scale_of(double mass, double eps, double p) {
    return eps * (1.0 - MARGIN) / pow(mass, 1.0 / p);
}

extern "C" __global__ void random_ball(
    const word* keys, whole draw, const double* eps, double p, real* out, whole d
) {
    real* row = out + blockIdx.x * d;
    Stream stream(keys[blockIdx.x], draw, BALL);
    double radius = eps[blockIdx.x], inner = wide(floor_to(radius));
    if (p == infinite()) {
        for (whole i = threadIdx.x; i < d; i += blockDim.x)
            row[i] = (real)((2.0 * stream.unit(i) - 1.0) * inner);
        return;
    }
    double mass = sum(d, [&](whole i) { return generalised_gaussian(stream, p, i, d).second; });
    double scale = scale_of(mass - log(stream.unit(RADIUS)), radius, p);
    for (whole i = threadIdx.x; i < d; i += blockDim.x)
        row[i] = (real)(generalised_gaussian(stream, p, i, d).first * scale);
}

extern "C" __global__ void random_sphere(
    const word* keys, whole draw, const double* eps, double p, real* out, whole d
) {
    real* row = out + blockIdx.x * d;
    Stream stream(keys[blockIdx.x], draw, SPHERE);
    double radius = eps[blockIdx.x], inner = wide(floor_to(radius));
    if (p == infinite()) {
        for (whole i = threadIdx.x; i < d; i += blockDim.x)
            row[i] = (real)(stream.sign(i) * inner);
        return;
    }
    // Relative to the largest entry, since |t|^p alone may vanish when p is large.
    double top = 0;
    for (whole i = threadIdx.x; i < d; i += blockDim.x)
        top = more(top, fabs(generalised_gaussian(stream, p, i, d).first));
    top = joined(top, 0.0, Larger());
    double mass = sum(d, [&](whole i) {
        return pow(fabs(generalised_gaussian(stream, p, i, d).first / top), p);
    });
    double scale = scale_of(mass, radius, p);
    for (whole i = threadIdx.x; i < d; i += blockDim.x)
        row[i] = (real)(generalised_gaussian(stream, p, i, d).first / top * scale);
}

// The first entries of a shuffled deck, one after the other: a thread a sample deals.
extern "C" __global__ void random_order(
    const word* keys, whole draw, whole count, whole* out, whole* deck, whole dealt
) {
    whole* cards = deck + blockIdx.x * count;
    Stream stream(keys[blockIdx.x], draw, ORDER);
    for (whole i = threadIdx.x; i < count; i += blockDim.x) cards[i] = i;
    __syncthreads();
    for (whole place = 0; place < dealt && threadIdx.x == 0; place++) {
        whole left = count - place;
        whole other = place + less((whole)(stream.unit(place) * (double)left), left - 1);
        out[blockIdx.x * dealt + place] = cards[other];
        cards[other] = cards[place];
    }
}
