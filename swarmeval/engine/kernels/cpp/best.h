// Top-k scores of each row.
#pragma once

#include <vector>

#include "vectors.h"

namespace {

struct Scored {
    float score;
    int32_t id;
    bool operator<(const Scored &other) const { return score > other.score || (score == other.score && id < other.id); }
};

// The `width` best scores of one row, best first, ties by id. Scores below the width-th best block maximum are skipped:
// they cannot be among the best. A row with a NaN among its scores has none: all values are then -inf.
template <class T>
void best_of_row(const T *scores, int vocabulary, const int64_t *history, int length, float penalty, int width, std::vector<float> &row,
                 std::vector<float> &maxima, std::vector<Scored> &found, float *values, int64_t *ids) {
    constexpr int BLOCK = 4 * LANES;
    const int blocks = (vocabulary + BLOCK - 1) / BLOCK;
    row.assign(size_t(blocks) * BLOCK, -INFINITY);
    int i = 0;
    Ints numbers = Ints{} - 1;
    for (; i + LANES <= vocabulary; i += LANES) {
        const Floats part = load(scores + i);
        numbers &= part == part;
        store(row.data() + i, part);
    }
    bool is_number = true;
    for (; i < vocabulary; ++i) {
        row[i] = widen(scores[i]);
        is_number &= row[i] == row[i];
    }
    for (int lane = 0; lane < LANES; ++lane) is_number &= numbers[lane] != 0;
    if (!is_number) {
        std::fill(values, values + width, -INFINITY);
        std::fill(ids, ids + width, 0);
        return;
    }
    if (penalty != 1.0f)
        for (int seen = 0; seen < length; ++seen) {
            const float score = widen(scores[history[seen]]);
            row[history[seen]] = score < 0 ? score * penalty : score / penalty;
        }
    maxima.resize(blocks);
    for (int block = 0; block < blocks; ++block) {
        const float *at = row.data() + block * BLOCK;
        maxima[block] = most(larger(larger(load(at), load(at + LANES)), larger(load(at + 2 * LANES), load(at + 3 * LANES))));
    }
    float least = -INFINITY;
    if (blocks > width) {
        std::vector<float> &ordered = maxima;
        static thread_local std::vector<float> copy;
        copy = ordered;
        std::nth_element(copy.begin(), copy.begin() + width - 1, copy.end(), [](float a, float b) { return a > b; });
        least = copy[width - 1];
    }
    found.clear();
    for (int block = 0; block < blocks; ++block) {
        if (!(maxima[block] >= least)) continue;
        for (int at = block * BLOCK; at < std::min(vocabulary, (block + 1) * BLOCK); ++at)
            if (row[at] >= least) found.push_back({row[at], at});
    }
    const int have = std::min<int>(width, found.size());
    std::partial_sort(found.begin(), found.begin() + have, found.end());
    for (int rank = 0; rank < width; ++rank) {
        values[rank] = rank < have ? found[rank].score : -INFINITY;
        ids[rank] = rank < have ? found[rank].id : 0;
    }
}

template <class T>
void best(const T *scores, int rows, int vocabulary, const int64_t *history, int64_t stride, const int32_t *lengths, const float *penalties,
          int width, float *values, int64_t *ids) {
#pragma omp parallel
    {
        std::vector<float> row, maxima;
        std::vector<Scored> found;
#pragma omp for schedule(dynamic, 1)
        for (int r = 0; r < rows; ++r)
            best_of_row(scores + int64_t(r) * vocabulary, vocabulary, history + r * stride, lengths[r], penalties[r], width, row, maxima,
                        found, values + int64_t(r) * width, ids + int64_t(r) * width);
    }
}

}  // namespace
