// The whole of step.gradients, group by group: what belongs to a group stays in the nearer caches from the projection
// to the gradients.

#pragma once

#include "products.hpp"
#include "scores.hpp"

namespace {

// Letters and shapes as in layout.py and step.py. left, right: null where a side has no projection.
template <typename T>
struct Step {
  const T *vectors, *left, *right, *translations, *weights;
  const int64_t *counts;
  T *by_vectors, *by_left, *by_right, *by_translations;
  double *losses;
  int64_t relations, groups, chunks, size, uniform, dimension;
  T share, scale, margin, head_weight;
  int similarity, loss, unit;  // unit: vectors are scaled to length one before they are multiplied
};

const double SMALLEST_NORM = 1e-12;

// A group's rows of one side, positives and uniform negatives, and their gradients: one after the other in own memory, or
// where the batch has them, if nothing is done to them on the way.
template <typename T>
struct Side {
  const T *positives, *negatives;
  T *by_positives, *by_negatives;
  std::vector<T> projected, gradients, lengths, squares, by_squares;
  void fit(int64_t rows, int64_t dimension) {
    projected.resize(rows * dimension);
    gradients.resize(rows * dimension);
    for (auto *v : {&lengths, &squares, &by_squares}) v->resize(rows);
  }
};

template <typename T>
struct Memory {
  Side<T> head, tail;
  std::vector<T> within, right, left, apart, turned_left, turned_right, joined, by_joined;
  Scratch<T> scratch;
};

template <int SIMILARITY, typename T>
double process_chunk(int loss, const Chunk<T> &c, Scratch<T> &s) {
  if (loss == SOFTMAX) return process<SIMILARITY, SOFTMAX>(c, s);
  if (loss == LOGISTIC) return process<SIMILARITY, LOGISTIC>(c, s);
  return process<SIMILARITY, RANKING>(c, s);
}

template <typename T>
double process_chunk(int similarity, int loss, const Chunk<T> &c, Scratch<T> &s) {
  if (similarity == PRODUCT) return process_chunk<PRODUCT>(loss, c, s);
  if (similarity == SQUARED_L2) return process_chunk<SQUARED_L2>(loss, c, s);
  return process_chunk<L2>(loss, c, s);
}

template <typename T>
Matrix<T> rows(const T *data, int64_t width) { return {data, width, 1}; }
template <typename T>
Matrix<T> turned(const T *data, int64_t width) { return {data, 1, width}; }

template <typename T>
void turn_whole(const T *matrix, int64_t d, std::vector<T> &out) {
  out.resize(d * d);
  turn(matrix, d, d, d, out.data(), d);
}

// One side's rows of a group lie in two places: positives and uniform negatives.
struct Piece {
  int64_t first, count, at;  // row in `vectors`, how many, row within the side
};

template <typename T>
void place_apart(Side<T> &side, int64_t negatives_at) {
  side.positives = side.projected.data(), side.negatives = side.positives + negatives_at;
  side.by_positives = side.gradients.data(), side.by_negatives = side.by_positives + negatives_at;
}

template <typename T>
void place_in_batch(const Step<T> &s, const Piece &positives, const Piece &negatives, Side<T> &side) {
  const int64_t p = positives.first * s.dimension, n = negatives.first * s.dimension;
  side.positives = s.vectors + p, side.negatives = s.vectors + n;
  side.by_positives = s.by_vectors + p, side.by_negatives = s.by_vectors + n;
}

template <typename T>
void project(const Step<T> &s, const Piece &piece, const T *matrix, const T *translation, Side<T> &side) {
  const int64_t d = s.dimension;
  const T *vectors = s.vectors + piece.first * d;
  T *out = side.projected.data() + piece.at * d;
  if (matrix) multiply(rows(vectors, d), rows(matrix, d), out, d, piece.count, d, d, false);
  else std::memcpy(out, vectors, piece.count * d * sizeof(T));
  for (int64_t i = 0; translation && i < piece.count; i++)
    for (int64_t j = 0; j < d; j++) out[i * d + j] += translation[j];
}

template <typename T>
void project_back(const Step<T> &s, const Piece &piece, const T *matrix, T *by_matrix, Side<T> &side) {
  const int64_t d = s.dimension;
  const T *gradients = side.gradients.data() + piece.at * d;
  T *out = s.by_vectors + piece.first * d;
  if (!piece.count) return;
  if (!matrix) {
    std::memcpy(out, gradients, piece.count * d * sizeof(T));
    return;
  }
  multiply(rows(gradients, d), rows(matrix, d), out, d, piece.count, d, d, false);
  multiply(turned(gradients, d), rows(s.vectors + piece.first * d, d), by_matrix, d, d, d, piece.count, true);
}

template <typename T>
T dot(const T *a, const T *b, int64_t count) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) sum += a[i] * b[i];
  return sum;
}

