// From the inner products of a group to the loss and its gradients by them, for all similarities and losses.
//
// All loops run over whole vectors: what fills up a row scores so low that it counts as nothing, whatever lay there (a NaN
// of a training that has diverged, even). Batch negatives' columns that are no edge's own have slopes of 0 there.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "vectors.hpp"

#define INLINE static inline __attribute__((always_inline))

namespace {

enum Similarity { PRODUCT, SQUARED_L2, L2 };
enum Loss { SOFTMAX, LOGISTIC, RANKING };

const double CLAMP = 1e-30;  // PBG's, on squared distances before their root
const double LOWEST = -1e30;  // a score that is not to count

// exp(x) for x <= 0 after Cephes' expf (relative error below 2e-7), written so that loops over it vectorise. Passes NaN on.
INLINE float exp_negative(float x) {
  x = x < -87.0f ? -87.0f : x;
  const int32_t power = (int32_t)(x * 1.44269504f - 0.5f);
  const float n = (float)power;
  const float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  const uint32_t bits = (uint32_t)(power + 127) << 23;
  float two_to_n;
  std::memcpy(&two_to_n, &bits, sizeof bits);
  return y * two_to_n;
}
INLINE double exp_negative(double x) { return std::exp(x); }

// What one positive knows of its negatives, after a first pass over their scores.
template <typename T>
struct Row {
  T shift, factor;  // the loss's gradient by a negative score is slope(score, shift, factor)
  T positive;       // and by the positive score
};

template <int LOSS, typename T>
INLINE T slope(T score, T shift, T factor) {
  if (LOSS == SOFTMAX) return exp_negative(score - shift) * factor;
  if (LOSS == RANKING) return score < shift ? T(0) : factor;  // NaN counts, so that the loss shows it
  const T e = exp_negative(-std::fabs(score));
  return (score >= 0 ? T(1) : e) / (T(1) + e) * factor;
}

template <typename T>
INLINE T softplus(T x) {
  return (x > 0 ? x : T(0)) + std::log1p(std::exp(-std::fabs(x)));
}

// Whether exponentials take the place of scores in the first pass, so that the second need not compute them again.
constexpr bool keeps(int similarity, int loss) { return loss == SOFTMAX && similarity != L2; }

// What a score adds to the sum of its row or column: exp(s - shift), softplus(s), or a hinge.
template <int LOSS, typename T>
INLINE T term(T score, T shift) {
  if (LOSS == SOFTMAX) return exp_negative(score - shift);
  if (LOSS == LOGISTIC) return softplus(score);
  return score < shift ? T(0) : score - shift;
}

template <int LOSS, typename T>
INLINE Row<T> finish(T shift, T sum, T hits, T positive, T weight, T share, double &loss) {
  if (LOSS == SOFTMAX) {
    loss += weight * (double)(shift + std::log(sum) - positive);
    return {shift, weight / sum, exp_negative(positive - shift) * weight / sum - weight};
  }
  if (LOSS == RANKING) {
    loss += weight * (double)sum;
    return {shift, weight, -hits * weight};
  }
  loss += weight * (double)(softplus(-positive) + share * sum);
  return {T(0), weight * share, slope<LOGISTIC>(-positive, T(0), -weight)};
}

template <int SIMILARITY, typename T>
INLINE T distance_score(T squared, T scale) {
  return -scale * (SIMILARITY == SQUARED_L2 ? squared : std::sqrt(squared < T(CLAMP) ? T(CLAMP) : squared));
}

template <int SIMILARITY, typename T>
INLINE void score_row(T *row, int64_t count, T own, const T *others, T scale) {
#pragma omp simd
  for (int64_t j = 0; j < count; j++) {
    if (SIMILARITY == PRODUCT) row[j] *= scale;
    else row[j] = distance_score<SIMILARITY>(own + others[j] - 2 * row[j], scale);
  }
}

// The score's gradient g becomes the inner product's; for distances, the squared norms' are added to both sides.
template <int SIMILARITY, typename T>
INLINE T through(T g, T score, T scale) {
  if (SIMILARITY == PRODUCT) return g * scale;
  if (SIMILARITY == SQUARED_L2) return -g * scale;
  const T distance = -score / scale;
  return distance * distance > T(CLAMP) * T(1.001) ? -g * scale / (2 * distance) : T(0);
}

// A group of m edges and u uniform negatives a side.
//   right (m, columns): each edge's batch negatives, if there are any, its own tail among them, and then uniform ones.
//     Columns of batch negatives are the left sides' as well
//   left (u, m): each uniform negative of the heads with each edge's tail; null: left sides are not computed
//   positives (m): where there are no batch negatives; gradients take their place
//   apart (m): squared distances of the positives, which lie so close that norms minus products would lose all digits
//   heads, tails (m + u): squared lengths of the positives, then of the uniform negatives
template <typename T>
struct Scores {
  T *right, *left, *positives;
  int64_t right_row, left_row, m, u, columns;
  const T *weights, *apart, *heads, *tails;
  T *by_heads, *by_tails;
  T share, scale, margin, head_weight;
  bool within() const { return columns > u; }
};

// What a group needs besides its scores, by edge: of its row (the right side) and of its column (the left side).
template <typename T>
struct Scratch {
  T *positives, *diagonal, *row_shift, *row_factor, *column_shift, *column_sum, *column_hits, *column_factor;
  T *kept;  // exponentials of the columns, as batch negatives' scores lie
  void fit(int64_t m) {
    T **parts[] = {&positives, &diagonal, &row_shift, &row_factor, &column_shift, &column_sum, &column_hits, &column_factor};
    for (int i = 0; i < 8; i++) *parts[i] = rooms[i].fit(padded<T>(m));
    kept = rooms[8].fit(m * padded<T>(m));
  }

