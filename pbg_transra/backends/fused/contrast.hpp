// Positives against their negatives: from the vectors of a group to its loss and its gradients by them.

#pragma once

#include "batch.hpp"

namespace {

template <typename T>
T squared_distance(const T *a, const T *b, int64_t count) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

template <int SIMILARITY, typename T>
double process(int64_t loss, const Scores<T> &s, Scratch<T> &x) {
  if (loss == SOFTMAX) return process<SIMILARITY, SOFTMAX>(s, x);
  if (loss == LOGISTIC) return process<SIMILARITY, LOGISTIC>(s, x);
  return process<SIMILARITY, RANKING>(s, x);
}

template <typename T>
double process(int64_t similarity, int64_t loss, const Scores<T> &s, Scratch<T> &x) {
  if (similarity == PRODUCT) return process<PRODUCT>(loss, s, x);
  if (similarity == SQUARED_L2) return process<SQUARED_L2>(loss, s, x);
  return process<L2>(loss, s, x);
}

// Loss and gradients of a group by its projected vectors. Products with batch negatives lie in rows with those with the
// uniform negatives of tails, and in columns with those of heads: all of a side is one product, forward and back.
template <typename T>
double contrast(const Batch<T> &b, const Group &g, Memory<T> &x) {
  const int64_t d = b.dimension, row = apart<T>(d), m = g.m, u = g.u, columns = b.within ? m + u : u;
  const int64_t right_row = apart<T>(columns), left_row = b.within ? right_row : apart<T>(m);
  const T *heads = x.sides[0].projected, *tails = x.sides[1].projected;
  T *by_heads = x.sides[0].by_projected, *by_tails = x.sides[1].by_projected;
  T *right = x.scores.fit((m + u) * right_row), *left = b.within ? right + m * right_row : x.left.fit(u * left_row);
  T *positives = x.positives.fit(m), *squares = x.squares.fit(m);
  const bool both = b.head_weight != 0;
  for (int64_t i = 0; b.similarity != PRODUCT && i < m; i++)
    squares[i] = squared_distance(heads + i * row, tails + i * row, d);

  if (b.within) {
    const Panels<T> columns_of = turned_panels(tails, row, columns, d, x.turned);
    multiply(rows(heads, row), columns_of, right, right_row, m, columns, d, false);
    if (both) multiply(rows(heads + m * row, row), columns_of, left, left_row, u, m, d, false);
  } else {
    multiply(rows(heads, row), turned_panels(tails + m * row, row, u, d, x.turned), right, right_row, m, u, d, false);
    if (both) multiply(rows(heads + m * row, row), turned_panels(tails, row, m, d, x.turned), left, left_row, u, m, d, false);
    for (int64_t i = 0; i < m; i++) positives[i] = dot(heads + i * row, tails + i * row, d);
  }
  const double loss = process<T>(
      b.similarity, b.loss,
      {right, both ? left : nullptr, positives, right_row, left_row, m, u, columns, x.weights.data(), squares,
       x.sides[0].squares.data(), x.sides[1].squares.data(), x.sides[0].by_squares.data(), x.sides[1].by_squares.data(),
       (T)b.share, (T)b.scale, (T)b.margin, (T)b.head_weight},
      x.scratch);

  const T *by_right = right, *by_left = left;
  const int64_t batch = b.within ? m : 0;  // batch negatives
  for (int64_t i = 0; !b.within && i < m; i++) {
    std::memset(by_heads + i * row, 0, d * sizeof(T));
    std::memset(by_tails + i * row, 0, d * sizeof(T));
    add(by_heads + i * row, tails + i * row, positives[i], d);
    add(by_tails + i * row, heads + i * row, positives[i], d);
  }
  multiply(rows(by_right, right_row), as_it_lies(tails + (m - batch) * row, row), by_heads, row, m, d, columns, !b.within);
  multiply(turned(by_right + batch, right_row), as_it_lies(heads, row), by_tails + m * row, row, u, d, m, false);
  if (b.within)
    multiply(turned(by_right, right_row), as_it_lies(heads, row), by_tails, row, m, d, both ? m + u : m, false);
  else if (both)
    multiply(turned(by_left, left_row), as_it_lies(heads + m * row, row), by_tails, row, m, d, u, true);
  if (both) multiply(rows(by_left, left_row), as_it_lies(tails, row), by_heads + m * row, row, u, d, m, false);
  else std::memset(by_heads + m * row, 0, u * row * sizeof(T));
  return loss;
}

}  // namespace
