// Equal keys get one number, in the order in which they first come.

#pragma once

#include <cstdint>

namespace {

// `table` has `slots` (a power of two, more than `count`) entries of -1. Writes the number of each key and where each
// number comes first; returns how many there are.
inline int64_t numbered(const int64_t *keys, int64_t count, int64_t *table, int64_t slots, int64_t *places,
                        int64_t *firsts) {
  int64_t found = 0;
  for (int64_t n = 0; n < count; ++n) {
    uint64_t mixed = (uint64_t)keys[n] * 0x9E3779B97F4A7C15u;
    int64_t slot = (int64_t)((mixed ^ (mixed >> 32)) & (uint64_t)(slots - 1));
    while (table[slot] >= 0 && keys[firsts[table[slot]]] != keys[n]) slot = (slot + 1) & (slots - 1);
    if (table[slot] < 0) {
      firsts[found] = n;
      table[slot] = found++;
    }
    places[n] = table[slot];
  }
  return found;
}

}  // namespace
