// What a core can do at most, for benchmarks: multiply-adds in registers, as many chains of them as hide their latency.

#pragma once

#include "registers.hpp"

namespace {

// Returns how many multiply-adds were done.
template <typename T>
int64_t multiply_adds(int64_t repeats) {
  using Lanes = typename Vector<T>::type;
  const int CHAINS = REGISTERS == 32 ? 24 : 12;
  volatile T given = 1;  // read anew for each chain, or the compiler would see that all are the same
  const Lanes factor = Lanes{} + given, more = Lanes{} + given;
  Lanes sums[CHAINS];
  for (Lanes &sum : sums) sum = Lanes{} + given;
  for (int64_t i = 0; i < repeats; i++)
#pragma GCC unroll 24
    for (int chain = 0; chain < CHAINS; chain++) sums[chain] = sums[chain] * factor + more;
  for (int chain = 1; chain < CHAINS; chain++) sums[0] += sums[chain];
  given = sums[0][0];
  return repeats * CHAINS * Vector<T>::LANES;
}

}  // namespace
