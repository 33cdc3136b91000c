// Parts of the ranker's network that torch computes in many passes, compiled for one instruction set; see kernels.py for
// what the functions do. Plain pointers and no torch headers: nothing to rebuild when torch changes. float trains; double
// is what tests compare with autograd.

#include "attention.hpp"
#include "distinct.hpp"
#include "processor.hpp"

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
  }

extern "C" {
EXPORT(float)
EXPORT(double)

int64_t distinct(const int64_t *keys, int64_t count, int64_t *table, int64_t slots, int64_t *places, int64_t *firsts) {
  return numbered(keys, count, table, slots, places, firsts);
}
}
