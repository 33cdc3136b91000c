// Rows of tables: means of bags of them, sums of those that are equal, and Adagrad's steps. bags.py and adagrad.py say
// what each argument is.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "attention.hpp"

namespace {

const int64_t AHEAD = 8;  // rows asked for before they are needed

// vectors (V, D), of which `places` (N,) names those of one bag after the other, `sizes` (G,) -> means (G, D).
template <typename T>
void bag_means(const T *vectors, const int64_t *places, const int64_t *sizes, T *means, int64_t bags, int64_t width) {
  for (int64_t bag = 0; bag < bags; ++bag, means += width) {
    std::fill_n(means, width, T(0));
    for (int64_t n = 0; n < sizes[bag]; ++n) add(means, vectors + *places++ * width, T(1), width);
    if (sizes[bag] > 1)
      for (int64_t d = 0; d < width; ++d) means[d] /= T(sizes[bag]);
  }
}

// `by_vectors` is zero before.
template <typename T>
void bag_means_backward(const int64_t *places, const int64_t *sizes, const T *by_means, T *by_vectors, int64_t bags,
                        int64_t width) {
  for (int64_t bag = 0; bag < bags; ++bag, by_means += width)
    for (int64_t n = 0; n < sizes[bag]; ++n) add(by_vectors + *places++ * width, by_means, T(1) / T(sizes[bag]), width);
}

// sums (U, D), zero before, of the values (N, D) of each kind; `kinds` (N,).
template <typename T>
void sums_by_kind(const T *values, const int64_t *kinds, T *sums, int64_t count, int64_t width) {
  for (int64_t n = 0; n < count; ++n) add(sums + kinds[n] * width, values + n * width, T(1), width);
}

// table (N, D) and `squares` (N,) take a step by gradients (U, D) of rows (U,) that all differ.
template <typename T>
void rowwise_adagrad(T *table, T *squares, const int64_t *rows, const T *gradients, int64_t count, int64_t width,
                     double rate, double epsilon) {
  for (int64_t n = 0; n < count; ++n, gradients += width) {
    if (n + AHEAD < count) {
      __builtin_prefetch(table + rows[n + AHEAD] * width, 1);
      __builtin_prefetch(squares + rows[n + AHEAD], 1);
    }
    const T sum = squares[rows[n]] += dot(gradients, gradients, width) / T(width);
    add(table + rows[n] * width, gradients, T(-rate) / (std::sqrt(sum) + T(epsilon)), width);
  }
}

}  // namespace
