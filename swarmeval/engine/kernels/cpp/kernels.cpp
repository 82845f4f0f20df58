// CPU kernels for the parts of a decode step other than matrix products: attention over a paged KV cache, rotary
// embedding, normalisation, gating, top-k. swarmeval/engine/native.py builds this file. Every function has a torch
// counterpart and is checked against it before use.
//
// A row's result depends only on the row: sums are not split over threads, and their order does not depend on other
// rows. Compiled with -fopenmp and linked without it, so that torch's OpenMP library supplies the threads.

#include "attention.h"
#include "best.h"
#include "pages.h"
#include "steps.h"

namespace {

struct Shape {
    int32_t rows, query_heads, key_heads, size;

    int group() const { return query_heads / key_heads; }
};

// Where each row reads. Rows of one group have the same shared pages and are neighbours in `order`.
struct Batch {
    const int32_t *table;  // [rows][table_stride] page numbers: shared pages first, then the row's own
    int64_t table_stride;
    const int32_t *shared, *own, *order, *group;  // [rows] each

    const int32_t *shared_pages(int row) const { return table + row * table_stride; }
    const int32_t *own_pages(int row) const { return shared_pages(row) + (shared[row] + PAGE - 1) / PAGE; }
};

// Positions [begin, end) in `order`: rows of one group that fit into one tile.
struct Mates {
    int begin, end;
};

inline std::vector<Mates> mates(const Batch &batch, int rows, int most) {
    std::vector<Mates> found;
    for (int at = 0; at < rows; ++at) {
        const int row = batch.order[at];
        if (!batch.shared[row]) continue;
        const bool joins = !found.empty() && found.back().end == at && at - found.back().begin < most &&
                           batch.group[batch.order[at - 1]] == batch.group[row];
        if (joins) ++found.back().end;
        else found.push_back({at, at + 1});
    }
    return found;
}

// Partial results over the shared pages: [rows][query heads], and sums [rows][query heads][size].
struct Found {
    std::vector<float> highest, total, sums;
};

template <class T> class Attention {
  public:
    Attention(const T *query, int64_t query_stride, T *to, const T *keys, const T *values, Batch batch, Shape shape, float scale)
        : query(query), query_stride(query_stride), to(to), keys(keys), values(values), batch(batch), shape(shape), scale(scale) {}

    void run() {
        static thread_local Found kept;  // static: the next layer reuses its memory
        found = &kept;
        const size_t heads = size_t(shape.rows) * shape.query_heads;
        kept.highest.resize(heads), kept.total.resize(heads), kept.sums.resize(heads * shape.size);
        const int group = shape.group(), chunks = (group + TILE - 1) / TILE;
        const std::vector<Mates> tiles = mates(batch, shape.rows, std::max(1, TILE / group));
        const bool unit = for_tiles(query, shape.size);
#pragma omp parallel
        {
            static thread_local Scratch<T> scratch;  // static for the same reason
            scratch.queries.resize(size_t(TILE) * shape.size), scratch.sums.resize(size_t(TILE) * shape.size);
            {
                const Tiles config(unit, TILE);
#pragma omp for schedule(dynamic, 2)
                for (int item = 0; item < int(tiles.size()) * shape.key_heads * chunks; ++item) {
                    const int chunk = item % chunks, head = item / chunks % shape.key_heads;
                    share(tiles[item / chunks / shape.key_heads], head, chunk * TILE, scratch);
                }
            }
            const Tiles config(unit, std::min(group, TILE));
#pragma omp for schedule(dynamic, 4)
            for (int item = 0; item < shape.rows * shape.key_heads * chunks; ++item) {
                const int chunk = item % chunks, head = item / chunks % shape.key_heads;
                finish(item / chunks / shape.key_heads, head, chunk * TILE, scratch);
            }
        }
    }

  private:
    const T *query;
    int64_t query_stride;
    T *to;
    const T *keys, *values;
    Batch batch;
    Shape shape;
    float scale;
    Found *found = nullptr;

    Pool<T> pool(int key_head) const {
        const int64_t head = int64_t(PAGE) * shape.size;
        return {keys + key_head * head, values + key_head * head, head * shape.key_heads, shape.size};
    }
    // Number of query heads of one key head, from `first` on, that fit into one tile.
    int heads(int first) const { return std::min(shape.group() - first, TILE); }
    const T *queries_of(int row, int key_head, int first) const {
        return query + row * query_stride + (key_head * shape.group() + first) * shape.size;
    }
    size_t place(int row, int key_head, int first) const { return size_t(row) * shape.query_heads + key_head * shape.group() + first; }

    // Attention of a few rows to their shared pages.
    void share(Mates rows, int key_head, int first, Scratch<T> &scratch) {
        T *queries = scratch.queries.data();
        float *sums = scratch.sums.data();
        const int count = heads(first), size = shape.size;
        int tokens[TILE], used = 0, longest = batch.order[rows.begin];
        for (int at = rows.begin; at < rows.end; ++at) {
            const int row = batch.order[at];
            std::memcpy(queries + used * size, queries_of(row, key_head, first), sizeof(T) * count * size);
            std::fill(tokens + used, tokens + used + count, batch.shared[row]);
            used += count;
            if (batch.shared[row] > batch.shared[longest]) longest = row;
        }
        Part part;
        part.sums = sums;
        attend_part(pool(key_head), batch.shared_pages(longest), Queries<T>{queries, used, tokens, batch.shared[longest]}, scale, scratch, part);
        used = 0;
        for (int at = rows.begin; at < rows.end; ++at, used += count) {
            const size_t to_place = place(batch.order[at], key_head, first);
            std::copy_n(part.highest + used, count, found->highest.data() + to_place);
            std::copy_n(part.total + used, count, found->total.data() + to_place);
            std::copy_n(sums + used * size, count * size, found->sums.data() + to_place * size);
        }
    }

    // Attention of one row to its own pages, merged with its result over the shared pages.
    void finish(int row, int key_head, int first, Scratch<T> &scratch) {
        T *queries = scratch.queries.data();
        float *sums = scratch.sums.data();
        const int count = heads(first), size = shape.size;
        const size_t at = place(row, key_head, first);
        Part part;
        part.sums = sums;
        if (batch.own[row]) {
            int tokens[TILE];
            std::fill(tokens, tokens + count, batch.own[row]);
            std::memcpy(queries, queries_of(row, key_head, first), sizeof(T) * count * size);
            attend_part(pool(key_head), batch.own_pages(row), Queries<T>{queries, count, tokens, batch.own[row]}, scale, scratch, part);
        }
        for (int q = 0; q < count; ++q) {
            const float lowest = -std::numeric_limits<float>::infinity();
            const float mine = batch.own[row] ? part.highest[q] : lowest, theirs = batch.shared[row] ? found->highest[at + q] : lowest;
            const float highest = std::max(mine, theirs);
            const float my_weight = batch.own[row] ? std::exp(mine - highest) : 0.0f;
            const float their_weight = batch.shared[row] ? std::exp(theirs - highest) : 0.0f;
            const float total = (my_weight ? my_weight * part.total[q] : 0.0f) + (their_weight ? their_weight * found->total[at + q] : 0.0f);
            const float *my_sums = sums + q * size, *their_sums = found->sums.data() + (at + q) * size;
            for (int i = 0; i < size; i += LANES) {
                Floats merged = {};
                if (my_weight) merged += load(my_sums + i) * (my_weight / total);
                if (their_weight) merged += load(their_sums + i) * (their_weight / total);
                store(to + (at + q) * size + i, merged);
            }
        }
    }
};

template <class T>
void rotate_and_put(T *joined, int64_t stride, const T *cosine, const T *sine, T *keys, T *values, const int32_t *page,
                    const int32_t *offset, Shape shape) {
#pragma omp parallel for schedule(static)
    for (int row = 0; row < shape.rows; ++row) {
        T *query = joined + row * stride, *key = query + shape.query_heads * shape.size;
        for (int head = 0; head < shape.query_heads + shape.key_heads; ++head)
            rotate(query + head * shape.size, cosine + row * shape.size, sine + row * shape.size, shape.size);
        if (page[row] >= 0)
            put(key, key + shape.key_heads * shape.size, keys, values, page[row], offset[row], shape.key_heads, shape.size);
    }
}

template <class T>
void put_all(const T *key, int64_t key_stride, const T *value, int64_t value_stride, T *keys, T *values, const int32_t *page,
             const int32_t *offset, Shape shape) {
#pragma omp parallel for schedule(static)
    for (int row = 0; row < shape.rows; ++row)
        if (page[row] >= 0) put(key + row * key_stride, value + row * value_stride, keys, values, page[row], offset[row], shape.key_heads, shape.size);
}

}  // namespace

