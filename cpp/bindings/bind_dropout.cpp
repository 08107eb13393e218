#include "bindings/define.h"
#include "kernels/dropout/dropout.h"

namespace ranvier::bind {
namespace {

// state: the seed and the number of keys given, which is raised.
Output next_key(InPlace state) {
  const auto seed = state.of(DType::int64, {2}).view<int64_t>();
  if (seed.strides[0] != 1) fail_value(state.op, "got a strided state; expected a contiguous one");
  Output key = Output::contiguous(DType::int64, {2});
  invoke(NextKey{seed, key.view<int64_t>()});
  return key;
}

// Not a kernel call: a compiled step does not record it, as it does not record NumPy's. A seed below 0 stands
// for 2**64 more.
void permute(InPlace order, Whole seed) {
  const auto v = order.of(DType::int64, {static_cast<int64_t>(py::len(order.value))}).view<int64_t>();
  if ((v.shape[0] > 1 && v.strides[0] != 1) || v.shape[0] >= int64_t{1} << 32)
    fail_value(order.op, "got a strided or too long array");
  permutation(static_cast<uint64_t>(seed.number), v.shape[0], v.data);
}

// The same call with dy for x is the gradient.
Output dropout(Floats x, Real p, Key key, Out out) {
  if (!(p >= 0 && p <= 1)) p.fail("a probability, 0 to 1");
  Output y = out.like_or_onto(x, x);
  run<Dropout>(x.dtype(), p.number, key, x, y);
  return y;
}

Output filled(Distribution distribution, const Sizes& shape, const Name& dtype, double a, double b,
              const Key& key) {
  if (dtype.text != "float32" && dtype.text != "float64") dtype.wrong_type("float32 or float64");
  const DType type = dtype.text == "float32" ? DType::float32 : DType::float64;
  Output y = Output::contiguous(type, shape.shape());
  run<RandomFill>(type, distribution, a, b, key, y);
  return y;
}

Output random_uniform(ShapeArg shape, Name dtype, Real low, Real high, Key key) {
  if (!(low <= high))
    fail_value(low.op, "got low ", low.number, " and high ", high.number, "; expected low <= high");
  return filled(Distribution::uniform, shape, dtype, low, high, key);
}

Output random_normal(ShapeArg shape, Name dtype, Real mean, Real std, Key key) {
  std.at_least(0);
  return filled(Distribution::normal, shape, dtype, mean, std, key);
}

}  // namespace

void register_dropout(Module m) {
  def(m, "next_key(state)", next_key);
  def(m, "permute(order, seed)", permute);
  def(m, "dropout(x, p, key, out=None)", dropout);
  def(m, "random_uniform(shape, dtype, low, high, key)", random_uniform);
  def(m, "random_normal(shape, dtype, mean, std, key)", random_normal);
}

}  // namespace ranvier::bind
