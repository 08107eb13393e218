// Binds embeddings (rows of a table that indices pick) and embedding bags (the sum, mean or maximum of such
// rows for each bag of indices), with their gradients.
#include "bindings/binder/copied.h"
#include "bindings/binder/define.h"
#include "bindings/binder/moved.h"
#include "bindings/ops/index_range.h"
#include "kernels/embedding/embedding.h"

namespace ranvier::bind {
namespace {

// Runs a kernel that can only write contiguous arrays. If y is not contiguous, the kernel writes to a
// temporary, which is copied to y.
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

// x itself if it is C-contiguous, else a copy that is.
Input contiguous_integers(const Input& x) {
  if (x.is_contiguous()) return x;
  Output y = Output::contiguous(DType::int64, x.shape());
  invoke_cast(x, y, DType::int64);
  const py::object copy = y.release();
  return Input::integers({x.op(), x.name(), copy});
}

// y[.., :] = weight[index[..], :]
Output embedding(const Integers& given_index, const Reals& weight, Out out) {
  const Input index = contiguous_integers(given_index);
  if (weight.ndim() != 2) weight.fail("2 dimensions (num_embeddings, embedding_dim)");
  if (index.ndim() == kMaxDims)
    fail_value(index.op(), "got index with ", kMaxDims, " dimensions; expected ", kFewerDims);
  Shape shape = index.shape();
  shape.append(weight.shape(1));
  Output y = out.shaped(weight.dtype(), shape, weight, index);
  require_rows(index, weight.shape(0));
  if (is_half(weight) && out.given()) weight.fail("float32 with out");
  if (is_half(weight))
    invoke_sized(EmbeddingForward<BFloat16>{weight, index, y}, shape.elements());
  else
    run_rows<EmbeddingForward>(weight.dtype(), shape, y, weight, index);
  return y;
}

// The gradient of weight (rows, dim) from dy. padding_idx: the row that gets no gradient, or None.
Output embedding_backward(const Floats& given_dy, const Integers& index, Whole rows, MaybeWhole padding_idx,
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

// The arguments of a call on bags, checked. Either index (bags, n) has a bag in each row, or index is a
// vector and bag i begins at offsets[i]. With include_last the last offset is the end of the last bag.
struct Bags {
  BagSettings settings;
  // starts: the offsets, or empty; scale: the weights of samples, or empty.
  Input weight, index, starts, scale;
  int64_t count;  // how many bags

  Bags(const Input& given_index, const Input& given_weight, const Input& offsets, const Input& given_scale,
       const Name& mode, const Truth& include_last, const MaybeWhole& padding_idx)
      : weight(contiguous(given_weight)), starts(offsets) {
    const char* op = given_index.op();
    settings.mode = BagMode(mode.one_of({"sum", "mean", "max"}));
    settings.padding = padding_idx.value_or(-1);
    if (weight.ndim() != 2) weight.fail("2 dimensions (num_embeddings, embedding_dim)");
    if (given_scale && settings.mode != BagMode::sum)
      fail_value(op, "got per_sample_weights and mode ", mode.value, "; expected mode 'sum'");
    index = contiguous_integers(given_index);
    if (index.ndim() == 2) {
      if (offsets) fail_value(op, "got offsets for indices of two dimensions; expected None");
      count = index.shape(0);
    } else {
      if (index.ndim() != 1 || !offsets)
        fail_value(op, "got indices of one dimension without offsets; expected offsets");
      check_starts();
      count = starts.shape(0) - include_last;
      if (count < 0) fail_value(op, "got no offsets with include_last_offset; expected at least one");
    }
    scale = contiguous(given_scale);
    if (scale) scale.expect_shape(index.shape());
    require_rows(index, weight.shape(0));
  }

 private:
  // Fails unless the offsets begin with 0, do not decrease, and lie within the indices.
  void check_starts() const {
    const TensorView<const int64_t> v = starts.view<int64_t>();
    bool ordered = v.ndim == 1;
    int64_t before = 0;
    for (int64_t k = 0; ordered && k < v.shape[0]; ++k) {
      const int64_t start = v.data[k * v.strides[0]];
      ordered = k == 0 ? start == 0 : start >= before;
      before = start;
    }
    if (!ordered)
      fail_value(index.op(), "got offsets that do not start at 0 or decrease; expected 0, ... in order");
    if (before > index.shape(0))
      fail_value(index.op(), "got offset ", before, " for ", index.shape(0),
                 " indices; expected at most that");
  }
};

Output bag(const Integers& index, const Floats& weight, const Maybe<Integers>& offsets,
           const MaybeFloats& scale, Name mode, Truth include_last_offset, MaybeWhole padding_idx) {
  const Bags bags(index, weight, offsets, scale, mode, include_last_offset, padding_idx);
  Output y = Output::contiguous(weight.dtype(), {bags.count, weight.shape(1)});
  run<BagForward>(weight.dtype(), bags.settings, bags.weight, bags.index, bags.starts, bags.scale, y);
  return y;
}

// Returns the gradients of weight and of scale. Those that are not needed are None.
std::tuple<MaybeOutput, MaybeOutput> bag_backward(const Floats& dy, const Floats& y, const Integers& index,
                                                  const Floats& weight, const Maybe<Integers>& offsets,
                                                  const MaybeFloats& scale, Name mode,
                                                  Truth include_last_offset, MaybeWhole padding_idx,
                                                  Truth scale_grad_by_freq, Truth need_dweight,
                                                  Truth need_dscale) {
  const Bags bags(index, weight, offsets, scale, mode, include_last_offset, padding_idx);
  dy.expect_shape({bags.count, weight.shape(1)});
  y.expect_shape(dy.shape());
  MaybeOutput dweight, dscale;
  if (need_dweight) dweight = Output::contiguous(weight.dtype(), weight.shape());
  if (scale && need_dscale) dscale = Output::contiguous(weight.dtype(), scale.shape());
  run<BagBackward>(weight.dtype(), bags.settings, scale_grad_by_freq.holds, contiguous(dy), contiguous(y),
                   bags.weight, bags.index, bags.starts, bags.scale, dweight, dscale);
  return {std::move(dweight), std::move(dscale)};
}

}  // namespace

void register_embedding(Module m) {
  def(m,
      "embedding_bag(index, weight, offsets=None, scale=None, mode='sum', include_last_offset=False, "
      "padding_idx=None)",
      bag);
  def(m,
      "embedding_bag_backward(dy, y, index, weight, offsets=None, scale=None, mode='sum', "
      "include_last_offset=False, padding_idx=None, scale_grad_by_freq=False, need_dweight=True, "
      "need_dscale=True)",
      bag_backward, "embedding_bag");
  def(m, "embedding(index, weight, out=None)", embedding);
  def(m,
      "embedding_backward(dy, index, num_embeddings, padding_idx=None, scale_grad_by_freq=False, out=None)",
      embedding_backward);
}

}  // namespace ranvier::bind
