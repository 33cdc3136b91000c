// A whole step: vectors of a batch are gathered, compared and moved, group by group, so that what belongs to a group stays
// in the nearer caches. A row moves with the last group that it occurs in, by all its gradients at once.

#pragma once

#include <algorithm>
#include <memory>

#include "contrast.hpp"
#include "projection.hpp"

namespace {

// N2 of Lacroix et al. (2018) over the vectors of the edges' ends; a bias is left out.
template <typename T>
double regularize(const Batch<T> &b, const Group &g, int side, const T *weights, Side<T> &of) {
  const int64_t d = b.dimension, row = apart<T>(d), first = b.tail_bias ? 1 : 0;
  const T *decays = b.decays[side] ? b.decays[side] + g.start : nullptr;
  double loss = 0;
  for (int64_t i = 0; i < g.m; i++) {
    const T *vector = of.gathered.data() + i * row + first, factor = weights[i] * (decays ? decays[i] : T(1));
    loss += b.regularization * (double)(factor * dot(vector, vector, d - first));
    add(of.gradients.data() + i * row + first, vector, (T)(2 * b.regularization) * factor, d - first);
  }
  return loss;
}

// Gradients become steps, but for rows that later groups have as well.
template <typename T>
void move_rows(const Batch<T> &b, const Group &g, Memory<T> &x) {
  const int64_t d = b.dimension, row = apart<T>(d);
  for (int64_t i = 0; i < 2 * g.rows(); i++) {
    const int side = i >= g.rows();
    if (i + AHEAD < 2 * g.rows())  // rows were read a moment ago; their sums were not
      __builtin_prefetch(b.sums[i + AHEAD >= g.rows()] + x.rows[g.at + i + AHEAD], 1);
    const int64_t entity = x.entities.of[g.at + i], at = x.rows[g.at + i];
    T *gradient = x.sides[side].gradients.data() + (i - side * g.rows()) * row;
    if (b.held[side]) gradient[0] = 0;
    if (x.sum_of[entity] >= 0) {
      T *sum = x.sums.data() + x.sum_of[entity] * row;
      add(sum, gradient, T(1), d);
      if (--x.entities.times[entity]) continue;
      gradient = sum;
    }
    step_row(b.vectors[side] + at * d, b.sums[side][at], gradient, d, (T)b.lr);
  }
}

// False where the loss is not finite.
template <typename T>
bool step_group(Batch<T> &b, const Group &g, Space<T> &space, Memory<T> &x) {
  const T weight = b.relation_weights[b.relations[g.number]];
  T *weights = x.weights.fit(g.m);
  for (int64_t i = 0; i < g.m; i++) weights[i] = b.weights ? weight * b.weights[g.start + i] : weight;
  for (int side = 0; side < 2; side++) {
    gather(b.vectors[side], x.rows.data() + g.at + side * g.rows(), g.rows(), b.dimension, x.sides[side].gathered.data(),
           apart<T>(b.dimension));
    project(b, g, side, space, x);
    measure(b, g.rows(), x.sides[side]);
  }
  b.losses[g.number] = contrast(b, g, x);
  for (int side = 0; side < 2; side++) {
    measure_back(b, g.rows(), x.sides[side]);
    project_back(b, g, side, space, x);
    if (b.regularization != 0) b.losses[g.number] += regularize(b, g, side, weights, x.sides[side]);
  }
  if (!std::isfinite(b.losses[g.number])) return false;
  move_rows(b, g, x);
  return true;
}

// Group by group; `space_of` says which relation's it is. False where a loss is not finite.
template <typename T, typename SpaceOf>
bool step_each(Batch<T> &b, Memory<T> &x, SpaceOf space_of) {
  for (int64_t i = 0, at = 0; i < b.groups; i++) {
    const Group g = {i, b.starts[i], b.lengths[i], b.uniform, at};
    at += 2 * g.rows();
    if (!step_group(b, g, space_of(i), x)) return false;
  }
  return true;
}

// Where the gradients by the distinct relation `number` are added up, and its projection; null: none.
template <typename T>
T *by_projection(const Batch<T> &b, int64_t number, int side, Memory<T> &x) {
  const int64_t square = b.dimension * apart<T>(b.dimension);
  return x.by_projections[b.projections[0] == b.projections[1] ? 0 : side].data() + number * square;
}
template <typename T>
T *projection(const Batch<T> &b, int64_t relation, int side) {
  const int64_t slot = b.slots[relation], square = b.dimension * b.dimension;
  return slot < 0 ? nullptr : b.projections[side] + slot * square;
}

template <typename T>
bool step_groups(Batch<T> &b, Memory<T> &x) {
  const int64_t d = b.dimension;
  int64_t before = -1;
  return step_each(b, x, [&](int64_t i) -> Space<T> & {
    const int64_t number = x.relations.of[i], relation = b.relations[i];
    for (int side = 0; number != before && side < 2; side++) {
      x.space.take(side, projection(b, relation, side), d, d);
      x.space.by_matrices[side] = by_projection(b, number, side, x);
    }
    before = number;
    x.space.translation = b.translations + relation * d;
    x.space.by_translation = x.by_translations.data() + number * d;
    return x.space;
  });
}

// Inner products of both sides' projections are those of one side's: (L h + r) (R t) = (R^T L h + R^T r) t. For a relation
// with more rows than the matrices have, that is half of the work.
template <typename T>
bool can_join(const Batch<T> &b, const Memory<T> &x) {
  const bool one = x.relations.size() == 1, many = (int64_t)x.rows.size() > 4 * b.dimension;
  return b.similarity == PRODUCT && !b.unit && one && many && b.slots[b.relations[0]] >= 0;
}

template <typename T>
void join_back(const Batch<T> &b, const T *left, const T *right, const T *own, Memory<T> &x) {
  const int64_t d = b.dimension, row = apart<T>(d);
  T *by_joined = x.by_joined.data(), *by_left = by_projection(b, 0, 0, x), *by_right = by_projection(b, 0, 1, x);
  const T *by_translation = x.by_translation.data();
  const Panels<T> by_turned = turned_panels((const T *)by_joined, row, d, d, x.turned);
  for (int64_t i = 0; i < d; i++) {
    x.by_translations.data()[i] += dot(right + i * row, by_translation, d);
    add(by_right + i * row, by_translation, own[i], d);
  }
  if (by_left != by_right) {
    multiply(rows(right, row), as_it_lies((const T *)by_joined, row), by_left, row, d, d, d, true);
    multiply(rows(left, row), by_turned, by_right, row, d, d, d, true);
    return;
  }
  for (int64_t j = 0; j < d; j += PANEL<T>)  // M dJ + M dJ^T is one product
    for (int64_t i = 0; i < d; i++)
      add(by_joined + i * row + j, by_turned.data + j / PANEL<T> * by_turned.next + i * by_turned.row, T(1),
          d - j < PANEL<T> ? d - j : PANEL<T>);
  multiply(rows(left, row), as_it_lies((const T *)by_joined, row), by_left, row, d, d, d, true);
}

template <typename T>
bool step_joined(Batch<T> &b, Memory<T> &x) {
  const int64_t d = b.dimension, row = apart<T>(d), relation = b.relations[0];
  T *joined = x.joined.fit(row * row), *by_joined = x.by_joined.fit(row * row);
  T *translation = x.translation.fit(d), *by_translation = x.by_translation.fit(d);
  for (int side = 0; side < 2; side++) x.space.take(side, projection(b, relation, side), d, d);
  const T *left = x.space.matrices[0].data, *right = x.space.matrices[1].data, *own = b.translations + relation * d;
  multiply(turned(right, row), as_it_lies(left, row), joined, row, d, d, d, false);
  for (T *zeros : {translation, by_translation}) std::memset(zeros, 0, d * sizeof(T));
  for (int64_t i = 0; i < d; i++) add(translation, right + i * row, own[i], d);
  std::memset(by_joined, 0, d * row * sizeof(T));
  Space<T> &space = x.joined_space;
  space.take(0, joined, row, d);
  space.take(1, (const T *)nullptr, 0, d);
  space.translation = translation;
  space.by_matrices[0] = by_joined, space.by_translation = by_translation;
  if (!step_each(b, x, [&](int64_t) -> Space<T> & { return space; })) return false;
  join_back(b, left, right, own, x);
  return true;
}

// pull * edges * ||M - I||^2 over the projections of the relation that has the distinct number `number`.
template <typename T>
void pull(const Batch<T> &b, int64_t number, Memory<T> &x) {
  const int64_t d = b.dimension, row = apart<T>(d), relation = b.relations[x.relations.firsts[number]];
  const int sides = b.projections[0] == b.projections[1] ? 1 : 2;
  int64_t edges = 0;
  double distance = 0;
  for (int64_t i = 0; i < b.groups; i++) edges += x.relations.of[i] == number ? b.lengths[i] : 0;
  for (int side = 0; side < sides; side++) {
    const T *matrix = projection(b, relation, side);
    if (!matrix) return;
    T *by_matrix = by_projection(b, number, side, x);
    for (int64_t i = 0; i < d; i++) {
      T sum = 0;
      for (int64_t j = 0; j < d; j++) {
        const T offset = matrix[i * d + j] - (i == j ? 1 : 0);
        by_matrix[i * row + j] += (T)(2 * b.pull * edges) * offset;
        sum += offset * offset;
      }
      distance += sum;
    }
  }
  for (int64_t i = 0; i < b.groups; i++)
    if (x.relations.of[i] == number) b.losses[i] += b.pull * b.lengths[i] * distance;
}

template <typename T>
void move_relations(const Batch<T> &b, Memory<T> &x) {
  const int64_t d = b.dimension, row = apart<T>(d);
  const int sides = b.projections[0] == b.projections[1] ? 1 : 2;
  for (int64_t number = 0; number < x.relations.size(); number++) {
    const int64_t relation = b.relations[x.relations.firsts[number]], slot = b.slots[relation];
    if (!b.fixed || !b.fixed[relation])
      step_components(b.translations + relation * d, b.translation_sums + relation * d, x.by_translations.data() + number * d, d,
                      (T)b.relation_lr);
    for (int side = 0; slot >= 0 && side < sides; side++)
      for (int64_t i = 0; i < d; i++)
        step_components(b.projections[side] + (slot * d + i) * d, b.projection_sums[side] + (slot * d + i) * d,
                        by_projection(b, number, side, x) + i * row, d, (T)b.relation_lr);
  }
}

// Looks the rows of a batch up: false where a table lacks one.
template <typename T>
bool find_rows(Batch<T> &b, Memory<T> &x) {
  x.rows.clear();
  x.keys.clear();
  const bool one_table = b.vectors[0] == b.vectors[1];
  for (int64_t i = 0; i < b.groups; i++)
    for (int side = 0; side < 2; side++) {
      const int64_t *ends = b.ends[side] + b.starts[i], *negatives = b.negatives[side] + i * b.uniform;
      x.rows.insert(x.rows.end(), ends, ends + b.lengths[i]);
      x.rows.insert(x.rows.end(), negatives, negatives + b.uniform);
      for (size_t j = x.keys.size(); j < x.rows.size(); j++) {
        const int64_t row = x.rows[j];
        if (row < 0 || row >= b.counts[side]) {
          b.missing[0] = row, b.missing[1] = b.counts[side];
          return false;
        }
        x.keys.push_back(one_table ? row : 2 * row + side);
      }
    }
  x.entities.find(x.keys.data(), x.keys.size());
  return true;
}

template <typename T>
void fit(const Batch<T> &b, Memory<T> &x) {
  const int64_t d = b.dimension, row = apart<T>(d), relations = x.relations.size();
  int64_t edges = 0, repeated = 0;
  for (int64_t i = 0; i < b.groups; i++) edges = b.lengths[i] > edges ? b.lengths[i] : edges;
  for (Side<T> &side : x.sides) side.fit(edges + b.uniform, row);
  x.sum_of.resize(x.entities.size());
  for (int64_t i = 0; i < x.entities.size(); i++) x.sum_of[i] = x.entities.times[i] > 1 ? repeated++ : -1;
  std::fill_n(x.sums.fit(repeated * row), repeated * row, T(0));  // none, perhaps, and no memory for them
  std::memset(x.by_translations.fit(relations * d), 0, relations * d * sizeof(T));
  for (int side = 0; b.slots[b.relations[0]] >= 0 && side < 2; side++)
    std::memset(x.by_projections[side].fit(relations * d * row), 0, relations * d * row * sizeof(T));
}

template <typename T>
Outcome train(Batch<T> &b, Memory<T> &x) {
  if (!find_rows(b, x)) return MISSING;
  x.relations.find(b.relations, b.groups);
  fit(b, x);
  if (!(can_join(b, x) ? step_joined(b, x) : step_groups(b, x))) return DIVERGED;
  for (int64_t number = 0; b.pull != 0 && number < x.relations.size(); number++) pull(b, number, x);
  move_relations(b, x);
  return MOVED;
}

template <typename T>
Outcome train(Batch<T> &b) {
  static thread_local std::unique_ptr<Memory<T>> memory(new Memory<T>);  // a pointer: threads' own addresses cost a call
  return train(b, *memory);
}

}  // namespace
