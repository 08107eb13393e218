#include <algorithm>
#include <string>

#include "bindings/copied.h"
#include "bindings/index_range.h"
#include "kernels/embedding/embedding.h"

namespace ranvier::bind {
namespace {

// embedding(index, weight, out): y[.., :] = weight[index[..], :]
py::object embedding(py::handle index_, py::handle weight_, py::handle out) {
  constexpr const char* op = "embedding";
  const Input weight = Input::floating(op, "weight", weight_);
  const Input index = Input::integers(op, "index", index_);
  if (weight.ndim() != 2)
    fail_value(op, "got weight of shape " + shape_text(weight.ndim(), weight.shape()) +
                       "; expected 2 dimensions (num_embeddings, embedding_dim)");
  if (index.ndim() == kMaxDims)
    fail_value(op, "got index with " + std::to_string(kMaxDims) + " dimensions; expected fewer");
  int64_t shape[kMaxDims];
  *std::copy_n(index.shape(), index.ndim(), shape) = weight.shape(1);
  Output y = Output::given(op, out, weight.dtype(), index.ndim() + 1, shape);
  y.apart_from(op, weight).apart_from(op, index);
  require_range(row_range(op, index, weight.shape(0)));
  return with_float(weight.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const bool direct = is_contiguous(y.view<T>());
    Output own = direct ? std::move(y) : Output::contiguous(weight.dtype(), index.ndim() + 1, shape);
    invoke_released(EmbeddingForward<T>{weight.view<T>(), index.view<int64_t>(), own.view<T>()});
    if (direct) return own.release();
    invoke_released(Copy<T>{as_const(own.view<T>()), y.view<T>()});
    return y.release();
  });
}

// embedding_backward(dy, index, num_embeddings, padding_idx, scale_grad_by_freq, out)
py::object embedding_backward(py::handle dy_, py::handle index_, py::handle rows_, py::handle padding_,
                              py::handle by_frequency_, py::handle out) {
  constexpr const char* op = "embedding_backward";
  const bool by_frequency = truth(op, "scale_grad_by_freq", by_frequency_);
  const Input dy = contiguous(Input::floating(op, "dy", dy_));
  const Input index = Input::integers(op, "index", index_);
  const int64_t rows = whole_number(op, "num_embeddings", rows_);
  if (rows < 0) fail_value(op, "got num_embeddings " + std::to_string(rows) + "; expected at least 0");
  const int64_t padding = padding_.is_none() ? -1 : whole_number(op, "padding_idx", padding_);
  if (padding < -1 || padding >= std::max<int64_t>(rows, 1))
    fail_value(op, "got padding_idx " + std::to_string(padding) + " for " + std::to_string(rows) +
                       " embeddings; expected one of them");
  if (dy.ndim() != index.ndim() + 1 || !std::equal(index.shape(), index.shape() + index.ndim(), dy.shape()))
    fail_value(op, "got dy of shape " + shape_text(dy.ndim(), dy.shape()) + " for index of shape " +
                       shape_text(index.ndim(), index.shape()) + "; expected one dimension more");
  const int64_t width = dy.shape(index.ndim()), shape[] = {rows, width};
  Output dweight = Output::given(op, out, dy.dtype(), 2, shape);
  dweight.apart_from(op, dy).apart_from(op, index);
  require_range(row_range(op, index, rows));
  return with_float(dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const bool direct = is_contiguous(dweight.view<T>());
    Output own = direct ? dweight : Output::contiguous(dy.dtype(), {rows, width});
    invoke_released(
        EmbeddingBackward<T>{padding, by_frequency, dy.view<T>(), index.view<int64_t>(), own.view<T>()});
    if (!direct) invoke_released(Copy<T>{as_const(own.view<T>()), dweight.view<T>()});
    return dweight.release();
  });
}

}  // namespace

void register_embedding(py::module_& m) {
  const auto out = py::arg("out") = py::none();
  m.def("embedding", embedding, py::arg("index"), py::arg("weight"), out);
  m.def("embedding_backward", embedding_backward, py::arg("dy"), py::arg("index"), py::arg("num_embeddings"),
        py::arg("padding_idx") = py::none(), py::arg("scale_grad_by_freq") = false, out);
}

}  // namespace ranvier::bind
