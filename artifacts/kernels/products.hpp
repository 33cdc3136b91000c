// Matrix products of the sizes that occur here, twice as fast as MKL's on processors that are not Intel's.
//
// C (m, n) = or += A (m, depth) B (depth, n), any strides of A. All rows of B and C have room for whole vectors, so what
// lies beyond n is computed from what lies there, and is nobody's. A tile of C stays in registers: 6 rows by 4 vectors
// where there are 32 of them, by 2 where there are 16.

#pragma once

#include "registers.hpp"

namespace {

const int64_t ROWS = 6, ACROSS = REGISTERS == 32 ? 4 : 2, DEPTH = 256;  // DEPTH rows of a panel of B fit the nearer caches

template <typename T>
constexpr int64_t PANEL = ACROSS *Vector<T>::LANES;  // columns

template <typename T>
struct Matrix {
  const T *data;
  int64_t row, column;  // strides
};

template <typename T>
Matrix<T> rows(const T *data, int64_t row) { return {data, row, 1}; }
template <typename T>
Matrix<T> turned(const T *data, int64_t row) { return {data, 1, row}; }

// B, panel by panel: its rows lie `row` apart, and panels `next`.
template <typename T>
struct Panels {
  const T *data;
  int64_t row, next;
};

// Rows as they lie.
template <typename T>
Panels<T> as_it_lies(const T *data, int64_t row) { return {data, row, PANEL<T>}; }

template <int HEIGHT, int VECTORS, typename T>
void tile(Matrix<T> a, const T *b, int64_t b_row, T *c, int64_t c_row, int64_t depth, bool add) {
  using Lanes = typename Vector<T>::type;
  const int64_t LANES = Vector<T>::LANES;
  Lanes sum[HEIGHT][VECTORS];
#pragma GCC unroll 6
  for (int r = 0; r < HEIGHT; r++)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) sum[r][v] = add ? *(const Lanes *)(c + r * c_row + v * LANES) : Lanes{};
  for (int64_t k = 0; k < depth; k++) {
    Lanes row[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) row[v] = *(const Lanes *)(b + k * b_row + v * LANES);
#pragma GCC unroll 6
    for (int r = 0; r < HEIGHT; r++) {
      const T x = a.data[r * a.row + k * a.column];
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; v++) sum[r][v] += x * row[v];
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < HEIGHT; r++)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) *(Lanes *)(c + r * c_row + v * LANES) = sum[r][v];
}

template <int VECTORS, typename T>
void tile_of(int64_t height, Matrix<T> a, const T *b, int64_t b_row, T *c, int64_t c_row, int64_t depth, bool add) {
  if (height == 6) return tile<6, VECTORS>(a, b, b_row, c, c_row, depth, add);
  if (height == 5) return tile<5, VECTORS>(a, b, b_row, c, c_row, depth, add);
  if (height == 4) return tile<4, VECTORS>(a, b, b_row, c, c_row, depth, add);
  if (height == 3) return tile<3, VECTORS>(a, b, b_row, c, c_row, depth, add);
  if (height == 2) return tile<2, VECTORS>(a, b, b_row, c, c_row, depth, add);
  tile<1, VECTORS>(a, b, b_row, c, c_row, depth, add);
}

// All rows of a panel of C, `vectors` wide.
template <typename T>
void panel_of(int64_t vectors, Matrix<T> a, const T *b, int64_t b_row, T *c, int64_t c_row, int64_t m, int64_t depth,
              bool add) {
  for (int64_t i = 0; i < m; i += ROWS) {
    const int64_t height = m - i < ROWS ? m - i : ROWS;
    const Matrix<T> block = {a.data + i * a.row, a.row, a.column};
    T *out = c + i * c_row;
    if (vectors == 1) tile_of<1>(height, block, b, b_row, out, c_row, depth, add);
    else if (vectors == 2) tile_of<2>(height, block, b, b_row, out, c_row, depth, add);
    else if (vectors == 3) tile_of<(ACROSS > 2 ? 3 : 2)>(height, block, b, b_row, out, c_row, depth, add);
    else tile_of<(ACROSS > 2 ? 4 : 2)>(height, block, b, b_row, out, c_row, depth, add);
  }
}

template <typename T>
void multiply(Matrix<T> a, Panels<T> b, T *c, int64_t c_row, int64_t m, int64_t n, int64_t depth, bool add) {
  const int64_t LANES = Vector<T>::LANES, vectors = padded<T>(n) / LANES;
  for (int64_t left = 0; left < vectors; left += ACROSS)
    for (int64_t top = 0; top < depth; top += DEPTH) {
      const T *panel = b.data + left / ACROSS * b.next + top * b.row;
      panel_of(vectors - left < ACROSS ? vectors - left : ACROSS, Matrix<T>{a.data + top * a.column, a.row, a.column}, panel,
               b.row, c + left * LANES, c_row, m, depth - top < DEPTH ? depth - top : DEPTH, add || top > 0);
    }
}

}  // namespace
