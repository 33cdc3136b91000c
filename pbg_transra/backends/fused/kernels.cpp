// Whole steps, compiled; see kernels.py for what they do, and levels.py for who calls which copy.
//
// Plain pointers and no torch headers: nothing to rebuild when torch changes. torch_kernels.py says the same in torch and
// stands in where this was not compiled. float trains; double is what tests compare with autograd.

#include "peak.hpp"
#include "processor.hpp"
#include "step.hpp"

extern "C" {
int train_float(Batch<float> *batch) { return train(*batch); }
int train_double(Batch<double> *batch) { return train(*batch); }

// For benchmarks.
int64_t multiply_adds_float(int64_t repeats) { return multiply_adds<float>(repeats); }
void gather_float(const float *table, const int64_t *rows, int64_t count, int64_t width, float *out) {
  gather(table, rows, count, width, out, width);
}
}
