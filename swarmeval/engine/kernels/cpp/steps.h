// The small steps between the matrix products: normalisation, gating, rotation.
#pragma once

#include "vectors.h"

namespace {

// Root mean square normalisation (Zhang and Sennrich 2019), rounded like transformers: before and after the weight.
template <class T> void rms_norm(const T *from, const T *weight, T *to, int rows, int size, float epsilon) {
#pragma omp parallel for schedule(static)
    for (int row = 0; row < rows; ++row) {
        const T *values = from + int64_t(row) * size;
        T *into = to + int64_t(row) * size;
        Floats squares = {};
        int i = 0;
        for (; i + LANES <= size; i += LANES) squares += load(values + i) * load(values + i);
        float total = sum(squares);
        for (; i < size; ++i) total += widen(values[i]) * widen(values[i]);
        const float scale = 1.0f / std::sqrt(total / size + epsilon);
        for (i = 0; i + LANES <= size; i += LANES) {
            store(into + i, load(values + i) * scale);
            store(into + i, load(into + i) * load(weight + i));
        }
        for (; i < size; ++i) {
            narrow(widen(values[i]) * scale, into[i]);
            narrow(widen(into[i]) * widen(weight[i]), into[i]);
        }
    }
}

// silu(gate) * up for [rows][gate, up], rounded like transformers: after silu and at the end.
template <class T> void gate(const T *from, T *to, int rows, int size) {
#pragma omp parallel for schedule(static)
    for (int row = 0; row < rows; ++row) {
        const T *gates = from + int64_t(row) * 2 * size, *ups = gates + size;
        T *into = to + int64_t(row) * size;
        int i = 0;
        for (; i + LANES <= size; i += LANES) {
            const Floats value = load(gates + i);
            store(into + i, value / (1.0f + exponential(-value)));
            store(into + i, load(into + i) * load(ups + i));
        }
        for (; i < size; ++i) {
            const float value = widen(gates[i]);
            narrow(value / (1.0f + std::exp(-value)), into[i]);
            narrow(widen(into[i]) * widen(ups[i]), into[i]);
        }
    }
}

// Rotary position embedding (Su et al. 2021), in Llama's layout: dimensions d and d + size / 2 form a pair.
template <class T> void rotate(T *head, const T *cosine, const T *sine, int size) {
    const int half = size / 2;
    int d = 0;
    for (; d + LANES <= half; d += LANES) {
        const Floats low = load(head + d), high = load(head + d + half);
        store(head + d, low * load(cosine + d) - high * load(sine + d));
        store(head + d + half, high * load(cosine + d + half) + low * load(sine + d + half));
    }
    for (; d < half; ++d) {
        const float low = widen(head[d]), high = widen(head[d + half]);
        narrow(low * widen(cosine[d]) - high * widen(sine[d]), head[d]);
        narrow(high * widen(cosine[d + half]) + low * widen(sine[d + half]), head[d + half]);
    }
}

}  // namespace