 private:
  Room<T> rooms[9];
};

// Inner products become scores. For the softmax a positive counts among its negatives, otherwise it must not.
template <int SIMILARITY, int LOSS, typename T>
INLINE void score(const Scores<T> &s, Scratch<T> &x) {
  const bool norms = SIMILARITY != PRODUCT;
  const int64_t count = padded<T>(s.columns), across = padded<T>(s.m);
  for (int64_t i = 0; i < s.m; i++) {
    T *row = s.right + i * s.right_row;
    const T product = s.within() ? row[i] : s.positives[i];
    x.positives[i] = norms ? distance_score<SIMILARITY>(s.apart[i], s.scale) : product * s.scale;
    score_row<SIMILARITY>(row, count, norms ? s.heads[i] : T(0), s.within() ? s.tails : s.tails + s.m, s.scale);
    for (int64_t j = s.columns; j < count; j++) row[j] = T(LOWEST);
    if (s.within()) row[i] = LOSS == SOFTMAX ? x.positives[i] : T(LOWEST);
  }
  for (int64_t i = 0; s.left && i < s.u; i++) {
    T *row = s.left + i * s.left_row;
    score_row<SIMILARITY>(row, across, norms ? s.heads[s.m + i] : T(0), s.tails, s.scale);
    for (int64_t j = s.m; j < across; j++) row[j] = T(LOWEST);
  }
}

template <typename T>
INLINE void grow_columns(T *most, const T *row, int64_t count) {
#pragma omp simd
  for (int64_t j = 0; j < count; j++) most[j] = row[j] > most[j] ? row[j] : most[j];
}

// Adds a row to what the columns sum up; exponentials are written to `kept`.
template <int SIMILARITY, int LOSS, typename T>
INLINE void add_to_columns(const T *row, T *kept, int64_t count, Scratch<T> &x) {
  const T *shift = x.column_shift;
  T *sum = x.column_sum, *hits = x.column_hits;
#pragma omp simd
  for (int64_t j = 0; j < count; j++) {
    const T found = term<LOSS>(row[j], shift[j]);
    if (LOSS == RANKING) hits[j] += row[j] < shift[j] ? T(0) : T(1);
    if (keeps(SIMILARITY, LOSS)) kept[j] = found;
    sum[j] += found;
  }
}

// The first pass over left sides, all columns at once.
template <int SIMILARITY, int LOSS, typename T>
INLINE double add_up_columns(const Scores<T> &s, Scratch<T> &x) {
  const int64_t across = padded<T>(s.m), batch_rows = s.within() ? s.m : 0;
  for (int64_t j = 0; j < s.m; j++) x.column_shift[j] = LOSS == RANKING ? x.positives[j] - s.margin : x.positives[j];
  for (int64_t j = s.m; j < across; j++) x.column_shift[j] = -T(LOWEST), x.column_factor[j] = 0;  // slopes of 0
  if (LOSS == SOFTMAX) {
    for (int64_t i = 0; i < batch_rows; i++) grow_columns(x.column_shift, s.right + i * s.right_row, across);
    for (int64_t i = 0; i < s.u; i++) grow_columns(x.column_shift, s.left + i * s.left_row, across);
  }
  for (int64_t j = 0; j < across; j++) {
    x.column_sum[j] = LOSS == SOFTMAX && !s.within() ? exp_negative(x.positives[j] - x.column_shift[j]) : T(0);
    x.column_hits[j] = 0;
  }
  for (int64_t i = 0; i < batch_rows; i++)
    add_to_columns<SIMILARITY, LOSS>(s.right + i * s.right_row, x.kept + i * across, across, x);
  for (int64_t i = 0; i < s.u; i++)
    add_to_columns<SIMILARITY, LOSS>(s.left + i * s.left_row, s.left + i * s.left_row, across, x);
  double loss = 0;
  for (int64_t j = 0; j < s.m; j++) {
    const Row<T> side = finish<LOSS>(x.column_shift[j], x.column_sum[j], x.column_hits[j], x.positives[j],
                                     s.weights[j] * s.head_weight, s.share, loss);
    x.column_shift[j] = side.shift, x.column_factor[j] = side.factor, x.diagonal[j] = side.positive;
  }
  return loss;
}

// The first pass over the right side of edge i.
template <int SIMILARITY, int LOSS, typename T>
INLINE double add_up_row(const Scores<T> &s, int64_t i, Scratch<T> &x) {
  const int64_t count = padded<T>(s.columns);
  T *row = s.right + i * s.right_row, positive = x.positives[i], shift = positive, sum = 0, hits = 0;
  if (LOSS == RANKING) shift = positive - s.margin;
  if (LOSS == SOFTMAX) {
#pragma omp simd reduction(max : shift)
    for (int64_t j = 0; j < count; j++) shift = row[j] > shift ? row[j] : shift;
  }
#pragma omp simd reduction(+ : sum, hits)
  for (int64_t j = 0; j < count; j++) {
    const T found = term<LOSS>(row[j], shift);
    if (LOSS == RANKING) hits += row[j] < shift ? T(0) : T(1);
    if (keeps(SIMILARITY, LOSS)) row[j] = found;
    sum += found;
  }
  if (LOSS == SOFTMAX && !s.within()) sum += exp_negative(positive - shift);
  double loss = 0;
  const Row<T> side = finish<LOSS>(shift, sum, hits, positive, s.weights[i], s.share, loss);
  x.row_shift[i] = side.shift, x.row_factor[i] = side.factor, x.diagonal[i] += side.positive;
  return loss;
}

// The second pass over a row: scores become gradients of inner products. Up to `both` a score belongs to the column's edge
// as well as to the row's. Column `own` is the positive's, if any is.
template <int SIMILARITY, int LOSS, typename T>
INLINE void right_gradients(const Scores<T> &s, int64_t i, int64_t own, int64_t both, const Scratch<T> &x) {
  const bool norms = SIMILARITY != PRODUCT;
  const int64_t count = padded<T>(s.columns);
  const T shift = x.row_shift[i], factor = x.row_factor[i], scale = s.scale;
  const T diagonal = through<SIMILARITY>(x.diagonal[i], x.positives[i], scale);
  const T *column_shift = x.column_shift, *column_factor = x.column_factor, *kept = x.kept + i * both;
  T *row = s.right + i * s.right_row, *by_tails = s.within() ? s.by_tails : s.by_tails + s.m, sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < both; j++) {
    const T by_score = keeps(SIMILARITY, LOSS)
                           ? row[j] * factor + kept[j] * column_factor[j]
                           : slope<LOSS>(row[j], shift, factor) + slope<LOSS>(row[j], column_shift[j], column_factor[j]);
    const T g = j == own ? diagonal : through<SIMILARITY>(by_score, row[j], scale);
    row[j] = norms ? -2 * g : g;
    if (norms) by_tails[j] += g;
    if (norms) sum += g;
  }
#pragma omp simd reduction(+ : sum)
  for (int64_t j = both; j < count; j++) {
    const T by_score = keeps(SIMILARITY, LOSS) ? row[j] * factor : slope<LOSS>(row[j], shift, factor);
    const T g = j == own ? diagonal : through<SIMILARITY>(by_score, row[j], scale);
    row[j] = norms ? -2 * g : g;
    if (norms) by_tails[j] += g;
    if (norms) sum += g;
  }
  if (norms) s.by_heads[i] += sum;
  if (s.within()) return;
  s.positives[i] = norms ? -2 * diagonal : diagonal;
  if (norms) s.by_heads[i] += diagonal, s.by_tails[i] += diagonal;
}

