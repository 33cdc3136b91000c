// The whole of step.gradients, group by group: what belongs to a group stays in the nearer caches from the projection
// to the gradients. float and AVX-512 only; elsewhere step.py does the same with torch's matrix products.

#pragma once

#include "products.hpp"
#include "scores.hpp"

namespace {

// Letters and shapes as in layout.py and step.py. left, right: null for relations without projections.
struct Step {
  const float *vectors, *left, *right, *translations, *weights;
  const int64_t *counts;
  float *by_vectors, *by_left, *by_right, *by_translations;
  double *losses;
  int64_t relations, groups, chunks, size, uniform, dimension;
  float share, scale, margin, head_weight;
  int similarity, loss, unit;  // unit: vectors are scaled to length one before they are multiplied
};

const float SMALLEST_NORM = 1e-12f;

// A group's rows of one side: positives, then uniform negatives.
struct Side {
  std::vector<float> projected, gradients, lengths, squares, by_squares;
  void fit(int64_t rows, int64_t dimension) {
    projected.resize(rows * dimension);
    gradients.resize(rows * dimension);
    for (auto *v : {&lengths, &squares, &by_squares}) v->resize(rows);
  }
};

struct Memory {
  Side head, tail;
  std::vector<float> within, right, left, apart, turned_left, turned_right;
  Scratch<float> scratch;
};

using Process = double (*)(const Chunk<float> &, Scratch<float> &);
template <int SIMILARITY, int LOSS>
WIDE double process_wide(const Chunk<float> &c, Scratch<float> &s) {
  return process<SIMILARITY, LOSS>(c, s);
}
#define LOSSES(S) {process_wide<S, SOFTMAX>, process_wide<S, LOGISTIC>, process_wide<S, RANKING>}
const Process PROCESSES[3][3] = {LOSSES(PRODUCT), LOSSES(SQUARED_L2), LOSSES(L2)};

Matrix rows(const float *data, int64_t width) { return {data, width, 1}; }
Matrix turned(const float *data, int64_t width) { return {data, 1, width}; }

void turn(const float *matrix, int64_t d, std::vector<float> &out) {
  out.resize(d * d);
  for (int64_t i = 0; i < d; i++)
    for (int64_t j = 0; j < d; j++) out[j * d + i] = matrix[i * d + j];
}

// One side's rows of a group lie in two places: positives and uniform negatives.
struct Piece {
  int64_t first, count, at;  // row in `vectors`, how many, row within the side
};

WIDE void project(const Step &s, const Piece &piece, const float *matrix, const float *translation, Side &side) {
  const int64_t d = s.dimension;
  const float *vectors = s.vectors + piece.first * d;
  float *out = side.projected.data() + piece.at * d;
  if (matrix) multiply(rows(vectors, d), rows(matrix, d), out, d, piece.count, d, d, false);
  else std::memcpy(out, vectors, piece.count * d * sizeof(float));
  for (int64_t i = 0; translation && i < piece.count; i++)
    for (int64_t j = 0; j < d; j++) out[i * d + j] += translation[j];
}

WIDE void project_back(const Step &s, const Piece &piece, const float *matrix, float *by_matrix, Side &side) {
  const int64_t d = s.dimension;
  const float *gradients = side.gradients.data() + piece.at * d;
  float *out = s.by_vectors + piece.first * d;
  if (!piece.count) return;
  if (!matrix) {
    std::memcpy(out, gradients, piece.count * d * sizeof(float));
    return;
  }
  multiply(rows(gradients, d), rows(matrix, d), out, d, piece.count, d, d, false);
  multiply(turned(gradients, d), rows(s.vectors + piece.first * d, d), by_matrix, d, d, d, piece.count, true);
}

WIDE float dot(const float *a, const float *b, int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) sum += a[i] * b[i];
  return sum;
}

// Squared lengths for distances; for cosines rows are scaled to length one.
WIDE void measure(const Step &s, int64_t count, Side &side) {
  const int64_t d = s.dimension;
  for (int64_t i = 0; i < count; i++) {
    float *row = side.projected.data() + i * d;
    side.squares[i] = dot(row, row, d);
    side.by_squares[i] = 0;
    if (!s.unit) continue;
    const float length = std::sqrt(side.squares[i]);
    side.lengths[i] = length < SMALLEST_NORM ? SMALLEST_NORM : length;
    const float factor = 1 / side.lengths[i];
    for (int64_t j = 0; j < d; j++) row[j] *= factor;
  }
}

WIDE void measure_back(const Step &s, int64_t count, Side &side) {
  const int64_t d = s.dimension;
  for (int64_t i = 0; i < count; i++) {
    const float *row = side.projected.data() + i * d;
    float *gradient = side.gradients.data() + i * d, along = 2 * side.by_squares[i], factor = 1;
    if (s.unit) {
      along = side.lengths[i] > SMALLEST_NORM ? -dot(row, gradient, d) : 0;
      factor = 1 / side.lengths[i];
    }
    for (int64_t j = 0; j < d; j++) gradient[j] = (gradient[j] + along * row[j]) * factor;
  }
}

