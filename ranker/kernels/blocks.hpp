// Rows a few at a time, so that what several products and sums make of them stays in a near cache.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "products.hpp"

namespace {

const int64_t BLOCK_ROWS = 48;  // a multiple of a tile's
const int64_t WHOLE = 16;       // numbers that are whole vectors at every level

inline int64_t filled(int64_t width) { return (width + WHOLE - 1) / WHOLE * WHOLE; }

// A matrix (rows, columns) as (columns, filled rows) or, not `turned`, (rows, filled columns), filled up with zeros.
template <typename T>
std::vector<T> in_vectors(const T *matrix, int64_t rows, int64_t columns, bool turned) {
  const int64_t across = filled(turned ? rows : columns);
  std::vector<T> out((turned ? columns : rows) * across);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column)
      out[turned ? column * across + row : row * across + column] = matrix[row * columns + column];
  return out;
}

}  // namespace
