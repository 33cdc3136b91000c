// Cross layers of DCN-v2 (arXiv 2008.13535), x_{l+1} = x_0 * (U_l V_l x_l + b_l) + x_l, a few rows at a time through all
// layers, so that what lies between them stays in a near cache: forward, and backward in closed form. cross.py says what
// each argument is.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "blocks.hpp"

namespace {

struct CrossShape {
  int64_t rows, width, layers, rank;
};

// Matrices one after the other, as `in_vectors` has them.
template <typename T>
std::vector<T> all_in_vectors(const T *matrices, int64_t count, int64_t rows, int64_t columns, bool turned) {
  std::vector<T> out;
  for (int64_t n = 0; n < count; ++n) {
    const std::vector<T> one = in_vectors(matrices + n * rows * columns, rows, columns, turned);
    out.insert(out.end(), one.begin(), one.end());
  }
  return out;
}

template <typename T>
struct Cross {
  const T *x, *down, *up, *bias;  // (B, D), (L, r, D), (L, D, r), (L, D)
  CrossShape shape;
};

// x_L (B, D) and V_l x_l (L, B, filled r).
template <typename T>
void cross(const Cross<T> &in, T *crossed, T *lowered) {
  const CrossShape &of = in.shape;
  const int64_t width = of.width, across = filled(width), rank = filled(of.rank);
  const std::vector<T> down = all_in_vectors(in.down, of.layers, of.rank, width, true),
                       up = all_in_vectors(in.up, of.layers, width, of.rank, true);
  std::vector<T> raised(BLOCK_ROWS * across);
  for (int64_t first = 0; first < of.rows; first += BLOCK_ROWS) {
    const int64_t rows = std::min(BLOCK_ROWS, of.rows - first);
    for (int64_t l = 0; l < of.layers; ++l) {
      const T *from = (l ? crossed : in.x) + first * width, *bias = in.bias + l * width;
      T *low = lowered + (l * of.rows + first) * rank;
      multiply<T>({from, width, 1}, as_it_lies(down.data() + l * width * rank, rank), low, rank, rows, rank, width,
                  false);
      multiply<T>({low, rank, 1}, as_it_lies(up.data() + l * of.rank * across, across), raised.data(), across, rows,
                  across, of.rank, false);
      for (int64_t row = 0; row < rows; ++row) {
        const T *x0 = in.x + (first + row) * width, *x = from + row * width, *u = raised.data() + row * across;
        T *out = crossed + (first + row) * width;
#pragma omp simd
        for (int64_t d = 0; d < width; ++d) out[d] = x0[d] * (u[d] + bias[d]) + x[d];
      }
    }
  }
}

// Of g by x_0 * u + x: what reaches u, `scaled`, and x_0, added to `by_first` unless it is `fresh`; and sums of the former.
template <typename T>
void by_products(const T *x0, const T *u, const T *g, T *scaled, T *by_first, T *by_bias, int64_t rows, int64_t across,
                 bool fresh) {
  using Lanes = typename Vector<T>::type;
  for (int64_t d = 0; d < across; d += Vector<T>::LANES) {
    Lanes sum = *(const Lanes *)(by_bias + d);
    for (int64_t at = d; at < d + rows * across; at += across) {
      const Lanes by = *(const Lanes *)(g + at), reaches = by * *(const Lanes *)(x0 + at),
                  first = by * *(const Lanes *)(u + at);
      *(Lanes *)(scaled + at) = reaches;
      *(Lanes *)(by_first + at) = fresh ? first : *(const Lanes *)(by_first + at) + first;
      sum += reaches;
    }
    *(Lanes *)(by_bias + d) = sum;
  }
}

// Gradients by everything.
template <typename T>
struct CrossGradients {
  T *x, *down, *up, *bias;
};

template <typename T>
void cross_backward(const Cross<T> &in, const T *lowered, const T *by_crossed, const CrossGradients<T> &out) {
  const CrossShape &of = in.shape;
  const int64_t width = of.width, across = filled(width), rank = filled(of.rank), size = BLOCK_ROWS * across;
  const std::vector<T> up_turned = all_in_vectors(in.up, of.layers, width, of.rank, true),
                       down = all_in_vectors(in.down, of.layers, of.rank, width, false),
                       up = all_in_vectors(in.up, of.layers, width, of.rank, false);
  const int64_t matrix = of.rank * across;
  std::vector<T> by_down(of.layers * matrix), by_up(of.layers * matrix), by_bias(of.layers * across);
  std::vector<T> inputs((1 + of.layers) * size), raised(of.layers * size), scaled(size), by_first(size), gradient(size),
      by_low(BLOCK_ROWS * rank);
  for (int64_t first = 0; first < of.rows; first += BLOCK_ROWS) {
    const int64_t rows = std::min(BLOCK_ROWS, of.rows - first);
    for (int64_t row = 0; row < rows; ++row) {
      std::copy_n(in.x + (first + row) * width, width, inputs.data() + row * across);
      std::copy_n(by_crossed + (first + row) * width, width, gradient.data() + row * across);
    }
    for (int64_t l = 0; l < of.layers; ++l) {
      const T *bias = in.bias + l * width, *low = lowered + (l * of.rows + first) * rank;
      T *mine = raised.data() + l * size;
      multiply<T>({low, rank, 1}, as_it_lies(up_turned.data() + l * matrix, across), mine, across, rows, across,
                  of.rank, false);
      for (int64_t row = 0; row < rows; ++row) {
        const T *x0 = inputs.data() + row * across, *x = inputs.data() + l * size + row * across;
        T *u = mine + row * across, *next = inputs.data() + (l + 1) * size + row * across;
#pragma omp simd
        for (int64_t d = 0; d < width; ++d) {
          u[d] += bias[d];
          next[d] = x0[d] * u[d] + x[d];
        }
      }
    }
    for (int64_t l = of.layers - 1; l >= 0; --l) {
      const T *low = lowered + (l * of.rows + first) * rank;
      by_products(inputs.data(), raised.data() + l * size, gradient.data(), scaled.data(), by_first.data(),
                  by_bias.data() + l * across, rows, across, l + 1 == of.layers);
      multiply<T>({scaled.data(), across, 1}, as_it_lies(up.data() + l * width * rank, rank), by_low.data(), rank,
                  rows, rank, width, false);
      multiply<T>({low, 1, rank}, as_it_lies(scaled.data(), across), by_up.data() + l * matrix, across, of.rank,
                  across, rows, true);
      multiply<T>({by_low.data(), 1, rank}, as_it_lies(inputs.data() + l * size, across),
                  by_down.data() + l * matrix, across, of.rank, across, rows, true);
      multiply<T>({by_low.data(), rank, 1}, as_it_lies(down.data() + l * matrix, across), gradient.data(), across,
                  rows, across, of.rank, true);
    }
    for (int64_t row = 0; row < rows; ++row) {
      const T *g = gradient.data() + row * across, *f = by_first.data() + row * across;
      T *to = out.x + (first + row) * width;
#pragma omp simd
      for (int64_t d = 0; d < width; ++d) to[d] = g[d] + f[d];
    }
  }
  for (int64_t l = 0; l < of.layers; ++l) {
    for (int64_t r = 0; r < of.rank; ++r) {
      const T *of_up = by_up.data() + l * matrix + r * across;
      for (int64_t d = 0; d < width; ++d) out.up[(l * width + d) * of.rank + r] = of_up[d];
      std::copy_n(by_down.data() + l * matrix + r * across, width, out.down + (l * of.rank + r) * width);
    }
    std::copy_n(by_bias.data() + l * across, width, out.bias + l * width);
  }
}

}  // namespace
