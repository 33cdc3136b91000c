// Attention of ads to lists, and what a row's tokens say of each other: forward, and backward in closed form.
// kernels.py says what each argument is.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

// Eight numbers, in as many registers as that takes: written out, since a compiler leaves some of these sums scalar.
template <typename T>
struct Eight {
  typedef T Lanes __attribute__((vector_size(8 * sizeof(T)), aligned(sizeof(T)), may_alias));
  typedef T Half __attribute__((vector_size(4 * sizeof(T))));

  static T sum(Lanes v) {
    const Half half = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
    return (half[0] + half[1]) + (half[2] + half[3]);
  }
};

template <typename T>
inline T dot(const T *a, const T *b, int64_t width) {
  using Lanes = typename Eight<T>::Lanes;
  Lanes first{}, second{};
  int64_t d = 0;
  for (; d + 16 <= width; d += 16) {
    first += *(const Lanes *)(a + d) * *(const Lanes *)(b + d);
    second += *(const Lanes *)(a + d + 8) * *(const Lanes *)(b + d + 8);
  }
  if (d + 8 <= width) first += *(const Lanes *)(a + d) * *(const Lanes *)(b + d), d += 8;
  T sum = Eight<T>::sum(first + second);
  for (; d < width; ++d) sum += a[d] * b[d];
  return sum;
}

template <typename T>
inline void add(T *to, const T *from, T factor, int64_t width) {
  using Lanes = typename Eight<T>::Lanes;
  int64_t d = 0;
  for (; d + 8 <= width; d += 8) *(Lanes *)(to + d) += factor * *(const Lanes *)(from + d);
  for (; d < width; ++d) to[d] += factor * from[d];
}

// In place, and scores of minus infinity get the weight 0. NaN stays NaN.
template <typename T>
void softmax(T *scores, int64_t count) {
  T largest = *std::max_element(scores, scores + count), sum = 0;
  for (int64_t n = 0; n < count; ++n) sum += scores[n] = std::exp(scores[n] - largest);
  for (int64_t n = 0; n < count; ++n) scores[n] /= sum;
}

// Gradients by weights become those by scores.
template <typename T>
void softmax_backward(const T *weights, T *gradients, int64_t count) {
  T mean = dot(weights, gradients, count);
  for (int64_t n = 0; n < count; ++n) gradients[n] = weights[n] * (gradients[n] - mean);
}

struct ListShape {
  int64_t rows, length, heads, dimension, ads, units;
};

// What a batch's lists are held against. `kinds` says which row of query, empty and ads each row of the batch has.
template <typename T>
struct Lists {
  const T *vectors;                        // (V, D)
  const int64_t *places, *kinds, *ages;    // (B, L) rows of `vectors` or -1, (B,), (B, L) or null
  const T *query, *empty, *ads;            // (U, H, D), (U, H), (U, J, D)
  const T *weight, *by_place, *by_age;     // of the units: (J, N), (L, N) with the bias, (1 + buckets, N) or null
  ListShape shape;

  const T *vector(int64_t row, int64_t element) const {
    int64_t place = places[row * shape.length + element];
    return place < 0 ? nullptr : vectors + place * shape.dimension;
  }

  // Asks for a row's vectors, which lie anywhere, before they are needed.
  void fetch(int64_t row) const {
    for (int64_t l = 0; row < shape.rows && l < shape.length; ++l)
      if (const T *found = vector(row, l))
        for (int64_t d = 0; d < shape.dimension; d += 64 / sizeof(T)) __builtin_prefetch(found + d);
  }

  const T *aged(int64_t at) const { return by_age ? by_age + ages[at] * shape.units : nullptr; }

  void units(const T *cosines, int64_t at, T *out) const {
    int64_t count = shape.units;
    std::copy_n(by_place + at % shape.length * count, count, out);
    if (by_age) add(out, aged(at), T(1), count);
    for (int64_t j = 0; j < shape.ads; ++j) add(out, weight + j * count, cosines[j], count);
  }
};

