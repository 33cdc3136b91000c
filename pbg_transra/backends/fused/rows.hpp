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

// Returns how many rows were copied: all, or those before one that the table, which has `size`, lacks.
template <typename T>
int64_t gather(const T *table, int64_t size, const int64_t *rows, int64_t count, int64_t width, T *out) {
  for (int64_t i = 0; i < count; i++) {
    if (rows[i] < 0 || rows[i] >= size) return i;
    if (i + AHEAD < count) fetch(table + rows[i + AHEAD] * width, width);
    std::memcpy(out + i * width, table + rows[i] * width, width * sizeof(T));
  }
  return count;
}

}  // namespace
