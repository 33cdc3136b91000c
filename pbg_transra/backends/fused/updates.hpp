// Adagrad in place, and which rows of a batch are the same.

#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "scores.hpp"

namespace {

const double EPSILON = 1e-10;

// Which numbers of a list are the same: `of` says of each which of the distinct ones it is, `firsts` where those occur
// first, and `times` how often.
struct Distinct {
  std::vector<int32_t> of, firsts, times;

  void find(const int64_t *numbers, int64_t count) {
    int bits = 4;
    while ((int64_t(1) << bits) < 2 * count) bits++;
    const uint64_t mask = (uint64_t(1) << bits) - 1;
    slots.assign(mask + 1, -1);
    of.resize(count);
    firsts.clear();
    times.clear();
    for (int64_t i = 0; i < count; i++) {
      uint64_t slot = ((uint64_t)numbers[i] * 0x9E3779B97F4A7C15ull) >> (64 - bits);
      while (slots[slot] >= 0 && numbers[firsts[slots[slot]]] != numbers[i]) slot = (slot + 1) & mask;
      if (slots[slot] < 0) {
        slots[slot] = (int32_t)firsts.size();
        firsts.push_back((int32_t)i);
        times.push_back(0);
      }
      of[i] = slots[slot];
      times[slots[slot]]++;
    }
  }
  int64_t size() const { return firsts.size(); }

 private:
  std::vector<int32_t> slots;
};

// One sum for a row, of mean squared gradients. HOGWILD: the divisor is a local copy of the sum plus the own square,
// whatever other workers store meanwhile.
template <typename T>
INLINE void step_row(T *row, T &sum, const T *gradient, int64_t width, T lr) {
  const T squares = sum + dot(gradient, gradient, width) / width;
  sum = squares;
  const T step = lr / (std::sqrt(squares) + T(EPSILON));
#pragma omp simd
  for (int64_t d = 0; d < width; d++) row[d] -= step * gradient[d];
}

// One sum for each component.
template <typename T>
INLINE void step_components(T *values, T *sums, const T *gradient, int64_t width, T lr) {
#pragma omp simd
  for (int64_t d = 0; d < width; d++) {
    const T total = sums[d] + gradient[d] * gradient[d];
    sums[d] = total;
    values[d] -= lr * gradient[d] / (std::sqrt(total) + T(EPSILON));
  }
}

}  // namespace
