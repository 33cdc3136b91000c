// What a step costs time for, compiled; see kernels.py for what the functions do, and levels.py for who calls which copy.
//
// Plain pointers and no torch headers: nothing to rebuild when torch changes. torch_kernels.py says the same in torch and
// stands in where this was not compiled. float trains; double is what tests compare with autograd.

#include "peak.hpp"
#include "processor.hpp"
#include "step.hpp"
#include "updates.hpp"

#define EXPORT(T)                                                                                                       \
  void gradients_##T(const T *vectors, const T *left, const T *right, const T *translations, const T *weights,          \
                     const int64_t *counts, T *by_vectors, T *by_left, T *by_right, T *by_translations, double *losses, \
                     int64_t relations, int64_t groups, int64_t chunks, int64_t size, int64_t uniform,                  \
                     int64_t dimension, double share, double scale, double margin, double head_weight, int similarity,  \
                     int loss, int unit) {                                                                              \
    step<T>({vectors, left, right, translations, weights, counts, by_vectors, by_left, by_right, by_translations,       \
             losses, relations, groups, chunks, size, uniform, dimension, (T)share, (T)scale, (T)margin,                \
             (T)head_weight, similarity, loss, unit});                                                                  \
  }                                                                                                                     \
  int64_t gather_##T(const T *table, int64_t size, const int64_t *rows, int64_t count, int64_t width, T *out) {         \
    return gather<T>(table, size, rows, count, width, out);                                                             \
  }                                                                                                                     \
  void step_rows_##T(T *table, T *sums, const int64_t *rows, T *gradients, int64_t count, int64_t width, double lr) {   \
    step_rows<T>(table, sums, rows, gradients, count, width, (T)lr);                                                    \
  }                                                                                                                     \
  void step_components_##T(T *table, T *sums, const int64_t *rows, T *gradients, int64_t count, int64_t width,          \
                           double lr) {                                                                                 \
    step_components<T>(table, sums, rows, gradients, count, width, (T)lr);                                              \
  }

extern "C" {
EXPORT(float)
EXPORT(double)

int64_t multiply_adds_float(int64_t repeats) { return multiply_adds<float>(repeats); }
}
