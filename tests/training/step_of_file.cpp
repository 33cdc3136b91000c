// A step of kernels.cpp on what a file holds, for processors that Python does not run on here; see test_arm_kernels.py.

#include <cstdio>

#include "../../pbg_transra/backends/fused/kernels.cpp"

template <typename T>
std::vector<T> read(FILE *file, int64_t count) {
  std::vector<T> values(count);
  if (std::fread(values.data(), sizeof(T), count, file) != (size_t)count) std::exit(1);
  return values;
}

template <typename T>
void write(FILE *file, const std::vector<T> &values) {
  std::fwrite(values.data(), sizeof(T), values.size(), file);
}

int main(int, char **arguments) {
  FILE *in = std::fopen(arguments[1], "rb"), *out = std::fopen(arguments[2], "wb");
  const auto sizes = read<int64_t>(in, 9);  // relations, groups, chunks, size, uniform, D, similarity, loss, unit
  const auto numbers = read<double>(in, 4);
  const int64_t relations = sizes[0], chunks = sizes[1] * sizes[2], edges = chunks * sizes[3], d = sizes[5];
  const int64_t rows = 2 * (edges + sizes[1] * sizes[4]), square = relations * d * d;
  const auto vectors = read<float>(in, rows * d), left = read<float>(in, square), right = read<float>(in, square),
             translations = read<float>(in, relations * d), weights = read<float>(in, edges);
  const auto counts = read<int64_t>(in, chunks);
  std::vector<float> by_vectors(rows * d), by_left(square), by_right(square), by_translations(relations * d);
  std::vector<double> losses(sizes[1]);
  gradients_float(vectors.data(), left.data(), right.data(), translations.data(), weights.data(), counts.data(),
                  by_vectors.data(), by_left.data(), by_right.data(), by_translations.data(), losses.data(), relations,
                  sizes[1], sizes[2], sizes[3], sizes[4], d, numbers[0], numbers[1], numbers[2], numbers[3], (int)sizes[6],
                  (int)sizes[7], (int)sizes[8]);
  for (const auto *values : {&by_vectors, &by_left, &by_right, &by_translations}) write(out, *values);
  write(out, losses);
  return std::fclose(out);
}
