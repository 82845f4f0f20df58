// Layout of a page: the keys or values of PAGE tokens of one layer and key head.
//
// bf16: keys [size / 2][PAGE][2], values [size / 16][PAGE / 2][16][2]. The matrix unit needs this layout, and one vector
// load brings both neighbours. fp32: keys [size][PAGE], values [PAGE][size].
#pragma once

#include "vectors.h"

namespace {

constexpr int PAGE = 16;
static_assert(PAGE == LANES, "one load must cover the keys of one page");

inline int key_place(const float *, int token, int dim, int) { return dim * PAGE + token; }
inline int key_place(const bf16 *, int token, int dim, int) { return (dim / 2 * PAGE + token) * 2 + dim % 2; }
inline int value_place(const float *, int token, int dim, int size) { return token * size + dim; }
inline int value_place(const bf16 *, int token, int dim, int) {
    return ((dim / LANES * (PAGE / 2) + token / 2) * LANES + dim % LANES) * 2 + token % 2;
}

inline void split(const bf16 *from, Floats &even, Floats &odd) {  // 16 pairs
    Words words;
    std::memcpy(&words, from, sizeof words);
    const Words low = words << 16, high = words & 0xffff0000u;
    std::memcpy(&even, &low, sizeof low);
    std::memcpy(&odd, &high, sizeof high);
}

// Dimensions 2 * pair and 2 * pair + 1 of all keys.
inline void key_pair(const float *page, int pair, Floats &even, Floats &odd) {
    even = load(page + 2 * pair * PAGE);
    odd = load(page + (2 * pair + 1) * PAGE);
}
inline void key_pair(const bf16 *page, int pair, Floats &even, Floats &odd) { split(page + 2 * pair * PAGE, even, odd); }

// Sixteen dimensions of the values of tokens 2 * pair and 2 * pair + 1.
inline void value_pair(const float *page, int pair, int block, int size, Floats &even, Floats &odd) {
    even = load(page + 2 * pair * size + block * LANES);
    odd = load(page + (2 * pair + 1) * size + block * LANES);
}
inline void value_pair(const bf16 *page, int pair, int block, int, Floats &even, Floats &odd) {
    split(page + (block * (PAGE / 2) + pair) * 2 * LANES, even, odd);
}

// The pages of one layer and key head.
template <class T> struct Pool {
    const T *keys, *values;
    int64_t step;  // elements from one page to the next
    int size;

    const T *key(int page) const { return keys + page * step; }
    const T *value(int page) const { return values + page * step; }
};

// Put a token's keys and values [key heads][size] where its row will read them.
template <class T>
void put(const T *key, const T *value, T *keys, T *values, int64_t page, int offset, int key_heads, int size) {
    for (int head = 0; head < key_heads; ++head) {
        T *to_keys = keys + (page * key_heads + head) * PAGE * size, *to_values = values + (page * key_heads + head) * PAGE * size;
        for (int dim = 0; dim < size; ++dim) {
            to_keys[key_place(to_keys, offset, dim, size)] = key[head * size + dim];
            to_values[value_place(to_values, offset, dim, size)] = value[head * size + dim];
        }
    }
}

}  // namespace
