// Attention of a few queries to the tokens on some pages: the unnormalised sum of weighted values, the highest score and
// the sum of weights. The last two are needed to merge it with attention over other pages.
//
// Two implementations: vectors on any CPU, and the matrix unit (AMX) for bf16 on CPUs that have one. In both, a query's
// result does not depend on the queries beside it.
#pragma once

#include <vector>

#include "pages.h"

#if defined(__AMX_BF16__) && defined(__linux__)
#define HAS_MATRIX_UNIT 1
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

constexpr int TILE = 16;  // queries per call

// Result for up to TILE queries.
struct Part {
    float highest[TILE], total[TILE];
    float *sums;  // [TILE][size]
};

// Queries of one key head. Query q attends to the first tokens[q] tokens on the pages.
template <class T> struct Queries {
    const T *values;  // [TILE][size]
    int count;
    const int *tokens;  // [count]
    int most;           // maximum of tokens
};

// Buffers of one thread, reused for every part.
template <class T> struct Scratch {
    std::vector<float> scores, wide, sums;
    std::vector<T> weights, last, queries;
};

// Exponentials of scores [TILE][stride]; zero for tokens that a query does not attend to.
template <class T, class W> void weigh(const Queries<T> &queries, float *scores, W *to, int stride, float scale, Part &part) {
    for (int q = 0; q < queries.count; ++q) {
        float *row = scores + q * stride;
        for (int token = queries.tokens[q]; token < stride; ++token) row[token] = -INFINITY;
        Floats best = load(row), total = {};
        for (int i = LANES; i < stride; i += LANES) best = larger(best, load(row + i));
        const float highest = most(best) * scale;
        for (int i = 0; i < stride; i += LANES) {
            const Floats scaled = load(row + i) * scale;
            const Floats weights = scaled == spread(-INFINITY) ? Floats{} : exponential(scaled - spread(highest));
            store(to + q * stride + i, weights);
            total += weights;
        }
        part.highest[q] = highest;
        part.total[q] = sum(total);
    }
}

template <class T, int Q> void score(const float *queries, const T *page, int size, float *scores, int stride) {
    Floats evens[Q] = {}, odds[Q] = {};
    for (int pair = 0; pair < size / 2; ++pair) {
        Floats even, odd;
        key_pair(page, pair, even, odd);
        for (int q = 0; q < Q; ++q) {
            evens[q] += queries[q * size + 2 * pair] * even;
            odds[q] += queries[q * size + 2 * pair + 1] * odd;
        }
    }
    for (int q = 0; q < Q; ++q) store(scores + q * stride, evens[q] + odds[q]);
}

template <class T, int Q>
void add(const Pool<T> &pool, const int32_t *table, int tokens, const float *weights, int stride, int block, float *sums) {
    Floats evens[Q] = {}, odds[Q] = {};
    for (int first = 0; first < tokens; first += PAGE) {
        const T *page = pool.value(table[first / PAGE]);
        const int count = std::min(PAGE, tokens - first);
        for (int token = 0; token < count; token += 2) {
            Floats even, odd;
            value_pair(page, token / 2, block, pool.size, even, odd);
            if (token + 1 == count) odd = Floats{};  // that place is uninitialised
            for (int q = 0; q < Q; ++q) {
                evens[q] += weights[q * stride + first + token] * even;
                odds[q] += weights[q * stride + first + token + 1] * odd;
            }
        }
    }
    for (int q = 0; q < Q; ++q) store(sums + q * pool.size + block * LANES, evens[q] + odds[q]);
}

// Evaluates CALL with a constant Q for runs of at most 4 queries, the first of which is `first`.
#define IN_FOURS(COUNT, CALL)                                \
    for (int first = 0; first < (COUNT);) {                  \
        switch (std::min((COUNT) - first, 4)) {              \
            case 4: { constexpr int Q = 4; CALL; first += 4; break; } \
            case 3: { constexpr int Q = 3; CALL; first += 3; break; } \
            case 2: { constexpr int Q = 2; CALL; first += 2; break; } \
            default: { constexpr int Q = 1; CALL; first += 1; }       \
        }                                                    \
    }

