// Vectors of sixteen floats, portable over CPUs, and conversion between bf16 and fp32.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace {

constexpr int LANES = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

struct bf16 {
    uint16_t bits;
};

inline float widen(bf16 value) {
    uint32_t word = uint32_t(value.bits) << 16;
    float wide;
    std::memcpy(&wide, &word, 4);
    return wide;
}
inline float widen(float value) { return value; }

inline void narrow(float value, bf16 &to) {  // to nearest, ties to even; NaN stays NaN
    uint32_t word;
    std::memcpy(&word, &value, 4);
    to.bits = value != value ? 0x7fc0 : uint16_t((word + 0x7fff + (word >> 16 & 1)) >> 16);
}
inline void narrow(float value, float &to) { to = value; }

inline Floats spread(float value) { return Floats{} + value; }

inline Floats load(const float *from) {
    Floats values;
    std::memcpy(&values, from, sizeof values);
    return values;
}
inline Floats load(const bf16 *from) {
    Halves halves;
    std::memcpy(&halves, from, sizeof halves);
    Words words = __builtin_convertvector(halves, Words) << 16;
    Floats values;
    std::memcpy(&values, &words, sizeof values);
    return values;
}

inline void store(float *to, Floats values) { std::memcpy(to, &values, sizeof values); }
inline void store(bf16 *to, Floats values) {
#ifdef __AVX512BF16__
    const __m256bh halves = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(values));
    std::memcpy(to, &halves, sizeof halves);
#else
    Words words;
    std::memcpy(&words, &values, sizeof words);
    Words rounded = (words + 0x7fff + (words >> 16 & 1)) >> 16;
    rounded = values == values ? rounded : Words{} + 0x7fc0;
    Halves halves = __builtin_convertvector(rounded, Halves);
    std::memcpy(to, &halves, sizeof halves);
#endif
}

inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }
inline Floats smaller(Floats a, Floats b) { return a < b ? a : b; }

// exp of each element, relative error below 3e-7: range reduction by log 2, then a polynomial.
inline Floats exponential(Floats x) {
    x = smaller(larger(x, spread(-87.0f)), spread(88.0f));
    const Floats magic = spread(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    Floats n = x * 1.44269504f + magic;
    n -= magic;
    Floats r = x - n * 0.693359375f + n * 2.12194440e-4f;
    Floats p = spread(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
    Floats scale;
    std::memcpy(&scale, &power, sizeof scale);
    return p * scale;
}

inline float sum(Floats values) {
    float halves[LANES];
    store(halves, values);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) halves[i] += halves[i + width];
    return halves[0];
}

inline float most(Floats values) {
    float found = values[0];
    for (int i = 1; i < LANES; ++i) found = std::max(found, values[i]);
    return found;
}

}  // namespace