// total (B, H, D), weights (B, H, 1 + L), cosines (B, L, J) and the sums of units (B, N).
template <typename T>
void lists(const Lists<T> &in, T *total, T *weights, T *cosines, T *sums) {
  const ListShape &of = in.shape;
  const int64_t dimension = of.dimension, scores = 1 + of.length;
  std::vector<T> units(of.units);
  for (int64_t row = 0; row < of.rows; ++row) {
    const int64_t kind = in.kinds[row];
    in.fetch(row + 1);
    T *mine = weights + row * of.heads * scores, *sum = sums + row * of.units;
    for (int64_t h = 0; h < of.heads; ++h) mine[h * scores] = in.empty[kind * of.heads + h];
    std::fill_n(sum, of.units, T(0));
    for (int64_t l = 0; l < of.length; ++l) {
      const T *vector = in.vector(row, l);
      const int64_t at = row * of.length + l;
      for (int64_t h = 0; h < of.heads; ++h)
        mine[h * scores + 1 + l] = vector ? dot(in.query + (kind * of.heads + h) * dimension, vector, dimension)
                                          : -std::numeric_limits<T>::infinity();
      for (int64_t j = 0; j < of.ads; ++j)
        cosines[at * of.ads + j] =
            vector ? dot(in.ads + (kind * of.ads + j) * dimension, vector, dimension) / T(dimension) : T(0);
      if (!vector) continue;
      in.units(cosines + at * of.ads, at, units.data());
      for (int64_t n = 0; n < of.units; ++n) sum[n] += units[n] < 0 ? T(0) : units[n];
    }
    for (int64_t h = 0; h < of.heads; ++h) {
      T *out = total + (row * of.heads + h) * dimension;
      softmax(mine + h * scores, scores);
      std::fill_n(out, dimension, T(0));
      for (int64_t l = 0; l < of.length; ++l)
        if (const T *vector = in.vector(row, l)) add(out, vector, mine[h * scores + 1 + l], dimension);
    }
  }
}

// Gradients, zero before, of everything but vectors and ads. `by_weights` is used up.
template <typename T>
struct ListGradients {
  T *query, *empty, *weight, *by_place, *by_age;
};

template <typename T>
void lists_backward(const Lists<T> &in, const T *weights, const T *cosines, const T *by_total, T *by_weights,
                    const T *by_sums, const ListGradients<T> &out) {
  const ListShape &of = in.shape;
  const int64_t dimension = of.dimension, scores = 1 + of.length;
  std::vector<T> units(of.units);
  for (int64_t row = 0; row < of.rows; ++row) {
    const int64_t kind = in.kinds[row];
    in.fetch(row + 1);
    for (int64_t h = 0; h < of.heads; ++h) {
      const int64_t first = (row * of.heads + h) * scores, asked = kind * of.heads + h;
      T *mine = by_weights + first;
      for (int64_t l = 0; l < of.length; ++l)
        if (const T *vector = in.vector(row, l))
          mine[1 + l] += dot(by_total + (row * of.heads + h) * dimension, vector, dimension);
      softmax_backward(weights + first, mine, scores);
      out.empty[asked] += mine[0];
      for (int64_t l = 0; l < of.length; ++l)
        if (const T *vector = in.vector(row, l)) add(out.query + asked * dimension, vector, mine[1 + l], dimension);
    }
    const T *by_sum = by_sums + row * of.units;
    for (int64_t l = 0; l < of.length; ++l) {
      const int64_t at = row * of.length + l;
      if (!in.vector(row, l)) continue;
      in.units(cosines + at * of.ads, at, units.data());
      for (int64_t n = 0; n < of.units; ++n) units[n] = units[n] > 0 ? by_sum[n] : T(0);
      add(out.by_place + l * of.units, units.data(), T(1), of.units);
      if (in.by_age) add(out.by_age + in.ages[at] * of.units, units.data(), T(1), of.units);
      for (int64_t j = 0; j < of.ads; ++j)
        add(out.weight + j * of.units, units.data(), cosines[at * of.ads + j], of.units);
    }
  }
}

struct TokenShape {
  int64_t rows, own, ads, heads, width, users, groups;
};

// A row's tokens: its own, then those of its ad. The last `users` of its own are held against the ad.
template <typename T>
struct Tokens {
  const T *own, *ads;    // (B, N, A), (U, J, A)
  const int64_t *kinds;  // (B,)
  const T *asked;        // (B, H, A)
  TokenShape shape;

