// From the tables' space into a relation's, and the gradients back.

#pragma once

#include "batch.hpp"

namespace {

const double SMALLEST_NORM = 1e-12;

// Positives and negatives of one side become what is compared.
template <typename T>
void project(const Batch<T> &b, const Group &g, int side, const Space<T> &space, Memory<T> &x) {
  Side<T> &of = x.sides[side];
  const int64_t d = b.dimension, row = apart<T>(d), count = g.rows();
  const T *translation = side == 0 ? space.translation : nullptr;
  of.projected = of.gathered.data(), of.by_projected = space.has[side] ? of.by_own.data() : of.gradients.data();
  if (!space.has[side] && !translation && !b.unit) return;
  T *out = of.own.data();
  of.projected = out;
  for (int64_t i = 0; translation && i < count; i++) std::memcpy(out + i * row, translation, d * sizeof(T));
  if (space.has[side]) {
    multiply(rows((const T *)of.gathered.data(), row), space.turned[side], out, row, count, d, d, translation != nullptr);
  } else if (translation) {
    for (int64_t i = 0; i < count; i++) add(out + i * row, of.gathered.data() + i * row, T(1), d);
  } else {
    std::memcpy(out, of.gathered.data(), count * row * sizeof(T));
  }
}

template <typename T>
void project_back(const Batch<T> &b, const Group &g, int side, Space<T> &space, Memory<T> &x) {
  Side<T> &of = x.sides[side];
  const int64_t d = b.dimension, row = apart<T>(d), count = g.rows();
  const T *gradients = of.by_projected;
  if (side == 0)
    for (int64_t i = 0; i < count; i++) add(space.by_translation, gradients + i * row, T(1), d);
  if (!space.has[side]) return;
  multiply(rows(gradients, row), space.matrices[side], of.gradients.data(), row, count, d, d, false);
  multiply(turned(gradients, row), as_it_lies((const T *)of.gathered.data(), row), space.by_matrices[side], row, d, d, count,
           true);
}

// Squared lengths for distances; for cosines rows are scaled to length one.
template <typename T>
void measure(const Batch<T> &b, int64_t count, Side<T> &of) {
  const int64_t d = b.dimension, row = apart<T>(d);
  if (b.similarity == PRODUCT && !b.unit) return;
  T *squares = of.squares.data(), *lengths = of.lengths.data();
  for (int64_t i = 0; i < count; i++) {
    squares[i] = dot(of.projected + i * row, of.projected + i * row, d);
    of.by_squares.data()[i] = 0;
    if (!b.unit) continue;
    const T length = std::sqrt(squares[i]);
    lengths[i] = length < T(SMALLEST_NORM) ? T(SMALLEST_NORM) : length;
    T *unit = of.own.data() + i * row;
    for (int64_t j = 0; j < d; j++) unit[j] *= 1 / lengths[i];
  }
}

template <typename T>
void measure_back(const Batch<T> &b, int64_t count, Side<T> &of) {
  const int64_t d = b.dimension, row = apart<T>(d);
  if (b.similarity == PRODUCT && !b.unit) return;
  for (int64_t i = 0; i < count; i++) {
    const T *vector = of.projected + i * row, length = of.lengths.data()[i];
    T *gradient = of.by_projected + i * row, along = 2 * of.by_squares.data()[i], factor = 1;
    if (b.unit) {
      along = length > T(SMALLEST_NORM) ? -dot(vector, (const T *)gradient, d) : 0;
      factor = 1 / length;
    }
    for (int64_t j = 0; j < d; j++) gradient[j] = (gradient[j] + along * vector[j]) * factor;
  }
}

}  // namespace