// The same over a row of the left sides.
template <int SIMILARITY, int LOSS, typename T>
INLINE void left_gradients(const Scores<T> &s, int64_t i, const Scratch<T> &x) {
  const bool norms = SIMILARITY != PRODUCT;
  const int64_t across = padded<T>(s.m);
  const T *shift = x.column_shift, *factor = x.column_factor, scale = s.scale;
  T *row = s.left + i * s.left_row, *by_tails = s.by_tails, sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < across; j++) {
    const T by_score = keeps(SIMILARITY, LOSS) ? row[j] * factor[j] : slope<LOSS>(row[j], shift[j], factor[j]);
    const T g = through<SIMILARITY>(by_score, row[j], scale);
    row[j] = norms ? -2 * g : g;
    if (norms) by_tails[j] += g;
    if (norms) sum += g;
  }
  if (norms) s.by_heads[s.m + i] += sum;
}

// Returns the group's loss; inner products become its gradients by them.
template <int SIMILARITY, int LOSS, typename T>
INLINE double process(const Scores<T> &s, Scratch<T> &x) {
  double loss = 0;
  x.fit(s.m);
  score<SIMILARITY, LOSS>(s, x);
  for (int64_t i = 0; i < s.m; i++) x.diagonal[i] = 0;
  if (s.left) loss += add_up_columns<SIMILARITY, LOSS>(s, x);
  for (int64_t i = 0; i < s.m; i++) loss += add_up_row<SIMILARITY, LOSS>(s, i, x);
  const int64_t both = s.left && s.within() ? padded<T>(s.m) : 0;
  for (int64_t i = 0; i < s.m; i++) right_gradients<SIMILARITY, LOSS>(s, i, s.within() ? i : -1, both, x);
  for (int64_t i = 0; s.left && i < s.u; i++) left_gradients<SIMILARITY, LOSS>(s, i, x);
  return loss;
}

}  // namespace
