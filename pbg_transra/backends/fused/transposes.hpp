// Rows that become columns, by panels as products.hpp reads them.

#pragma once

#include "products.hpp"
#include "vectors.hpp"

namespace {

// Two rows of N numbers merged: one number of either in turn, from the beginning of each or from its MIDDLE.
template <bool MIDDLE, typename Row>
inline Row merged(Row a, Row b) {
  constexpr int N = sizeof(Row) / sizeof(a[0]), A = MIDDLE ? N / 2 : 0, B = N + A;
  if constexpr (N == 2) return __builtin_shufflevector(a, b, A, B);
  else if constexpr (N == 4) return __builtin_shufflevector(a, b, A, B, A + 1, B + 1);
  else if constexpr (N == 8) return __builtin_shufflevector(a, b, A, B, A + 1, B + 1, A + 2, B + 2, A + 3, B + 3);
  else return __builtin_shufflevector(a, b, A, B, A + 1, B + 1, A + 2, B + 2, A + 3, B + 3, A + 4, B + 4, A + 5, B + 5,
                                      A + 6, B + 6, A + 7, B + 7);
}

// Rows that are turned at once: as many as a register has numbers where one instruction merges across its whole width.
template <typename T>
constexpr int BLOCK = REGISTER == 64 || Vector<T>::LANES < 4 ? (int)Vector<T>::LANES : 4;

// The columns of a block of N by N become rows: each merging of rows that are half a block apart moves a bit of the
// row's number to the column's.
template <int N, typename T>
inline void turn_block(const T *in, int64_t in_row, T *out, int64_t out_row) {
  typedef T Row __attribute__((vector_size(N * sizeof(T)), aligned(sizeof(T)), may_alias));
  Row block[N], turned[N];
#pragma GCC unroll 16
  for (int i = 0; i < N; i++) block[i] = *(const Row *)(in + i * in_row);
#pragma GCC unroll 4
  for (int bits = 1; bits < N; bits *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < N / 2; i++) {
      turned[2 * i] = merged<false>(block[i], block[i + N / 2]);
      turned[2 * i + 1] = merged<true>(block[i], block[i + N / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < N; i++) block[i] = turned[i];
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