// Squared lengths for distances; for cosines rows are scaled to length one.
template <typename T>
void measure(const Step<T> &s, int64_t count, Side<T> &side) {
  const int64_t d = s.dimension;
  if (s.similarity == PRODUCT && !s.unit) return;
  for (int64_t i = 0; i < count; i++) {
    T *row = side.projected.data() + i * d;
    side.squares[i] = dot(row, row, d);
    side.by_squares[i] = 0;
    if (!s.unit) continue;
    const T length = std::sqrt(side.squares[i]);
    side.lengths[i] = length < T(SMALLEST_NORM) ? T(SMALLEST_NORM) : length;
    const T factor = 1 / side.lengths[i];
    for (int64_t j = 0; j < d; j++) row[j] *= factor;
  }
}

template <typename T>
void measure_back(const Step<T> &s, int64_t count, Side<T> &side) {
  const int64_t d = s.dimension;
  if (s.similarity == PRODUCT && !s.unit) return;
  for (int64_t i = 0; i < count; i++) {
    const T *row = side.projected.data() + i * d;
    T *gradient = side.gradients.data() + i * d, along = 2 * side.by_squares[i], factor = 1;
    if (s.unit) {
      along = side.lengths[i] > T(SMALLEST_NORM) ? -dot(row, gradient, d) : 0;
      factor = 1 / side.lengths[i];
    }
    for (int64_t j = 0; j < d; j++) gradient[j] = (gradient[j] + along * row[j]) * factor;
  }
}

// Heads times tails of a chunk of k edges. Chunks of one edge, without batch negatives, are too small for tiles.
template <typename T>
void multiply_chunk(const T *heads, const T *tails, int64_t k, int64_t d, T *within) {
  if (k == 1) *within = dot(heads, tails, d);
  else multiply(rows(heads, d), turned(tails, d), within, k, k, k, d, false);
}

template <typename T>
void multiply_chunk_back(const T *within, const T *heads, const T *tails, int64_t k, int64_t d,
                              T *by_heads, T *by_tails) {
  if (k > 1) {
    multiply(rows(within, k), rows(tails, d), by_heads, d, k, d, k, false);
    multiply(turned(within, k), rows(heads, d), by_tails, d, k, d, k, false);
    return;
  }
  for (int64_t j = 0; j < d; j++) {
    by_heads[j] = *within * tails[j];
    by_tails[j] = *within * heads[j];
  }
}

template <typename T>
T squared_distance(const T *a, const T *b, int64_t count) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

template <typename T>
double contrast(const Step<T> &s, int64_t group, Memory<T> &m) {
  const int64_t d = s.dimension, k = s.size, u = s.uniform, n = s.chunks * k;
  const T *heads = m.head.positives, *tails = m.tail.positives;
  const T *head_negatives = m.head.negatives, *tail_negatives = m.tail.negatives;
  T *by_heads = m.head.by_positives, *by_tails = m.tail.by_positives;
  double loss = 0;
  for (int64_t i = 0; s.similarity != PRODUCT && i < n; i++)
    m.apart[i] = squared_distance(heads + i * d, tails + i * d, d);
  multiply(rows(heads, d), turned(tail_negatives, d), m.right.data(), u, n, u, d, false);
  if (s.head_weight != 0) multiply(rows(tails, d), turned(head_negatives, d), m.left.data(), u, n, u, d, false);
  for (int64_t c = 0; c < s.chunks; c++) {
    const int64_t at = c * k;
    T *within = m.within.data();
    multiply_chunk(heads + at * d, tails + at * d, k, d, within);
    loss += process_chunk<T>(s.similarity, s.loss, {within, m.right.data() + at * u, m.left.data() + at * u, s.weights + group * n + at,
                     m.apart.data() + at, m.head.squares.data() + at, m.tail.squares.data() + at, m.head.squares.data() + n,
                     m.tail.squares.data() + n, m.head.by_squares.data() + at, m.tail.by_squares.data() + at,
                     m.head.by_squares.data() + n, m.tail.by_squares.data() + n, k, s.counts[group * s.chunks + c], u,
                     s.share, s.scale, s.margin, s.head_weight},
                    m.scratch);
    multiply_chunk_back(within, heads + at * d, tails + at * d, k, d, by_heads + at * d, by_tails + at * d);
  }
  if (!u) return loss;
  multiply(rows(m.right.data(), u), rows(tail_negatives, d), by_heads, d, n, d, u, true);
  multiply(turned(m.right.data(), u), rows(heads, d), m.tail.by_negatives, d, u, d, n, false);
  if (s.head_weight == 0) {
    std::memset(m.head.by_negatives, 0, u * d * sizeof(T));
    return loss;
  }
  multiply(rows(m.left.data(), u), rows(head_negatives, d), by_tails, d, n, d, u, true);
  multiply(turned(m.left.data(), u), rows(tails, d), m.head.by_negatives, d, u, d, n, false);
  return loss;
}

