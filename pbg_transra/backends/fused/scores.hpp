// From the inner products of a chunk to the loss and its gradients by them, for all similarities and losses.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#define INLINE static inline __attribute__((always_inline))

namespace {

enum Similarity { PRODUCT, SQUARED_L2, L2 };
enum Loss { SOFTMAX, LOGISTIC, RANKING };

const double CLAMP = 1e-30;  // PBG's, on squared distances before their root

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
  const int32_t bits = (power + 127) << 23;
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

template <typename T>
INLINE void grow(T &most, const T *scores, int64_t count) {
  T found = most;
#pragma omp simd reduction(max : found)
  for (int64_t j = 0; j < count; j++) found = scores[j] > found ? scores[j] : found;
  most = found;
}

// Whether exponentials take the place of scores in the first pass, so that the second need not compute them again.
constexpr bool keeps(int similarity, int loss) { return loss == SOFTMAX && similarity != L2; }

// What the second half of the first pass adds up over the negatives: exp(s - shift), softplus(s), or hinges and their count.
template <int SIMILARITY, int LOSS, typename T>
INLINE void add_up(T &sum, T &hits, T shift, T *scores, int64_t count) {
  T s = 0, h = 0;
#pragma omp simd reduction(+ : s, h)
  for (int64_t j = 0; j < count; j++) {
    if (LOSS == SOFTMAX) {
      const T e = exp_negative(scores[j] - shift);
      if (keeps(SIMILARITY, LOSS)) scores[j] = e;
      s += e;
    }
    if (LOSS == LOGISTIC) s += softplus(scores[j]);
    if (LOSS == RANKING) {
      s += scores[j] < shift ? T(0) : scores[j] - shift;
      h += scores[j] < shift ? T(0) : T(1);
    }
  }
  sum += s;
  hits += h;
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
  return -scale * (SIMILARITY == SQUARED_L2 ? squared : std::sqrt(squared > T(CLAMP) ? squared : T(CLAMP)));
}

template <int SIMILARITY, typename T>
INLINE void score_row(T *row, int64_t count, T own, const T *other, T scale) {
#pragma omp simd
  for (int64_t j = 0; j < count; j++) {
    if (SIMILARITY == PRODUCT) {
      row[j] *= scale;
    } else {
      row[j] = distance_score<SIMILARITY>(own + other[j] - 2 * row[j], scale);
    }
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

// What one chunk needs besides its scores; all but `kept` as long as a chunk. Columns of `within` are the left side's positives.
template <typename T>
struct Scratch {
  std::vector<T> column_shift, column_sum, column_hits, column_factor, diagonal, row_shift, row_factor;
  std::vector<T> kept;  // exponentials of the columns, as a chunk's scores lie
  void fit(int64_t count) {
    for (auto *v : {&column_shift, &column_sum, &column_hits, &column_factor, &diagonal, &row_shift, &row_factor})
      if ((int64_t)v->size() < count) v->resize(count);
    if ((int64_t)kept.size() < count * count) kept.resize(count * count);
  }
};

// k positives, the first m of them real, and their u uniform negatives per side; norms and their gradients per side.
// apart: squared distances of the positives, which lie so close that norms minus products would lose all digits.
template <typename T>
struct Chunk {
  T *within, *right, *left;
  const T *weights, *apart, *head, *tail, *head_negative, *tail_negative;
  T *by_head, *by_tail, *by_head_negative, *by_tail_negative;
  int64_t k, m, u;
  T share, scale, margin, head_weight;  // head_weight: factor on the loss of the left side; 0: it is not computed
};

template <int SIMILARITY, typename T>
INLINE void score(const Chunk<T> &c) {
  const bool norms = SIMILARITY != PRODUCT;
  for (int64_t i = 0; i < c.m; i++) {
    score_row<SIMILARITY>(c.within + i * c.k, c.m, norms ? c.head[i] : T(0), c.tail, c.scale);
    score_row<SIMILARITY>(c.right + i * c.u, c.u, norms ? c.head[i] : T(0), c.tail_negative, c.scale);
    if (c.head_weight != 0) score_row<SIMILARITY>(c.left + i * c.u, c.u, norms ? c.tail[i] : T(0), c.head_negative, c.scale);
    if (norms) c.within[i * c.k + i] = distance_score<SIMILARITY>(c.apart[i], c.scale);
  }
}

// The first pass over batch negatives of the left side, all columns at once.
template <int SIMILARITY, int LOSS, typename T>
INLINE void add_up_columns(const Chunk<T> &c, T *shift, T *sum, T *hits, T *kept) {
  for (int64_t j = 0; j < c.m; j++) {
    shift[j] = LOSS == RANKING ? c.within[j * c.k + j] - c.margin : c.within[j];
    sum[j] = hits[j] = 0;
  }
  if (LOSS == SOFTMAX) {
    for (int64_t i = 1; i < c.m; i++) {
      const T *row = c.within + i * c.k;
#pragma omp simd
      for (int64_t j = 0; j < c.m; j++) shift[j] = row[j] > shift[j] ? row[j] : shift[j];
    }
    for (int64_t j = 0; j < c.m; j++) grow(shift[j], c.left + j * c.u, c.u);
  }
  for (int64_t i = 0; i < c.m; i++) {
    const T *row = c.within + i * c.k;
    const T sum_before = sum[i], hits_before = hits[i];
#pragma omp simd
    for (int64_t j = 0; j < c.m; j++) {
      if (LOSS == SOFTMAX) {
        const T e = exp_negative(row[j] - shift[j]);
        if (keeps(SIMILARITY, LOSS)) kept[i * c.k + j] = e;
        sum[j] += e;
      }
      if (LOSS == LOGISTIC) sum[j] += softplus(row[j]);
      if (LOSS == RANKING) {
        sum[j] += row[j] < shift[j] ? T(0) : row[j] - shift[j];
        hits[j] += row[j] < shift[j] ? T(0) : T(1);
      }
    }
    if (LOSS != SOFTMAX) {  // a positive is no negative of its own; in the softmax it counts as well
      sum[i] = sum_before;
      hits[i] = hits_before;
    }
  }
}

// Columns whose slope is 0 everywhere: exp_negative of what lies far below the shift, and nothing reaches a margin there.
template <typename T>
INLINE void leave_out_columns(const Chunk<T> &c, Scratch<T> &s) {
  for (int64_t j = 0; j < c.m; j++) {
    s.column_shift[j] = T(1e30);
    s.column_factor[j] = 0;
  }
  std::fill(s.kept.begin(), s.kept.end(), T(0));
}

// The first pass over the right side of positive i.
template <int SIMILARITY, int LOSS, typename T>
INLINE void add_up_row(const Chunk<T> &c, int64_t i, T &shift, T &sum, T &hits) {
  T *row = c.within + i * c.k, *uniform = c.right + i * c.u;
  shift = LOSS == RANKING ? row[i] - c.margin : row[i];
  sum = hits = 0;
  if (LOSS == SOFTMAX) {
    grow(shift, row, c.m);
    grow(shift, uniform, c.u);
    add_up<SIMILARITY, LOSS>(sum, hits, shift, row, c.m);
  } else {
    add_up<SIMILARITY, LOSS>(sum, hits, shift, row, i);
    add_up<SIMILARITY, LOSS>(sum, hits, shift, row + i + 1, c.m - i - 1);
  }
  add_up<SIMILARITY, LOSS>(sum, hits, shift, uniform, c.u);
}

// The second pass over one side's uniform negatives of one positive: scores become gradients of inner products.
template <int SIMILARITY, int LOSS, typename T>
INLINE void uniform_gradients(T *scores, int64_t count, const Row<T> &row, T scale, T *own, T *others) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < count; j++) {
    const T by_score =
        keeps(SIMILARITY, LOSS) ? scores[j] * row.factor : slope<LOSS>(scores[j], row.shift, row.factor);
    const T g = through<SIMILARITY>(by_score, scores[j], scale);
    if (SIMILARITY == PRODUCT) {
      scores[j] = g;
    } else {
      scores[j] = -2 * g;
      others[j] += g;
      sum += g;
    }
  }
  if (SIMILARITY != PRODUCT) *own += sum;
}

// The second pass over batch negatives: a score within the chunk belongs to the row's positive and to the column's.
template <int SIMILARITY, typename T, int LOSS>
INLINE void within_gradients(const Chunk<T> &c, int64_t i, const Scratch<T> &s) {
  T *row = c.within + i * c.k, *by_tail = c.by_tail;
  const T *column_shift = s.column_shift.data(), *column_factor = s.column_factor.data(), *kept = s.kept.data() + i * c.k;
  const T shift = s.row_shift[i], factor = s.row_factor[i], scale = c.scale;
  const T diagonal = through<SIMILARITY>(s.diagonal[i], row[i], scale);
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < c.m; j++) {
    const T both = keeps(SIMILARITY, LOSS)
                       ? row[j] * factor + kept[j] * column_factor[j]
                       : slope<LOSS>(row[j], shift, factor) + slope<LOSS>(row[j], column_shift[j], column_factor[j]);
    const T g = j == i ? diagonal : through<SIMILARITY>(both, row[j], scale);
    if (SIMILARITY == PRODUCT) {
      row[j] = g;
    } else {
      row[j] = -2 * g;
      by_tail[j] += g;
      sum += g;
    }
  }
  if (SIMILARITY != PRODUCT) c.by_head[i] += sum;
}

