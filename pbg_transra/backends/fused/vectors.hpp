// Sums in vector registers, and memory for rows that are read by them.

#pragma once

#include <cstdint>
#include <cstring>
#include <new>

#include "registers.hpp"

namespace {

// The sum of a vector's numbers: halves are added until there is one.
template <typename V>
inline auto total(V v) {
  const int N = sizeof(V) / sizeof(v[0]);
  if constexpr (N == 2) return v[0] + v[1];
  else if constexpr (N == 4) return total(__builtin_shufflevector(v, v, 0, 1) + __builtin_shufflevector(v, v, 2, 3));
  else if constexpr (N == 8) return total(__builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7));
  else return total(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
}

// Inner product.
template <typename T>
inline T dot(const T *a, const T *b, int64_t count) {
  using Lanes = typename Vector<T>::type;
  const int64_t LANES = Vector<T>::LANES, whole = count / LANES * LANES;
  Lanes sums = {};
  for (int64_t i = 0; i < whole; i += LANES) sums += *(const Lanes *)(a + i) * *(const Lanes *)(b + i);
  T sum = total(sums);
  for (int64_t i = whole; i < count; i++) sum += a[i] * b[i];
  return sum;
}

// How far apart rows of so many numbers lie: an odd number of the caches' lines, or many rows would share few of their sets.
template <typename T>
constexpr int64_t apart(int64_t count) {
  const int64_t line = 64 / sizeof(T);
  return ((count + line - 1) / line | 1) * line;
}

// Memory that begins with a line of the caches, kept from batch to batch; zeros before anything is written to it.
template <typename T>
class Room {
 public:
  Room() = default;
  Room(const Room &) = delete;
  Room &operator=(const Room &) = delete;
  ~Room() { ::operator delete[](data_, LINE); }

  // What it held is lost where it has to grow.
  T *fit(int64_t count) {
    if (count <= count_) return data_;
    ::operator delete[](data_, LINE);
    data_ = nullptr, count_ = 0;
    data_ = static_cast<T *>(::operator new[](count * sizeof(T), LINE));
    count_ = count;
    std::memset(static_cast<void *>(data_), 0, count * sizeof(T));
    return data_;
  }
  T *data() const { return data_; }

 private:
  static constexpr std::align_val_t LINE{64};
  T *data_ = nullptr;
  int64_t count_ = 0;
};

}  // namespace