  int64_t count() const { return shape.own + shape.ads; }
  int64_t place(int64_t row, int64_t token) const {
    return (token < shape.own ? row * shape.own + token : kinds[row] * shape.ads + token - shape.own) * shape.width;
  }
  const T *token(int64_t row, int64_t token) const { return (token < shape.own ? own : ads) + place(row, token); }
};

// weights (B, H, N + J), pooled (B, H, A), products (B, users, J, groups), squares (B, users).
template <typename T>
void tokens(const Tokens<T> &in, T *weights, T *pooled, T *products, T *squares) {
  const TokenShape &of = in.shape;
  const int64_t count = in.count(), size = of.width / of.groups;
  for (int64_t row = 0; row < of.rows; ++row) {
    for (int64_t h = 0; h < of.heads; ++h) {
      const int64_t head = row * of.heads + h;
      T *mine = weights + head * count, *out = pooled + head * of.width;
      for (int64_t n = 0; n < count; ++n) mine[n] = dot(in.asked + head * of.width, in.token(row, n), of.width);
      softmax(mine, count);
      std::fill_n(out, of.width, T(0));
      for (int64_t n = 0; n < count; ++n) add(out, in.token(row, n), mine[n], of.width);
    }
    for (int64_t u = of.own - of.users; u < of.own; ++u) {
      *squares++ = dot(in.token(row, u), in.token(row, u), of.width);
      for (int64_t j = 0; j < of.ads; ++j)
        for (int64_t g = 0; g < of.groups; ++g)
          *products++ = dot(in.token(row, u) + g * size, in.token(row, of.own + j) + g * size, size);
    }
  }
}

// Gradients by the row's own tokens and by those of ads, both zero before, and by what is asked.
template <typename T>
void tokens_backward(const Tokens<T> &in, const T *weights, const T *by_weights, const T *by_pooled,
                     const T *by_products, const T *by_squares, T *by_own, T *by_ads, T *by_asked) {
  const TokenShape &of = in.shape;
  const int64_t count = in.count(), size = of.width / of.groups;
  std::vector<T> scores(count);
  auto gradient = [&](int64_t row, int64_t token) { return (token < of.own ? by_own : by_ads) + in.place(row, token); };
  for (int64_t row = 0; row < of.rows; ++row) {
    for (int64_t h = 0; h < of.heads; ++h) {
      const int64_t head = row * of.heads + h;
      const T *pooled = by_pooled + head * of.width;
      for (int64_t n = 0; n < count; ++n)
        scores[n] = by_weights[head * count + n] + dot(pooled, in.token(row, n), of.width);
      softmax_backward(weights + head * count, scores.data(), count);
      std::fill_n(by_asked + head * of.width, of.width, T(0));
      for (int64_t n = 0; n < count; ++n) {
        add(by_asked + head * of.width, in.token(row, n), scores[n], of.width);
        add(gradient(row, n), pooled, weights[head * count + n], of.width);
        add(gradient(row, n), in.asked + head * of.width, scores[n], of.width);
      }
    }
    for (int64_t u = of.own - of.users; u < of.own; ++u) {
      add(gradient(row, u), in.token(row, u), 2 * *by_squares++, of.width);
      for (int64_t j = 0; j < of.ads; ++j)
        for (int64_t g = 0; g < of.groups; ++g, ++by_products) {
          add(gradient(row, u) + g * size, in.token(row, of.own + j) + g * size, *by_products, size);
          add(gradient(row, of.own + j) + g * size, in.token(row, u) + g * size, *by_products, size);
        }
    }
  }
}

// Cosines (B,) of heads (B, D) + translation (D,), unless that is null, with the tails (U, D), of length 1, that `kinds`
// (B,) names.
template <typename T>
void cosines(const T *heads, const T *translation, const T *tails, const int64_t *kinds, T *out, int64_t rows,
             int64_t width, T shortest) {
  std::vector<T> moved(width);
  for (int64_t row = 0; row < rows; ++row, heads += width) {
    std::copy_n(heads, width, moved.data());
    if (translation) add(moved.data(), translation, T(1), width);
    const T length = std::sqrt(dot(moved.data(), moved.data(), width));
    out[row] = dot(moved.data(), tails + kinds[row] * width, width) / (length < shortest ? shortest : length);
  }
}

}  // namespace