template <typename T>
INLINE void clear_padding(const Chunk<T> &c) {
  const int64_t padding = c.k - c.m;
  for (int64_t i = 0; i < c.m; i++) std::memset(c.within + i * c.k + c.m, 0, padding * sizeof(T));
  std::memset(c.within + c.m * c.k, 0, padding * c.k * sizeof(T));
  std::memset(c.right + c.m * c.u, 0, padding * c.u * sizeof(T));
  if (c.head_weight != 0) std::memset(c.left + c.m * c.u, 0, padding * c.u * sizeof(T));
}

template <int SIMILARITY, int LOSS, typename T>
INLINE double process(const Chunk<T> &c, Scratch<T> &s) {
  double loss = 0;
  T *shift = s.column_shift.data(), *sum = s.column_sum.data(), *hits = s.column_hits.data();
  score<SIMILARITY>(c);
  if (c.head_weight != 0) add_up_columns<SIMILARITY, LOSS>(c, shift, sum, hits, s.kept.data());
  else leave_out_columns(c, s);
  for (int64_t i = 0; i < c.m; i++) {
    const T positive = c.within[i * c.k + i];
    T row_shift, row_sum, row_hits;
    add_up_row<SIMILARITY, LOSS>(c, i, row_shift, row_sum, row_hits);
    const Row<T> right = finish<LOSS>(row_shift, row_sum, row_hits, positive, c.weights[i], c.share, loss);
    uniform_gradients<SIMILARITY, LOSS>(c.right + i * c.u, c.u, right, c.scale, c.by_head + i, c.by_tail_negative);
    s.row_shift[i] = right.shift;
    s.row_factor[i] = right.factor;
    s.diagonal[i] = right.positive;
    if (c.head_weight == 0) continue;
    add_up<SIMILARITY, LOSS>(sum[i], hits[i], shift[i], c.left + i * c.u, c.u);
    const T weight = c.weights[i] * c.head_weight;
    const Row<T> left = finish<LOSS>(shift[i], sum[i], hits[i], positive, weight, c.share, loss);
    uniform_gradients<SIMILARITY, LOSS>(c.left + i * c.u, c.u, left, c.scale, c.by_tail + i, c.by_head_negative);
    s.column_shift[i] = left.shift;
    s.column_factor[i] = left.factor;
    s.diagonal[i] += left.positive;
  }
  for (int64_t i = 0; i < c.m; i++) within_gradients<SIMILARITY, T, LOSS>(c, i, s);
  clear_padding(c);
  return loss;
}

}  // namespace
