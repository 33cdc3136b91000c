// A perceptron's layers, max(0, W x + b) with dropout, a few rows at a time through all of them: forward, and backward
// in closed form. perceptron.py says what each argument is.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "blocks.hpp"

namespace {

// Of 2^16 draws, `hidden` hide a unit; what is left is `scale` times as large.
struct PerceptronShape {
  const int64_t *widths;  // (layers + 1,)
  int64_t rows, layers, hidden;

  int64_t least() const { return hidden - (1 << 15); }
  double scale() const { return 65536.0 / (65536 - hidden); }
};

// max(0, x + bias) * kept; NaN stays NaN.
template <typename T>
void activate(T *x, const T *bias, int64_t width, const int16_t *drawn, int64_t least, T scale) {
  if (drawn) {
#pragma omp simd
    for (int64_t d = 0; d < width; ++d) {
      const T sum = x[d] + bias[d];
      x[d] = (sum < 0 ? T(0) : sum) * (drawn[d] >= least ? scale : T(0));
    }
  } else {
#pragma omp simd
    for (int64_t d = 0; d < width; ++d) {
      const T sum = x[d] + bias[d];
      x[d] = sum < 0 ? T(0) : sum;
    }
  }
}

// `x` (B, widths[0]); weights (out, in) and biases of all layers one after the other, and so are what is written,
// `answers` (B, out), and, unless null, `draws` (B, out), each layer's from a multiple of 4.
template <typename T>
void perceptron(const T *x, const T *weights, const T *biases, const int16_t *draws, T *answers,
                const PerceptronShape &of) {
  std::vector<std::vector<T>> turned;
  const T *weight = weights;
  for (int64_t l = 0; l < of.layers; weight += of.widths[l] * of.widths[l + 1], ++l)
    turned.push_back(in_vectors(weight, of.widths[l + 1], of.widths[l], true));
  std::vector<T> block;
  for (int64_t first = 0; first < of.rows; first += BLOCK_ROWS) {
    const int64_t rows = std::min(BLOCK_ROWS, of.rows - first);
    const T *from = x + first * of.widths[0], *bias = biases;
    T *layer = answers;
    const int16_t *drawn = draws;
    for (int64_t l = 0; l < of.layers; ++l) {
      const int64_t in = of.widths[l], out = of.widths[l + 1], across = filled(out);
      T *to = layer + first * out;
      block.resize(BLOCK_ROWS * across);
      multiply<T>({from, in, 1}, as_it_lies(turned[l].data(), across), block.data(), across, rows, across, in, false);
      for (int64_t row = 0; row < rows; ++row) {
        activate(block.data() + row * across, bias, out, drawn ? drawn + (first + row) * out : nullptr, of.least(),
                 T(of.scale()));
        std::copy_n(block.data() + row * across, out, to + row * out);
      }
      from = to;
      bias += out;
      if (drawn) drawn += (of.rows * out + 3) / 4 * 4;
      layer += of.rows * out;
    }
  }
}

// Gradients by x and by the parameters, those of biases zero before. A unit that dropout hid, or that is 0, passes nothing on.
template <typename T>
void perceptron_backward(const T *x, const T *weights, const T *answers, const T *by_answer, T *by_x,
                         T *by_weights, T *by_biases, const PerceptronShape &of) {
  std::vector<std::vector<T>> whole, gradients;
  std::vector<const T *> layers;
  std::vector<int64_t> weight_at, bias_at;
  int64_t weight = 0, bias = 0, widest = 0;
  const T *layer = answers;
  for (int64_t l = 0; l < of.layers; ++l) {
    const int64_t in = of.widths[l], out = of.widths[l + 1];
    whole.push_back(in_vectors(weights + weight, out, in, false));
    gradients.emplace_back(out * filled(in));
    layers.push_back(layer);
    weight_at.push_back(weight);
    bias_at.push_back(bias);
    weight += in * out, bias += out, layer += of.rows * out;
    widest = std::max({widest, filled(in), filled(out)});
  }
  std::vector<T> inputs(BLOCK_ROWS * widest), by_out(BLOCK_ROWS * widest), by_in(BLOCK_ROWS * widest);
  const int64_t last = of.widths[of.layers];
  const T scale = T(of.scale());
  for (int64_t first = 0; first < of.rows; first += BLOCK_ROWS) {
    const int64_t rows = std::min(BLOCK_ROWS, of.rows - first);
    std::copy_n(by_answer + first * last, rows * last, by_out.data());
    for (int64_t l = of.layers - 1; l >= 0; --l) {
      const int64_t in = of.widths[l], out = of.widths[l + 1], across = filled(in);
      const T *answer = layers[l] + first * out;
      T *of_bias = by_biases + bias_at[l];
      for (int64_t row = 0; row < rows; ++row) {
        T *g = by_out.data() + row * out;
        const T *a = answer + row * out;
#pragma omp simd
        for (int64_t d = 0; d < out; ++d) {
          g[d] = a[d] <= 0 ? T(0) : g[d] * scale;
          of_bias[d] += g[d];
        }
      }
      const T *from = l ? layers[l - 1] + first * in : x + first * in;
      const T *put = from;
      if (in != across) {
        for (int64_t row = 0; row < rows; ++row) {
          std::copy_n(from + row * in, in, inputs.data() + row * across);
          std::fill_n(inputs.data() + row * across + in, across - in, T(0));
        }
        put = inputs.data();
      }
      multiply<T>({by_out.data(), 1, out}, as_it_lies(put, across), gradients[l].data(), across, out, across, rows,
                  true);
      multiply<T>({by_out.data(), out, 1}, as_it_lies(whole[l].data(), across), by_in.data(), across, rows, across,
                  out, false);
      T *to = l ? by_out.data() : by_x + first * in;
      for (int64_t row = 0; row < rows; ++row) std::copy_n(by_in.data() + row * across, in, to + row * in);
    }
  }
  for (int64_t l = 0; l < of.layers; ++l) {
    const int64_t in = of.widths[l], across = filled(in);
    for (int64_t row = 0; row < of.widths[l + 1]; ++row)
      std::copy_n(gradients[l].data() + row * across, in, by_weights + weight_at[l] + row * in);
  }
}

}  // namespace
