#include "bindings/copied.h"
#include "bindings/define.h"
#include "bindings/index_range.h"
#include "kernels/embedding/embedding.h"

namespace ranvier::bind {
namespace {

// Runs a call that writes contiguous rows: into y itself, or into an array that is then copied to y.
template <template <class> class Call, class... A>
void run_rows(DType dtype, const Shape& shape, const Output& y, const A&... fields) {
  if (is_contiguous(y.view<char>())) return run<Call>(dtype, fields..., y);
  Output own = Output::contiguous(dtype, shape);
  run<Call>(dtype, fields..., own);
  with_float(dtype, [&](auto tag) {
    using T = decltype(tag);
    invoke_released(Copy<T>{as_const(own.view<T>()), y.view<T>()});
  });
}

// y[.., :] = weight[index[..], :]
Output embedding(Integers index, Floats weight, Out out) {
  if (weight.ndim() != 2) weight.fail("2 dimensions (num_embeddings, embedding_dim)");
  if (index.ndim() == kMaxDims)
    fail_value(index.op(), "got index with ", kMaxDims, " dimensions; expected fewer");
  Shape shape = index.shape();
  shape.append(weight.shape(1));
  Output y = out.shaped(weight.dtype(), shape, weight, index);
  require_rows(index, weight.shape(0));
  run_rows<EmbeddingForward>(weight.dtype(), shape, y, weight, index);
  return y;
}

Output embedding_backward(Floats given_dy, Integers index, Whole rows, MaybeWhole padding_idx,
                          Truth scale_grad_by_freq, Out out) {
  const Input dy = contiguous(given_dy);
  if (rows < 0) rows.fail("at least 0");
  const int64_t padding = padding_idx.value_or(-1);
  if (padding < -1 || padding >= std::max<int64_t>(rows, 1))
    fail_value(dy.op(), "got padding_idx ", padding, " for ", rows.number,
               " embeddings; expected one of them");
  if (dy.ndim() != index.ndim() + 1 || dy.shape().part(0, index.ndim()) != index.shape())
    fail_value(dy.op(), "got dy of shape ", dy.shape(), " for index of shape ", index.shape(),
               "; expected one dimension more");
  const Shape shape{rows, dy.shape(index.ndim())};
  Output dweight = out.shaped(dy.dtype(), shape, dy, index);
  require_rows(index, rows);
  run_rows<EmbeddingBackward>(dy.dtype(), shape, dweight, padding, scale_grad_by_freq.holds, dy, index);
  return dweight;
}

// y[b] = the sum of weight[index[i]], or scale[i] times that, for starts[b] <= i < starts[b + 1]
Output bag(Integers index, Floats given_weight, Integers starts, MaybeFloats scale) {
  const Input weight = contiguous(given_weight);
  if (weight.ndim() != 2) weight.fail("2 dimensions (num_embeddings, embedding_dim)");
  if (index.ndim() != 1) index.fail("one dimension");
  if (starts.ndim() != 1 || starts.shape(0) < 1) starts.fail("one dimension of at least one element");
  if (scale) scale.expect_shape(index.shape());
  require_rows(index, weight.shape(0));
  Output y = Output::contiguous(weight.dtype(), {starts.shape(0) - 1, weight.shape(1)});
  run<Bag>(weight.dtype(), weight, index, starts, scale, y);
  return y;
}

}  // namespace

void register_embedding(Module m) {
  def(m, "embedding_bag(index, weight, starts, scale=None)", bag);
  def(m, "embedding(index, weight, out=None)", embedding);
  def(m,
      "embedding_backward(dy, index, num_embeddings, padding_idx=None, scale_grad_by_freq=False, out=None)",
      embedding_backward);
}

}  // namespace ranvier::bind