template <class T>
void attend_with_vectors(const Pool<T> &pool, const int32_t *table, const Queries<T> &queries, float scale, Scratch<T> &scratch, Part &part) {
    const int size = pool.size, stride = (queries.most + PAGE - 1) / PAGE * PAGE;
    scratch.scores.resize(size_t(TILE) * stride);
    scratch.wide.resize(size_t(TILE) * size);
    float *scores = scratch.scores.data(), *wide = scratch.wide.data();
    for (int i = 0; i < queries.count * size; ++i) wide[i] = widen(queries.values[i]);
    for (int page = 0; page < stride / PAGE; ++page)
        IN_FOURS(queries.count,
                 (score<T, Q>(wide + first * size, pool.key(table[page]), size, scores + first * stride + page * PAGE, stride)))
    weigh(queries, scores, scores, stride, scale, part);
    for (int block = 0; block < size / LANES; ++block)
        IN_FOURS(queries.count, (add<T, Q>(pool, table, queries.most, scores + first * stride, stride, block, part.sums + first * size)))
}

#ifdef HAS_MATRIX_UNIT

// Tiles: 0-3 results, 4 queries [TILE][32], 5 keys [16 pairs][PAGE][2], 6 weights [TILE][PAGE], 7 values [PAGE / 2][16][2].
struct alignas(64) TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 2 * PAGE, 64};
    uint8_t rows[16] = {TILE, TILE, TILE, TILE, TILE, 16, TILE, PAGE / 2};
};

// Whether this process may use the unit: Linux grants it on request only.
inline bool matrix_unit() {
    static const bool granted = syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0;
    return granted;
}

// Configures this thread's unit for `queries` rows and restores the old state at the end: torch uses the unit too.
class Tiles {
  public:
    Tiles(bool wanted, int queries) : wanted(wanted) {
        if (!wanted) return;
        _tile_storeconfig(&held);
        TileConfig mine;
        for (int tile : {0, 1, 2, 3, 4, 6}) mine.rows[tile] = uint8_t(queries);
        _tile_loadconfig(&mine);
    }
    ~Tiles() {
        if (!wanted) return;
        if (held.palette) _tile_loadconfig(&held);
        else _tile_release();
    }
    Tiles(const Tiles &) = delete;
    Tiles &operator=(const Tiles &) = delete;

  private:
    bool wanted;
    TileConfig held;
};

inline void zero_results() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    asm volatile("" ::: "memory");  // the compiler does not know that loads of tiles read memory
}

