// Binds products with matrices of 8 or 4 bits, and their rows as floats.
#include "bindings/binder/copied.h"
#include "bindings/binder/define.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/ops/index_range.h"
#include "bindings/ops/quantized_args.h"

namespace ranvier::bind {

Input in_order(const Input& panels) {
  if (!panels || panels.is_contiguous()) return panels;
  if (t_recording) panels.fail("contiguous panels in a recorded step");
  const py::object copy =
      checked(reinterpret_cast<PyObject*>(PyArray_GETCONTIGUOUS(as_array(panels.object()))));
  return Input::exactly({panels.op(), panels.name(), copy}, DType::uint8);
}

QuantizedMatrix matrix_of(const Name& kind, const Input& panels, const Input& scale, int64_t n, int64_t k,
                          bool may_be_rows) {
  QuantizedMatrix w{};
  w.kind = static_cast<QuantizedKind>(kind.one_of({"int8", "q8_0", "q4_0"}));
  w.n = n;
  w.k = k;
  if (may_be_rows && panels.ndim() == 2) {
    w.panel = 1;
    const bool are_rows = panels.shape(0) == n && panels.shape(1) == w.panel_bytes();
    w.panel = are_rows ? 1 : kPanel;
  }
  panels.expect_shape({w.panel_count(), w.panel_bytes()});
  const bool of_rows = w.kind == QuantizedKind::int8;
  if (of_rows && !scale) fail_value(kind.op, "got kind ", kind.value, " without scale; expected scale (n,)");
  if (!of_rows && scale)
    fail_value(kind.op, "got kind ", kind.value, " and scale; expected None, as the panels have it");
  if (scale) scale.expect_shape({n});
  w.panels = panels.view<uint8_t>();
  if (scale) w.scale = scale.view<float>();
  return w;
}

namespace {

constexpr int64_t kQuantizedPerElement = 16;  // this many take as long as one element of an element-wise op

// x (.., k): y (.., n) = x w^T + bias
Output quantized_matmul(const Exactly<DType::float32>& given_x, const Codes& given_panels,
                        const MaybeScale& given_scale, const MaybeScale& given_bias, Name kind, Whole n,
                        Whole k) {
  const Input x = contiguous(given_x);
  const Input panels = in_order(given_panels);
  const Input scale = contiguous(given_scale);
  const Input bias = contiguous(given_bias);
  if (n < 0 || k < 0) n.fail("n and k of at least 0");
  if (x.ndim() == 0 || x.shape(x.ndim() - 1) != k)
    x.fail("(.., ", k.number, ") for a matrix (", n.number, ", ", k.number, ")");
  const QuantizedMatrix w = matrix_of(kind, panels, scale, n, k);
  if (bias) bias.expect_shape({n});
  Shape shape = x.shape();
  shape[x.ndim() - 1] = n;
  Output y = Output::contiguous(DType::float32, shape);
  const QuantizedMatmul call{w, x, bias, y, {}};
  invoke_sized(call, numel(call.y) * std::max<int64_t>(w.k / kQuantizedPerElement, 1));
  return y;
}

// y (.., k): the rows that the index (..) picks, or all
Output quantized_rows(const Codes& given_panels, const MaybeScale& given_scale,
                      const Maybe<Integers>& given_index, Name kind, Whole n, Whole k) {
  const Input panels = in_order(given_panels);
  const Input scale = contiguous(given_scale);
  if (n < 0 || k < 0) n.fail("n and k of at least 0");
  const QuantizedMatrix w = matrix_of(kind, panels, scale, n, k, true);
  Input index = given_index;
  if (index && !index.is_contiguous()) {
    Output dense = Output::contiguous(DType::int64, index.shape());
    invoke_cast(index, dense, DType::int64);
    const py::object copy = dense.release();
    index = Input::integers({index.op(), index.name(), copy});
  }
  if (index) require_rows(index, n);
  if (index && index.ndim() == kMaxDims) index.fail(kFewerDims);
  Shape shape = index ? index.shape() : Shape{n};
  shape.append(k);
  Output y = Output::contiguous(DType::float32, shape);
  const QuantizedRows call{w, index, y};
  invoke_sized(call, numel(call.y));
  return y;
}

}  // namespace

void register_quantized(Module m) {
  def(m, "quantized_matmul(x, panels, scale, bias, kind, n, k)", quantized_matmul);
  def(m, "quantized_rows(panels, scale, index, kind, n, k)", quantized_rows);
}

}  // namespace ranvier::bind
