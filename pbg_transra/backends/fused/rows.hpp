// Rows of a table lie anywhere: they are asked for before they are needed.

#pragma once

#include <cstdint>
#include <cstring>

namespace {

const int64_t AHEAD = 12;

template <typename T>
inline void fetch(const T *row, int64_t width) {
  const int64_t line = 64 / sizeof(T);
  for (int64_t d = 0; d < width; d += line) __builtin_prefetch(row + d, 1);
}

// Copies rows of a table (., width) to rows that lie `out_row` apart.
template <typename T>
void gather(const T *table, const int64_t *rows, int64_t count, int64_t width, T *out, int64_t out_row) {
  for (int64_t i = 0; i < count; i++) {
    if (i + AHEAD < count) fetch(table + rows[i + AHEAD] * width, width);
    std::memcpy(out + i * out_row, table + rows[i] * width, width * sizeof(T));
  }
}

}  // namespace
