// What a step is given, and the memory that it works in, kept from batch to batch.

#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "rows.hpp"
#include "scores.hpp"
#include "transposes.hpp"
#include "updates.hpp"

namespace {

enum Outcome { MOVED, DIVERGED, MISSING };

// What native_kernels.py fills in; of heads first, then of tails. R relations, G groups of edges, each of one relation.
template <typename T>
struct Batch {
  T *vectors[2], *sums[2];                       // tables (., D) and their sums
  const int64_t *ends[2];                        // rows of the edges: those of group g from starts[g] on
  const int64_t *negatives[2];                   // (G, U)
  const T *decays[2];                            // of the edges; null: all are 1
  T *projections[2], *projection_sums[2];        // (., D, D), the same where one serves both sides; null: none
  T *translations, *translation_sums;            // (R, D)
  const int64_t *starts, *lengths, *relations;   // (G,)
  const int64_t *slots;                          // (R,) where a relation's projections lie; -1: it has none
  const uint8_t *fixed;                          // (R,) translations that do not move; null: all do
  const T *relation_weights, *weights;           // (R,), and of the edges; null: all are 1
  double *losses;                                // (G,)
  int64_t counts[2], held[2];                    // rows of the tables; whether their first component stays
  int64_t groups, uniform, dimension, within;    // within: edges of a group are each other's negatives
  int64_t similarity, loss, unit, tail_bias;     // unit: vectors are scaled to length one before they are multiplied
  double share, scale, margin, head_weight, pull, regularization, lr, relation_lr;
  int64_t missing[2];                            // a row that a table of so many rows lacks
};

// A group: edges [start, start + m) with u uniform negatives a side. Its rows among those of the batch begin at `at`: all of
// heads, positives first, then the same of tails.
struct Group {
  int64_t number, start, m, u, at;
  int64_t rows() const { return m + u; }
};

// One side of a group: its vectors and the gradients by them, which lie apart<T>(D) from each other.
template <typename T>
struct Side {
  Room<T> gathered, gradients, own, by_own, lengths, squares, by_squares;
  const T *projected;  // `gathered`, if nothing is done to them
  T *by_projected;     // `gradients` likewise

  // Positives and negatives alone are read as whole vectors, too.
  void fit(int64_t of_group, int64_t row) {
    const int64_t count = padded<T>(of_group) + Vector<T>::LANES;
    for (Room<T> *room : {&gathered, &gradients, &own, &by_own}) room->fit(count * row);
    for (Room<T> *room : {&lengths, &squares, &by_squares}) room->fit(count);
  }
};

// A relation: matrices as they are multiplied with rows of heads and of tails (turned) and with their gradients, if there
// are any, its translation of heads, and where the gradients by all of them are added up.
template <typename T>
struct Space {
  Room<T> copies[2], rooms[2];
  Panels<T> matrices[2], turned[2];
  const T *translation;
  T *by_matrices[2], *by_translation;
  bool has[2];

  // `matrix` (d, d), of rows that lie `next` apart; null: none
  void take(int side, const T *matrix, int64_t next, int64_t d) {
    has[side] = matrix;
    if (!matrix) return;
    const int64_t row = apart<T>(d);
    T *copy = copies[side].fit(row * row);
    for (int64_t i = 0; i < d; i++) std::memcpy(copy + i * row, matrix + i * next, d * sizeof(T));
    matrices[side] = as_it_lies((const T *)copy, row);
    turned[side] = turned_panels((const T *)copy, row, d, d, rooms[side]);
  }
};

template <typename T>
struct Memory {
  Side<T> sides[2];
  Space<T> space, joined_space;
  Scratch<T> scratch;
  Distinct relations, entities;
  std::vector<int64_t> rows, keys;  // of the batch; keys tell rows of two tables apart
  std::vector<int32_t> sum_of;      // of distinct entities that occur more than once: where their gradients add up
  Room<T> sums;
  Room<T> scores, left, positives, squares, weights, turned;  // of a group
  Room<T> by_projections[2], by_translations;               // of the distinct relations
  Room<T> joined, by_joined, translation, by_translation;
};

template <typename T>
void add(T *sum, const T *more, T factor, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; i++) sum[i] += factor * more[i];
}

}  // namespace
