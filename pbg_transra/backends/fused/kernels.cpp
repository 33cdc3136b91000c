// What a step costs time for, compiled; see kernels.py for what the functions do.
//
// Plain pointers and no torch headers: nothing to rebuild when torch changes. torch_kernels.py says the same in torch and
// stands in where this was not compiled. float trains; double is what tests compare with autograd.

#include "scores.hpp"
#include "updates.hpp"

#if defined(__x86_64__) && defined(__linux__)
#include "step.hpp"
// A compiled copy per instruction set; the loader picks, so a wheel runs on any x86-64. For AVX-512 there is step.hpp.
#define CLONES __attribute__((target_clones("avx2", "default")))
#else
#define CLONES
#endif

#define EXPORT(CLONED, T)                                                                                               \
  CLONED void score_gradients_##T(T *within, T *right, T *left, const T *norms, const T *apart, T *norm_gradients,      \
                                  const T *weights, const int64_t *counts, double *losses, int64_t groups,              \
                                  int64_t chunks, int64_t size,                                                         \
                                  int64_t uniform, double share, double scale, double margin, double head_weight,       \
                                  int similarity, int loss) {                                                           \
    with_similarity<T>(similarity, loss, {within, right, left, norms, apart, norm_gradients, weights, counts, losses,   \
                                          groups, chunks, size, uniform, (T)share, (T)scale, (T)margin, (T)head_weight}); \
  }                                                                                                                     \
  CLONED void step_rows_##T(T *table, T *sums, const int64_t *rows, T *gradients, int64_t count, int64_t width,         \
                            double lr) {                                                                                \
    step_rows<T>(table, sums, rows, gradients, count, width, (T)lr);                                                    \
  }                                                                                                                     \
  CLONED void step_components_##T(T *table, T *sums, const int64_t *rows, T *gradients, int64_t count, int64_t width,   \
                                  double lr) {                                                                          \
    step_components<T>(table, sums, rows, gradients, count, width, (T)lr);                                              \
  }

extern "C" {
EXPORT(CLONES, float)
EXPORT(, double)

#if defined(__x86_64__) && defined(__linux__)
int has_wide_vectors() { return __builtin_cpu_supports("avx512f") != 0; }

void gradients_float(const float *vectors, const float *left, const float *right, const float *translations,
                     const float *weights, const int64_t *counts, float *by_vectors, float *by_left, float *by_right,
                     float *by_translations, double *losses, int64_t relations, int64_t groups, int64_t chunks,
                     int64_t size, int64_t uniform, int64_t dimension, double share, double scale, double margin,
                     double head_weight, int similarity, int loss, int unit) {
  step({vectors, left, right, translations, weights, counts, by_vectors, by_left, by_right, by_translations, losses,
        relations, groups, chunks, size, uniform, dimension, (float)share, (float)scale, (float)margin,
        (float)head_weight, similarity, loss, unit});
}
#else
int has_wide_vectors() { return 0; }
#endif
}