extern "C" int32_t uses_matrix_unit() { return matrix_unit(); }

#define EXPORT(NAME, T)                                                                                                                \
    extern "C" void attend_##NAME(const T *query, int64_t query_stride, T *to, const T *keys, const T *values, const int32_t *table,   \
                                  int64_t table_stride, const int32_t *shared, const int32_t *own, const int32_t *order,               \
                                  const int32_t *group, int32_t rows, int32_t query_heads, int32_t key_heads, int32_t size,            \
                                  float scale) {                                                                                       \
        Attention<T>(query, query_stride, to, keys, values, {table, table_stride, shared, own, order, group},                          \
                     {rows, query_heads, key_heads, size}, scale)                                                                      \
            .run();                                                                                                                    \
    }                                                                                                                                  \
    extern "C" void put_##NAME(const T *key, int64_t key_stride, const T *value, int64_t value_stride, T *keys, T *values,             \
                               const int32_t *page, const int32_t *offset, int32_t rows, int32_t key_heads, int32_t size) {            \
        put_all<T>(key, key_stride, value, value_stride, keys, values, page, offset, {rows, key_heads, key_heads, size});              \
    }                                                                                                                                  \
    extern "C" void rotate_and_put_##NAME(T *joined, int64_t stride, const T *cosine, const T *sine, T *keys, T *values,               \
                                          const int32_t *page, const int32_t *offset, int32_t rows, int32_t query_heads,               \
                                          int32_t key_heads, int32_t size) {                                                           \
        rotate_and_put<T>(joined, stride, cosine, sine, keys, values, page, offset, {rows, query_heads, key_heads, size});             \
    }                                                                                                                                  \
    extern "C" void rms_norm_##NAME(const T *from, const T *weight, T *to, int32_t rows, int32_t size, float epsilon) {                \
        rms_norm<T>(from, weight, to, rows, size, epsilon);                                                                            \
    }                                                                                                                                  \
    extern "C" void gate_##NAME(const T *from, T *to, int32_t rows, int32_t size) { gate<T>(from, to, rows, size); }                   \
    extern "C" void best_##NAME(const T *scores, int32_t rows, int32_t vocabulary, const int64_t *history, int64_t stride,             \
                                const int32_t *lengths, const float *penalties, int32_t width, float *values, int64_t *ids) {          \
        best<T>(scores, rows, vocabulary, history, stride, lengths, penalties, width, values, ids);                                    \
    }

EXPORT(bf16, bf16)
EXPORT(fp32, float)