inline void attend_with_tiles(const Pool<bf16> &pool, const int32_t *table, const Queries<bf16> &queries, float scale, Scratch<bf16> &scratch,
                              Part &part) {
    const int size = pool.size, pages = (queries.most + PAGE - 1) / PAGE, stride = pages * PAGE;
    scratch.scores.resize(size_t(TILE) * (pages + 3) * PAGE);
    scratch.weights.resize(size_t(TILE) * stride);
    scratch.last.resize(size_t(PAGE) * size);
    float *scores = scratch.scores.data();
    const int row_bytes = 2 * size, score_bytes = 4 * stride;
    const auto fetch = [&](const bf16 *from) {  // pages are scattered, so the CPU cannot predict the next one
        for (int at = 0; at < PAGE * size; at += 32) __builtin_prefetch(from + at);
    };
    for (int page = 0; page < pages; page += 4) {  // four independent results in flight
        const int count = std::min(4, pages - page);
        for (int next = page + 4; next < std::min(pages, page + 8); ++next) fetch(pool.key(table[next]));
        for (int next = page; next < page + count; ++next) fetch(pool.value(table[next]));
        zero_results();
        for (int dim = 0; dim < size; dim += 32) {
            _tile_loadd(4, queries.values + dim, row_bytes);
            const int at = dim * PAGE;
            _tile_loadd(5, pool.key(table[page]) + at, 64);
            _tile_dpbf16ps(0, 4, 5);
            if (count > 1) { _tile_loadd(5, pool.key(table[page + 1]) + at, 64); _tile_dpbf16ps(1, 4, 5); }
            if (count > 2) { _tile_loadd(5, pool.key(table[page + 2]) + at, 64); _tile_dpbf16ps(2, 4, 5); }
            if (count > 3) { _tile_loadd(5, pool.key(table[page + 3]) + at, 64); _tile_dpbf16ps(3, 4, 5); }
        }
        _tile_stored(0, scores + page * PAGE, score_bytes);
        if (count > 1) _tile_stored(1, scores + (page + 1) * PAGE, score_bytes);
        if (count > 2) _tile_stored(2, scores + (page + 2) * PAGE, score_bytes);
        if (count > 3) _tile_stored(3, scores + (page + 3) * PAGE, score_bytes);
    }
    weigh(queries, scores, scratch.weights.data(), stride, scale, part);
    const bf16 *last = pool.value(table[pages - 1]);
    if (const int left = queries.most % PAGE; left) {  // uninitialised values may be NaN, and 0 * NaN is NaN
        std::memcpy(scratch.last.data(), last, sizeof(bf16) * PAGE * size);
        for (int dim = 0; dim < size; ++dim)
            for (int token = left; token < PAGE; ++token) scratch.last[value_place(last, token, dim, size)].bits = 0;
        last = scratch.last.data();
    }
    const int value_step = LANES * PAGE;
    for (int block = 0; block < size / LANES; block += 4) {
        const int count = std::min(4, size / LANES - block);
        zero_results();
        for (int page = 0; page < pages; ++page) {
            const bf16 *values = (page + 1 == pages ? last : pool.value(table[page])) + block * value_step;
            _tile_loadd(6, scratch.weights.data() + page * PAGE, 2 * stride);
            _tile_loadd(7, values, 64);
            _tile_dpbf16ps(0, 6, 7);
            if (count > 1) { _tile_loadd(7, values + value_step, 64); _tile_dpbf16ps(1, 6, 7); }
            if (count > 2) { _tile_loadd(7, values + 2 * value_step, 64); _tile_dpbf16ps(2, 6, 7); }
            if (count > 3) { _tile_loadd(7, values + 3 * value_step, 64); _tile_dpbf16ps(3, 6, 7); }
        }
        float *to = part.sums + block * LANES;
        _tile_stored(0, to, 4 * size);
        if (count > 1) _tile_stored(1, to + LANES, 4 * size);
        if (count > 2) _tile_stored(2, to + 2 * LANES, 4 * size);
        if (count > 3) _tile_stored(3, to + 3 * LANES, 4 * size);
    }
}

#else

inline bool matrix_unit() { return false; }
struct Tiles {
    Tiles(bool, int) {}
};
inline void attend_with_tiles(const Pool<bf16> &, const int32_t *, const Queries<bf16> &, float, Scratch<bf16> &, Part &) {}

#endif

inline bool for_tiles(const float *, int) { return false; }
inline bool for_tiles(const bf16 *, int size) { return size % 32 == 0 && matrix_unit(); }
inline void attend_with_tiles(const Pool<float> &, const int32_t *, const Queries<float> &, float, Scratch<float> &, Part &) {}

template <class T>
void attend_part(const Pool<T> &pool, const int32_t *table, const Queries<T> &queries, float scale, Scratch<T> &scratch, Part &part) {
    if (for_tiles(pool.keys, pool.size)) attend_with_tiles(pool, table, queries, scale, scratch, part);
    else attend_with_vectors(pool, table, queries, scale, scratch, part);
}

}  // namespace