template <typename T>
void step_group(const Step<T> &s, int64_t group, Memory<T> &m) {
  const int64_t d = s.dimension, n = s.chunks * s.size, u = s.uniform, half = s.groups * (n + u);
  const int64_t relation = s.relations == 1 ? 0 : group, square = relation * d * d;
  const T *left = s.left ? s.left + square : nullptr, *right = s.right ? s.right + square : nullptr;
  const Piece heads = {group * n, n, 0}, head_negatives = {s.groups * n + group * u, u, n};
  const Piece tails = {half + heads.first, n, 0}, tail_negatives = {half + head_negatives.first, u, n};
  if (group == 0 || relation) {
    if (left) turn_whole(left, d, m.turned_left);
    if (right) turn_whole(right, d, m.turned_right);
  }
  const T *translation = s.translations + relation * d, *none = nullptr;
  place_apart(m.head, n * d);
  for (const Piece &piece : {heads, head_negatives})
    project(s, piece, left ? m.turned_left.data() : none, translation, m.head);
  const bool in_place = !right && s.similarity == PRODUCT && !s.unit;
  if (in_place) place_in_batch(s, tails, tail_negatives, m.tail);
  else place_apart(m.tail, n * d);
  for (const Piece &piece : {tails, tail_negatives})
    if (!in_place) project(s, piece, right ? m.turned_right.data() : none, none, m.tail);
  for (Side<T> *side : {&m.head, &m.tail}) measure(s, n + u, *side);
  s.losses[group] = contrast(s, group, m);
  for (Side<T> *side : {&m.head, &m.tail}) measure_back(s, n + u, *side);
  T *by_translation = s.by_translations + relation * d;
  for (int64_t i = 0; i < n + u; i++)
    for (int64_t j = 0; j < d; j++) by_translation[j] += m.head.gradients[i * d + j];
  for (const Piece &piece : {heads, head_negatives}) project_back(s, piece, left, s.by_left + square, m.head);
  for (const Piece &piece : {tails, tail_negatives})
    if (!in_place) project_back(s, piece, right, s.by_right + square, m.tail);
}

template <typename T>
void step_groups(const Step<T> &s, Memory<T> &m) {
  const int64_t n = s.chunks * s.size;
  for (Side<T> *side : {&m.head, &m.tail}) side->fit(n + s.uniform, s.dimension);
  m.within.resize(s.size * s.size);
  m.right.resize(n * s.uniform);
  m.left.resize(n * s.uniform);
  m.apart.resize(n);
  m.scratch.fit(s.size);
  for (int64_t group = 0; group < s.groups; group++) step_group(s, group, m);
}

// Inner products of both sides' projections are those of one side's: (L h + r) (R t) = (R^T L h + R^T r) t. For a relation
// with more rows than the matrices have, that is half of the work.
template <typename T>
bool can_join(const Step<T> &s) {
  const int64_t rows = s.groups * (s.chunks * s.size + s.uniform);
  return s.similarity == PRODUCT && !s.unit && s.left && s.relations == 1 && rows > 2 * s.dimension;
}

template <typename T>
void step_joined(const Step<T> &s, Memory<T> &m) {
  const int64_t d = s.dimension;
  for (auto *v : {&m.joined, &m.by_joined}) v->assign(d * (d + 1), T(0));  // the matrix, then the translation
  T *translation = m.joined.data() + d * d, *by_translation = m.by_joined.data() + d * d;
  multiply(turned(s.right, d), rows(s.left, d), m.joined.data(), d, d, d, d, false);
  for (int64_t i = 0; i < d; i++)
    for (int64_t j = 0; j < d; j++) translation[j] += s.translations[i] * s.right[i * d + j];
  Step<T> one = s;
  one.left = m.joined.data(), one.right = nullptr, one.translations = translation;
  one.by_left = m.by_joined.data(), one.by_translations = by_translation;
  step_groups(one, m);
  multiply(rows(s.right, d), rows((const T *)one.by_left, d), s.by_left, d, d, d, d, true);
  multiply(rows(s.left, d), turned((const T *)one.by_left, d), s.by_right, d, d, d, d, true);
  for (int64_t i = 0; i < d; i++) {
    s.by_translations[i] += dot(s.right + i * d, by_translation, d);
    for (int64_t j = 0; j < d; j++) s.by_right[i * d + j] += s.translations[i] * by_translation[j];
  }
}

template <typename T>
void step(const Step<T> &s) {
  static thread_local Memory<T> m;
  if (can_join(s)) step_joined(s, m);
  else step_groups(s, m);
}

}  // namespace
