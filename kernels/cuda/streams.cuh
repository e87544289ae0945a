// Words that belong to a sample: a hash of (key, draw, counter).

constexpr word GOLDEN = 0x9E3779B97F4A7C15ULL;
constexpr word KICK = 0, BALL = 1, SPHERE = 2, ORDER = 3, PURPOSES = 4;

__device__ inline word mixed(word v) {
    v = (v ^ (v >> 30)) * 0xBF58476D1CE4E5B9ULL;
    v = (v ^ (v >> 27)) * 0x94D049BB133111EBULL;
    return v ^ (v >> 31);
}

// The words of one key, draw and purpose.
struct Stream {
    word base;
    __device__ Stream(word key, whole draw, word purpose)
        : base(mixed(key + GOLDEN * ((word)draw * PURPOSES + purpose))) {}
    __device__ word at(word counter) const { return mixed(base ^ (GOLDEN * counter)); }
    // Uniform in (0, 1), on the odd multiples of 2^-53.
    __device__ double unit(word counter) const {
        return ((double)(whole)(at(counter) >> 12) + 0.5) * 2.220446049250313e-16;
    }
    __device__ double sign(word counter) const { return at(counter) & 1 ? -1.0 : 1.0; }
};
