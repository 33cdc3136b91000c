// Rows a few at a time, so that what several products and sums make of them stays in a near cache; and products of
// these sizes, whose tiles of 6 rows by 4 vectors (2, where there are 16 registers) stay in registers.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace {

#if defined(__AVX512F__)
const int REGISTER = 64, ACROSS = 4;
#elif defined(__AVX2__)
const int REGISTER = 32, ACROSS = 2;
#elif defined(__aarch64__)
const int REGISTER = 16, ACROSS = 4;
#else
const int REGISTER = 16, ACROSS = 2;
#endif

const int64_t TILE_ROWS = 6, DEEP = 256;  // DEEP rows of a panel of B fit the nearest cache
const int64_t BLOCK_ROWS = 48;            // a multiple of a tile's
const int64_t WHOLE = 16;                 // numbers that are whole vectors at every level

inline int64_t padded(int64_t width) { return (width + WHOLE - 1) / WHOLE * WHOLE; }

template <typename T>
struct Matrix {
  const T *data;
  int64_t row, column;  // strides
};

// Vectors of a register each.
template <typename T>
struct Vector {
  typedef T Lanes __attribute__((vector_size(REGISTER), aligned(sizeof(T)), may_alias));
  static const int64_t COUNT = REGISTER / sizeof(T);
};

template <int HEIGHT, int VECTORS, typename T>
void tile(Matrix<T> a, const T *b, int64_t b_row, T *c, int64_t c_row, int64_t depth, bool add) {
  using Lanes = typename Vector<T>::Lanes;
  const int64_t lanes = Vector<T>::COUNT;
  Lanes sum[HEIGHT][VECTORS];
#pragma GCC unroll 6
  for (int r = 0; r < HEIGHT; r++)
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) sum[r][v] = add ? *(const Lanes *)(c + r * c_row + v * lanes) : Lanes{};
  for (int64_t k = 0; k < depth; k++) {
    Lanes row[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) row[v] = *(const Lanes *)(b + k * b_row + v * lanes);
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
    for (int v = 0; v < VECTORS; v++) *(Lanes *)(c + r * c_row + v * lanes) = sum[r][v];
}

template <int VECTORS, typename T>
void tiles(Matrix<T> a, const T *b, int64_t b_row, T *c, int64_t c_row, int64_t m, int64_t depth, bool add) {
  int64_t i = 0;
  for (; i + TILE_ROWS <= m; i += TILE_ROWS)
    tile<TILE_ROWS, VECTORS>({a.data + i * a.row, a.row, a.column}, b, b_row, c + i * c_row, c_row, depth, add);
  for (; i + 2 <= m; i += 2)
    tile<2, VECTORS>({a.data + i * a.row, a.row, a.column}, b, b_row, c + i * c_row, c_row, depth, add);
  if (i < m) tile<1, VECTORS>({a.data + i * a.row, a.row, a.column}, b, b_row, c + i * c_row, c_row, depth, add);
}

// C (m, n) = or += A (m, depth) B (depth, n), depth > 0; rows of B and C lie so far apart, and n is a multiple of WHOLE.
template <typename T>
void multiply(Matrix<T> a, const T *b, int64_t b_row, T *c, int64_t c_row, int64_t m, int64_t n, int64_t depth,
              bool add) {
  const int64_t lanes = Vector<T>::COUNT;
  for (int64_t left = 0; left < n; left += ACROSS * lanes) {
    const int64_t vectors = std::min<int64_t>(ACROSS, (n - left) / lanes);
    for (int64_t top = 0; top < depth; top += DEEP) {
      const Matrix<T> part = {a.data + top * a.column, a.row, a.column};
      const T *from = b + top * b_row + left;
      const int64_t deep = std::min(DEEP, depth - top);
      const bool more = add || top > 0;
      if (vectors == 1) tiles<1>(part, from, b_row, c + left, c_row, m, deep, more);
      else if (vectors == 2) tiles<2>(part, from, b_row, c + left, c_row, m, deep, more);
      else if (vectors == 3) tiles<ACROSS == 4 ? 3 : 2>(part, from, b_row, c + left, c_row, m, deep, more);
      else tiles<ACROSS>(part, from, b_row, c + left, c_row, m, deep, more);
    }
  }
}

// A matrix (rows, columns) as (columns, padded rows) or, not `turned`, (rows, padded columns), filled up with zeros.
template <typename T>
std::vector<T> in_vectors(const T *matrix, int64_t rows, int64_t columns, bool turned) {
  const int64_t across = padded(turned ? rows : columns);
  std::vector<T> out((turned ? columns : rows) * across);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column)
      out[turned ? column * across + row : row * across + column] = matrix[row * columns + column];
  return out;
}

}  // namespace
