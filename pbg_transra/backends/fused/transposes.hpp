// Rows that become columns, by panels as products.hpp reads them.

#pragma once

#include "products.hpp"
#include "vectors.hpp"

namespace {

// Two rows of N numbers merged: one number of either in turn, from their first or their last halves.
template <typename Row>
inline Row first_halves(Row a, Row b) {
  const int N = sizeof(Row) / sizeof(a[0]);
  if constexpr (N == 2) return __builtin_shufflevector(a, b, 0, 2);
  else if constexpr (N == 4) return __builtin_shufflevector(a, b, 0, 4, 1, 5);
  else if constexpr (N == 8) return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  else return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
template <typename Row>
inline Row last_halves(Row a, Row b) {
  const int N = sizeof(Row) / sizeof(a[0]);
  if constexpr (N == 2) return __builtin_shufflevector(a, b, 1, 3);
  else if constexpr (N == 4) return __builtin_shufflevector(a, b, 2, 6, 3, 7);
  else if constexpr (N == 8) return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  else return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// Rows that are turned at once: as many as a register has numbers where one instruction merges across its whole width.
template <typename T>
constexpr int BLOCK = REGISTER == 64 || Vector<T>::LANES < 4 ? (int)Vector<T>::LANES : 4;

// The columns of a block of N by N become rows: each merging of rows that are half a block apart moves a bit of the
// row's number to the column's.
template <int N, typename T>
inline void turn_block(const T *in, int64_t in_row, T *out, int64_t out_row) {
  typedef T Row __attribute__((vector_size(N * sizeof(T)), aligned(sizeof(T)), may_alias));
  Row block[N], merged[N];
#pragma GCC unroll 16
  for (int i = 0; i < N; i++) block[i] = *(const Row *)(in + i * in_row);
#pragma GCC unroll 4
  for (int bits = 1; bits < N; bits *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < N / 2; i++) {
      merged[2 * i] = first_halves(block[i], block[i + N / 2]);
      merged[2 * i + 1] = last_halves(block[i], block[i + N / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < N; i++) block[i] = merged[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < N; i++) *(Row *)(out + i * out_row) = block[i];
}

// The transpose of in (rows, columns) in panels, both filled up to whole vectors.
template <typename T>
Panels<T> turned_panels(const T *in, int64_t in_row, int64_t rows, int64_t columns, Room<T> &room) {
  const int64_t next = padded<T>(columns) * PANEL<T>;
  T *out = room.fit((rows + PANEL<T> - 1) / PANEL<T> * next);
  for (int64_t i = 0; i < rows; i += BLOCK<T>)
    for (int64_t j = 0; j < columns; j += BLOCK<T>)
      turn_block<BLOCK<T>>(in + i * in_row + j, in_row, out + i / PANEL<T> * next + j * PANEL<T> + i % PANEL<T>, PANEL<T>);
  return {out, PANEL<T>, next};
}

}  // namespace
