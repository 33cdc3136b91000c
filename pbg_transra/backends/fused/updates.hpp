// Adagrad in place on rows that repeat; see step_rows_ and step_components_ in kernels.py.

#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "rows.hpp"
#include "scores.hpp"

namespace {

const double EPSILON = 1e-10;
// Adds up gradients of the same row into its first occurrence; lists the first occurrences.
template <typename T>
INLINE void coalesce(const int64_t *rows, T *gradients, int64_t count, int64_t width, std::vector<int32_t> &firsts) {
  static thread_local std::vector<int32_t> slots;
  int bits = 4;
  while ((int64_t(1) << bits) < 2 * count) bits++;
  const uint64_t mask = (uint64_t(1) << bits) - 1;
  slots.assign(mask + 1, -1);
  firsts.clear();
  for (int64_t i = 0; i < count; i++) {
    uint64_t slot = ((uint64_t)rows[i] * 0x9E3779B97F4A7C15ull) >> (64 - bits);
    while (slots[slot] >= 0 && rows[slots[slot]] != rows[i]) slot = (slot + 1) & mask;
    if (slots[slot] < 0) {
      slots[slot] = (int32_t)i;
      firsts.push_back((int32_t)i);
      continue;
    }
    T *sum = gradients + slots[slot] * width;
    const T *more = gradients + i * width;
#pragma omp simd
    for (int64_t d = 0; d < width; d++) sum[d] += more[d];
  }
}

// HOGWILD: the divisor is a local copy of the sum plus the own square, whatever other workers store meanwhile.
template <typename T>
INLINE void step_rows(T *table, T *sums, const int64_t *rows, T *gradients, int64_t count, int64_t width, T lr) {
  static thread_local std::vector<int32_t> firsts;
  coalesce(rows, gradients, count, width, firsts);
  for (int64_t i = 0; i < (int64_t)firsts.size(); i++) {
    if (i + AHEAD < (int64_t)firsts.size()) {
      const int64_t row = rows[firsts[i + AHEAD]];
      fetch(table + row * width, width);
      __builtin_prefetch(sums + row, 1);
    }
    const int64_t first = firsts[i];
    const T *gradient = gradients + first * width;
    T *row = table + rows[first] * width, square = 0;
#pragma omp simd reduction(+ : square)
    for (int64_t d = 0; d < width; d++) square += gradient[d] * gradient[d];
    const T total = sums[rows[first]] + square / width;
    sums[rows[first]] = total;
    const T step = lr / (std::sqrt(total) + T(EPSILON));
#pragma omp simd
    for (int64_t d = 0; d < width; d++) row[d] -= step * gradient[d];
  }
}

template <typename T>
INLINE void step_components(T *table, T *sums, const int64_t *rows, T *gradients, int64_t count, int64_t width, T lr) {
  static thread_local std::vector<int32_t> firsts;
  coalesce(rows, gradients, count, width, firsts);
  for (const int32_t first : firsts) {
    const T *gradient = gradients + first * width;
    T *row = table + rows[first] * width, *sum = sums + rows[first] * width;
#pragma omp simd
    for (int64_t d = 0; d < width; d++) {
      const T total = sum[d] + gradient[d] * gradient[d];
      sum[d] = total;
      row[d] -= lr * gradient[d] / (std::sqrt(total) + T(EPSILON));
    }
  }
}

}  // namespace
