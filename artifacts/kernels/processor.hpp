// Whether this processor, and the system on it, has what a level of kernels needs (levels.py asks the baseline's
// copy, which runs anywhere). Part of each kernels.cpp, so each library exports these functions.
#pragma once

extern "C" {
int has_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return 0;
#endif
}

int has_avx512() {
#if defined(__x86_64__)
  return has_avx2() && __builtin_cpu_supports("avx512f");
#else
  return 0;
#endif
}
}