// Heads times tails of a chunk of k edges. Chunks of one edge, without batch negatives, are too small for tiles.
WIDE void multiply_chunk(const float *heads, const float *tails, int64_t k, int64_t d, float *within) {
  if (k == 1) *within = dot(heads, tails, d);
  else multiply(rows(heads, d), turned(tails, d), within, k, k, k, d, false);
}

WIDE void multiply_chunk_back(const float *within, const float *heads, const float *tails, int64_t k, int64_t d,
                              float *by_heads, float *by_tails) {
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

WIDE float squared_distance(const float *a, const float *b, int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

WIDE double contrast(const Step &s, int64_t group, Memory &m) {
  const int64_t d = s.dimension, k = s.size, u = s.uniform, n = s.chunks * k;
  const float *heads = m.head.projected.data(), *tails = m.tail.projected.data();
  float *by_heads = m.head.gradients.data(), *by_tails = m.tail.gradients.data();
  const Process process = PROCESSES[s.similarity][s.loss];
  double loss = 0;
  for (int64_t i = 0; s.similarity != PRODUCT && i < n; i++)
    m.apart[i] = squared_distance(heads + i * d, tails + i * d, d);
  multiply(rows(heads, d), turned(tails + n * d, d), m.right.data(), u, n, u, d, false);
  if (s.head_weight != 0) multiply(rows(tails, d), turned(heads + n * d, d), m.left.data(), u, n, u, d, false);
  for (int64_t c = 0; c < s.chunks; c++) {
    const int64_t at = c * k;
    float *within = m.within.data();
    multiply_chunk(heads + at * d, tails + at * d, k, d, within);
    loss += process({within, m.right.data() + at * u, m.left.data() + at * u, s.weights + group * n + at,
                     m.apart.data() + at, m.head.squares.data() + at, m.tail.squares.data() + at, m.head.squares.data() + n,
                     m.tail.squares.data() + n, m.head.by_squares.data() + at, m.tail.by_squares.data() + at,
                     m.head.by_squares.data() + n, m.tail.by_squares.data() + n, k, s.counts[group * s.chunks + c], u,
                     s.share, s.scale, s.margin, s.head_weight},
                    m.scratch);
    multiply_chunk_back(within, heads + at * d, tails + at * d, k, d, by_heads + at * d, by_tails + at * d);
  }
  if (!u) return loss;
  multiply(rows(m.right.data(), u), rows(tails + n * d, d), by_heads, d, n, d, u, true);
  multiply(turned(m.right.data(), u), rows(heads, d), by_tails + n * d, d, u, d, n, false);
  if (s.head_weight == 0) {
    std::memset(by_heads + n * d, 0, u * d * sizeof(float));
    return loss;
  }
  multiply(rows(m.left.data(), u), rows(heads + n * d, d), by_tails, d, n, d, u, true);
  multiply(turned(m.left.data(), u), rows(tails, d), by_heads + n * d, d, u, d, n, false);
  return loss;
}

WIDE void step_group(const Step &s, int64_t group, Memory &m) {
  const int64_t d = s.dimension, n = s.chunks * s.size, u = s.uniform, half = s.groups * (n + u);
  const int64_t relation = s.relations == 1 ? 0 : group, square = relation * d * d;
  const float *left = s.left ? s.left + square : nullptr, *right = s.right ? s.right + square : nullptr;
  const Piece heads = {group * n, n, 0}, head_negatives = {s.groups * n + group * u, u, n};
  const Piece tails = {half + heads.first, n, 0}, tail_negatives = {half + head_negatives.first, u, n};
  if (left && (group == 0 || relation)) {
    turn(left, d, m.turned_left);
    turn(right, d, m.turned_right);
  }
  for (const Piece &piece : {heads, head_negatives})
    project(s, piece, left ? m.turned_left.data() : nullptr, s.translations + relation * d, m.head);
  for (const Piece &piece : {tails, tail_negatives})
    project(s, piece, right ? m.turned_right.data() : nullptr, nullptr, m.tail);
  for (Side *side : {&m.head, &m.tail}) measure(s, n + u, *side);
  s.losses[group] = contrast(s, group, m);
  for (Side *side : {&m.head, &m.tail}) measure_back(s, n + u, *side);
  float *by_translation = s.by_translations + relation * d;
  for (int64_t i = 0; i < n + u; i++)
    for (int64_t j = 0; j < d; j++) by_translation[j] += m.head.gradients[i * d + j];
  for (const Piece &piece : {heads, head_negatives}) project_back(s, piece, left, s.by_left + square, m.head);
  for (const Piece &piece : {tails, tail_negatives}) project_back(s, piece, right, s.by_right + square, m.tail);
}

void step(const Step &s) {
  static thread_local Memory m;
  const int64_t n = s.chunks * s.size;
  for (Side *side : {&m.head, &m.tail}) side->fit(n + s.uniform, s.dimension);
  m.within.resize(s.size * s.size);
  m.right.resize(n * s.uniform);
  m.left.resize(n * s.uniform);
  m.apart.resize(n);
  m.scratch.fit(s.size);
  for (int64_t group = 0; group < s.groups; group++) step_group(s, group, m);
}

}  // namespace
