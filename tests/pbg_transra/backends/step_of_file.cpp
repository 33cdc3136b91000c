// A step of kernels.cpp on what a file holds, for processors that Python does not run on here; see test_arm_kernels.py.

#include <cstdio>
#include <cstdlib>

#include "../../../pbg_transra/backends/fused/kernels.cpp"

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
  Batch<float> b = {};
  // relations, those with projections, edges, groups, uniform, dimension, within, similarity, loss, unit; rows of the tables
  const auto sizes = read<int64_t>(in, 12);
  const auto numbers = read<double>(in, 8);  // share to relation_lr
  const int64_t relations = sizes[0], edges = sizes[2], d = sizes[5], square = sizes[1] * d * d;
  b.groups = sizes[3], b.uniform = sizes[4], b.dimension = d, b.within = sizes[6];
  b.similarity = sizes[7], b.loss = sizes[8], b.unit = sizes[9];
  b.share = numbers[0], b.scale = numbers[1], b.margin = numbers[2], b.head_weight = numbers[3];
  b.pull = numbers[4], b.regularization = numbers[5], b.lr = numbers[6], b.relation_lr = numbers[7];
  std::vector<float> tables[2], projections[2], sums[2], projection_sums[2];
  std::vector<int64_t> ends[2], negatives[2];
  for (int side = 0; side < 2; side++) {
    b.counts[side] = sizes[10 + side];
    tables[side] = read<float>(in, b.counts[side] * d);
    projections[side] = read<float>(in, square);
    ends[side] = read<int64_t>(in, edges);
    negatives[side] = read<int64_t>(in, b.groups * b.uniform);
    sums[side].resize(b.counts[side]);
    projection_sums[side].resize(square);
    b.vectors[side] = tables[side].data(), b.sums[side] = sums[side].data();
    b.ends[side] = ends[side].data(), b.negatives[side] = negatives[side].data();
    b.projections[side] = projections[side].data(), b.projection_sums[side] = projection_sums[side].data();
  }
  auto translations = read<float>(in, relations * d), relation_weights = read<float>(in, relations);
  std::vector<float> translation_sums(relations * d);
  const auto starts = read<int64_t>(in, b.groups), lengths = read<int64_t>(in, b.groups),
             of_groups = read<int64_t>(in, b.groups), slots = read<int64_t>(in, relations);
  std::vector<double> losses(b.groups);
  b.translations = translations.data(), b.translation_sums = translation_sums.data();
  b.relation_weights = relation_weights.data(), b.losses = losses.data();
  b.starts = starts.data(), b.lengths = lengths.data(), b.relations = of_groups.data(), b.slots = slots.data();
  if (train_float(&b) != MOVED) return 1;
  for (int side = 0; side < 2; side++)
    for (const auto *values : {&tables[side], &sums[side], &projections[side], &projection_sums[side]}) write(out, *values);
  for (const auto *values : {&translations, &translation_sums}) write(out, *values);
  write(out, losses);
  return std::fclose(out);
}
