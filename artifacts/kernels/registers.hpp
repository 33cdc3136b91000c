// The vector registers of the instruction set that a copy is compiled for. Whatever the compiler's flags allow is used:
// setup.py builds a copy of each kernels.cpp for each level, and levels.py picks one of them.

#pragma once

#include <cstdint>

namespace {

#if defined(__AVX512F__)
const int REGISTER = 64, REGISTERS = 32;
#elif defined(__AVX2__)
const int REGISTER = 32, REGISTERS = 16;
#elif defined(__aarch64__)
const int REGISTER = 16, REGISTERS = 32;
#else
const int REGISTER = 16, REGISTERS = 16;
#endif

template <typename T>
struct Vector {
  typedef T type __attribute__((vector_size(REGISTER), aligned(sizeof(T)), may_alias));
  static const int64_t LANES = REGISTER / sizeof(T);
};

// So many numbers fill whole vectors.
template <typename T>
constexpr int64_t padded(int64_t count) {
  return (count + Vector<T>::LANES - 1) & -Vector<T>::LANES;
}

}  // namespace
