// Parts of the ranker's network that torch computes in many passes, compiled for one instruction set; see kernels.py for
// what the functions do. Plain pointers and no torch headers: nothing to rebuild when torch changes. float trains; double
// is what tests compare with autograd.

#include "attention.hpp"
#include "cross.hpp"
#include "distinct.hpp"
#include "perceptron.hpp"
#include "processor.hpp"
#include "rows.hpp"

#define LISTS(T)                                                                                                      \
  const T *vectors, const int64_t *places, const int64_t *kinds, const int64_t *ages, const T *query, const T *empty, \
      const T *ads, const T *weight, const T *by_place, const T *by_age
#define LIST_SHAPE int64_t rows, int64_t length, int64_t heads, int64_t dimension, int64_t ad_slots, int64_t units
#define GIVEN_LISTS                                                                        \
  {                                                                                        \
    vectors, places, kinds, ages, query, empty, ads, weight, by_place, by_age, {           \
      rows, length, heads, dimension, ad_slots, units                                      \
    }                                                                                      \
  }
#define TOKEN_SHAPE int64_t rows, int64_t owned, int64_t ad_slots, int64_t heads, int64_t width, int64_t users, int64_t groups
#define GIVEN_TOKENS                                          \
  {                                                           \
    own, ads, kinds, asked, {                                 \
      rows, owned, ad_slots, heads, width, users, groups      \
    }                                                         \
  }
#define PERCEPTRON_SHAPE int64_t rows, int64_t layers, int64_t hidden
#define CROSS_SHAPE int64_t rows, int64_t width, int64_t layers, int64_t rank

#define EXPORT(T)                                                                                                      \
  void lists_##T(LISTS(T), T *total, T *weights, T *cosines, T *sums, LIST_SHAPE) {                                    \
    lists<T>(GIVEN_LISTS, total, weights, cosines, sums);                                                              \
  }                                                                                                                    \
  void lists_backward_##T(LISTS(T), const T *weights, const T *cosines, const T *by_total, T *by_weights,              \
                          const T *by_sums, T *by_query, T *by_empty, T *by_weight, T *to_place, T *to_age,            \
                          LIST_SHAPE) {                                                                                \
    lists_backward<T>(GIVEN_LISTS, weights, cosines, by_total, by_weights, by_sums,                                    \
                      {by_query, by_empty, by_weight, to_place, to_age});                                              \
  }                                                                                                                    \
  void tokens_##T(const T *own, const T *ads, const int64_t *kinds, const T *asked, T *weights, T *pooled,             \
                  T *products, T *squares, TOKEN_SHAPE) {                                                              \
    tokens<T>(GIVEN_TOKENS, weights, pooled, products, squares);                                                       \
  }                                                                                                                    \
  void tokens_backward_##T(const T *own, const T *ads, const int64_t *kinds, const T *asked, const T *weights,         \
                           const T *by_weights, const T *by_pooled, const T *by_products, const T *by_squares,          \
                           T *by_own, T *by_ads, T *by_asked, TOKEN_SHAPE) {                                           \
    tokens_backward<T>(GIVEN_TOKENS, weights, by_weights, by_pooled, by_products, by_squares, by_own, by_ads,          \
                       by_asked);                                                                                      \
  }                                                                                                                    \
  void cross_##T(const T *x, const T *down, const T *up, const T *bias, T *crossed, T *lowered, CROSS_SHAPE) {          \
    cross<T>({x, down, up, bias, {rows, width, layers, rank}}, crossed, lowered);                                      \
  }                                                                                                                    \
  void cross_backward_##T(const T *x, const T *down, const T *up, const T *bias, const T *lowered,                     \
                          const T *by_crossed, T *by_x, T *by_down, T *by_up, T *by_bias, CROSS_SHAPE) {               \
    cross_backward<T>({x, down, up, bias, {rows, width, layers, rank}}, lowered, by_crossed,                           \
                      {by_x, by_down, by_up, by_bias});                                                                \
  }                                                                                                                    \
  void perceptron_##T(const T *x, const T *weights, const T *biases, const int64_t *draws, const int64_t *widths,      \
                      T *answers, PERCEPTRON_SHAPE) {                                                                  \
    perceptron<T>(x, weights, biases, (const int16_t *)draws, answers, {widths, rows, layers, hidden});                \
  }                                                                                                                    \
  void perceptron_backward_##T(const T *x, const T *weights, const int64_t *widths, const T *answers,                  \
                               const T *by_answer, T *by_x, T *by_weights, T *by_biases, PERCEPTRON_SHAPE) {           \
    perceptron_backward<T>(x, weights, answers, by_answer, by_x, by_weights, by_biases,                                \
                           {widths, rows, layers, hidden});                                                            \
  }                                                                                                                    \
  void cosines_##T(const T *heads, const T *translation, const T *tails, const int64_t *kinds, T *out, int64_t rows,   \
                   int64_t width, double shortest) {                                                                   \
    cosines<T>(heads, translation, tails, kinds, out, rows, width, (T)shortest);                                       \
  }                                                                                                                    \
  void bag_means_##T(const T *vectors, const int64_t *places, const int64_t *sizes, T *means, int64_t bags,            \
                     int64_t width) {                                                                                  \
    bag_means<T>(vectors, places, sizes, means, bags, width);                                                          \
  }                                                                                                                    \
  void bag_means_backward_##T(const T *by_means, const int64_t *places, const int64_t *sizes, T *by_vectors,           \
                              int64_t bags, int64_t width) {                                                           \
    bag_means_backward<T>(places, sizes, by_means, by_vectors, bags, width);                                           \
  }                                                                                                                    \
  void sums_by_kind_##T(const T *values, const int64_t *kinds, T *sums, int64_t count, int64_t width) {                \
    sums_by_kind<T>(values, kinds, sums, count, width);                                                                \
  }                                                                                                                    \
  void rowwise_adagrad_##T(T *table, T *squares, const int64_t *rows, const T *gradients, int64_t count,               \
                           int64_t width, double rate, double epsilon) {                                               \
    rowwise_adagrad<T>(table, squares, rows, gradients, count, width, rate, epsilon);                                  \
  }

extern "C" {
EXPORT(float)
EXPORT(double)

int64_t distinct(const int64_t *keys, int64_t count, int64_t *table, int64_t slots, int64_t *places, int64_t *firsts) {
  return numbered(keys, count, table, slots, places, firsts);
}
}
