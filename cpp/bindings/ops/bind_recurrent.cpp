// Binds forward and backward of a recurrent layer (LSTM, GRU, RNN) over whole sequences, in one direction. A
// batch is dense, x (steps, batch, inputs), or packed: x (rows, inputs) has the rows of all steps one after
// the other, and sizes[t] of them belong to step t.
#include "base/precision.h"
#include "bindings/binder/copied.h"
#include "bindings/binder/define.h"
#include "bindings/ops/quantized_args.h"
#include "kernels/recurrent/recurrent.h"

namespace ranvier::bind {
namespace {

using Steps = MaybeExactly<DType::int64>;  // the argument sizes: how many rows each step has; None: dense

// The inputs and weights of one layer and direction, checked, and the sizes that follow from them.
struct Sequence {
  const char* op;
  ranvier::Cell cell;
  bool is_lstm, has_gates;
  Input x, sizes, w_ih, w_hh;
  int64_t rows, steps, batch, inputs, hidden, width;  // rows: of all steps; width: gates * hidden

  Sequence(const Name& name, const Floats& given_x, const Steps& given_sizes, const Input& given_w_ih,
           const Input& given_w_hh)
      : op(name.op),
        cell(static_cast<ranvier::Cell>(name.one_of({"lstm", "gru", "rnn_tanh", "rnn_relu"}))),
        is_lstm(cell == ranvier::Cell::lstm),
        has_gates(is_lstm || cell == ranvier::Cell::gru),
        x(given_x),
        sizes(given_sizes),
        w_ih(given_w_ih),
        w_hh(given_w_hh) {
    const int axes = sizes ? 2 : 3;
    if (sizes && x.ndim() != axes) x.fail("2 dimensions (rows, inputs)");
    if (!sizes && x.ndim() != axes) x.fail("3 dimensions (steps, batch, inputs)");
    inputs = x.shape(axes - 1);
    if (sizes) {
      rows = x.shape(0);
      read_sizes();
    } else {
      steps = x.shape(0);
      batch = x.shape(1);
      rows = steps * batch;
    }
    if (steps < 1) fail_value(op, "got x of 0 steps; expected at least 1");
    const int64_t gates = gates_of(cell);
    if (w_hh && (w_hh.ndim() != 2 || w_hh.shape(1) < 1 || w_hh.shape(0) != gates * w_hh.shape(1)))
      w_hh.fail("(", gates, " * hidden, hidden)");
    hidden = w_hh ? w_hh.shape(1) : inputs / gates;
    width = gates * hidden;
    if (!w_ih && (inputs != width || hidden < 1)) x.fail("(.., ", gates, " * hidden) without w_ih");
    w_hh = contiguous(w_hh);
    w_ih = dense(w_ih, {width, inputs});
    x = contiguous(x);
  }

  // Reads `sizes`, which must not grow from step to step; the first one is the size of the batch.
  void read_sizes() {
    if (sizes.ndim() != 1) sizes.fail("1 dimension");
    const auto view = sizes.view<int64_t>();
    steps = view.shape[0];
    batch = steps ? view.data[0] : 0;
    int64_t before = batch;
    int64_t sum = 0;
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t n = view.data[t * view.strides[0]];
      if (n < 1 || n > before)
        fail_value(op, "got sizes with ", n, " after ", before,
                   "; expected numbers of at least 1 that never grow");
      sum += n;
      before = n;
    }
    if (sum != rows) fail_value(op, "got sizes of ", sum, " rows and x of ", rows, "; expected as many");
  }

  // The array as a contiguous one; fails unless it is empty or has this shape.
  Input dense(const Input& a, const Shape& shape) const {
    if (a) a.expect_shape(shape);
    return contiguous(a);
  }
  Input state(const Input& a) const { return dense(a, {batch, hidden}); }
  // The shape of an array with x's leading dimensions and this many columns.
  Shape of_steps(int64_t columns) const {
    return sizes ? Shape{rows, columns} : Shape{steps, batch, columns};
  }
  Output make(const Shape& shape) const { return Output::contiguous(x.dtype(), shape); }
  MaybeOutput make_if(bool needed, const Shape& shape) const {
    return needed ? MaybeOutput(make(shape)) : MaybeOutput();
  }
};

// An array (rows, columns) or (steps, batch, columns) as a view (rows, columns), as a field of run().
template <class A>
auto by_rows(const A& a) {
  return viewed(a, [](auto v) {
    if (v.data && v.ndim == 3) {
      v.ndim = 2;
      v.shape[0] *= v.shape[1];
      v.shape[1] = v.shape[2];
      v.strides[0] = v.shape[1];
      v.strides[1] = 1;
    }
    return v;
  });
}

// Fails unless the array is given exactly if the cell needs it.
void expect_given(const Input& a, bool needed) {
  if (!a && needed) fail_value(a.op(), "got ", a.name(), " None; expected an array for this cell");
  if (a && !needed) fail_value(a.op(), "got ", a.name(), "; expected None for this cell");
}

// Returns (y, h_n, c_n) and for backward, if `keep`, (gates, candidate, h_before, c_before): see
// kernels/recurrent/recurrent.h. Arrays that the cell does not have are None.
std::tuple<Output, Output, MaybeOutput, MaybeOutput, MaybeOutput, MaybeOutput, MaybeOutput> recurrent(
    Name cell, const Floats& x, const MaybeFloats& given_h0, const MaybeFloats& given_c0,
    const MaybeFloats& w_ih, const MaybeFloats& w_hh, const MaybeFloats& given_b_ih,
    const MaybeFloats& given_b_hh, const Steps& sizes, Truth reverse, Truth keep,
    const Maybe<Codes>& given_panels, const MaybeScale& given_scale, Name kind) {
  const Sequence s(cell, x, sizes, w_ih, w_hh);
  const Input b_ih = s.dense(given_b_ih, {s.width});
  const Input b_hh = s.dense(given_b_hh, {s.width});
  if (!s.w_ih && b_ih) fail_value(s.op, "got b_ih without w_ih; expected None: x has it");
  if (s.w_ih && static_cast<bool>(b_ih) != static_cast<bool>(b_hh))
    fail_value(s.op, "got one bias; expected b_ih and b_hh, or neither");
  const Input panels = in_order(given_panels);
  const Input scale = contiguous(given_scale);
  if (s.w_hh && panels) fail_value(s.op, "got w_hh and panels; expected w_hh or panels");
  if (!s.w_hh && !panels) fail_value(s.op, "got no w_hh; expected w_hh or panels");
  QuantizedMatrix quantized{};
  if (panels) {
    if (s.x.dtype() != DType::float32)
      fail_type(s.op, "got x of dtype float64; expected float32 with panels");
    quantized = matrix_of(kind, panels, scale, s.width, s.hidden);
  }
  const Input h0 = s.state(given_h0);
  const Input c0 = s.state(given_c0);
  if (!s.is_lstm) expect_given(given_c0, false);
  const Shape state{s.batch, s.hidden};
  const Shape row{s.rows, s.hidden};
  Output y = s.make(s.of_steps(s.hidden));
  Output h_n = s.make(state);
  MaybeOutput c_n = s.make_if(s.is_lstm, state);
  MaybeOutput gates = s.make_if(s.has_gates, {s.rows, s.width});
  MaybeOutput candidate = s.make_if(keep && s.cell == ranvier::Cell::gru, row);
  MaybeOutput h_before = s.make_if(keep, row);
  MaybeOutput c_before = s.make_if(keep && s.is_lstm, row);
  run<RecurrentForward>(s.x.dtype(), s.cell, reverse.holds, current_precision(), s.batch, s.steps,
                        by_rows(s.x), s.w_ih, s.w_hh, b_ih, b_hh, h0, c0, s.sizes, by_rows(y), h_n, c_n,
                        gates, candidate, h_before, c_before, quantized);
  if (!keep) gates = {};
  return {std::move(y),         std::move(h_n),      std::move(c_n),     std::move(gates),
          std::move(candidate), std::move(h_before), std::move(c_before)};
}

// Returns (dx, dh0, dc0, dw_ih, dw_hh, db_ih, db_hh); those that are not needed, or that the cell does not
// have, are None.
std::tuple<MaybeOutput, Output, MaybeOutput, MaybeOutput, MaybeOutput, MaybeOutput, MaybeOutput>
recurrent_backward(Name cell, const MaybeFloats& given_dy, const MaybeFloats& given_dh_n,
                   const MaybeFloats& given_dc_n, const Floats& x, const Floats& given_y,
                   const MaybeFloats& given_gates, const MaybeFloats& given_candidate,
                   const MaybeFloats& given_h_before, const MaybeFloats& given_c_before,
                   const MaybeFloats& w_ih, const Floats& w_hh, const Steps& sizes, Truth reverse,
                   Truth need_dx, Truth need_dw_ih, Truth need_dw_hh, Truth need_db) {
  const Sequence s(cell, x, sizes, w_ih, w_hh);
  expect_given(given_h_before, true);
  expect_given(given_gates, s.has_gates);
  expect_given(given_candidate, s.cell == ranvier::Cell::gru);
  expect_given(given_c_before, s.is_lstm);
  if (!s.is_lstm) expect_given(given_dc_n, false);
  const Shape state{s.batch, s.hidden};
  const Shape row{s.rows, s.hidden};
  const Input dy = s.dense(given_dy, s.of_steps(s.hidden));
  const Input y = s.dense(given_y, s.of_steps(s.hidden));
  const Input dh_n = s.state(given_dh_n);
  const Input dc_n = s.state(given_dc_n);
  const Input gates = s.dense(given_gates, {s.rows, s.width});
  const Input candidate = s.dense(given_candidate, row);
  const Input h_before = s.dense(given_h_before, row);
  const Input c_before = s.dense(given_c_before, row);
  Output dh0 = s.make(state);
  MaybeOutput dc0 = s.make_if(s.is_lstm, state);
  MaybeOutput dx = s.make_if(need_dx || !s.w_ih, s.of_steps(s.inputs));
  MaybeOutput dw_ih = s.make_if(need_dw_ih, {s.width, s.inputs});
  MaybeOutput dw_hh = s.make_if(need_dw_hh, {s.width, s.hidden});
  MaybeOutput db_ih = s.make_if(need_db, {s.width});
  MaybeOutput db_hh = s.make_if(need_db, {s.width});
  run<RecurrentBackward>(s.x.dtype(), s.cell, reverse.holds, current_precision(), s.batch, s.steps,
                         by_rows(dy), dh_n, dc_n, by_rows(s.x), by_rows(y), gates, candidate, h_before,
                         c_before, s.w_ih, s.w_hh, s.sizes, dh0, dc0, by_rows(dx), dw_ih, dw_hh, db_ih,
                         db_hh);
  return {std::move(dx),    std::move(dh0),   std::move(dc0),  std::move(dw_ih),
          std::move(dw_hh), std::move(db_ih), std::move(db_hh)};
}

}  // namespace

void register_recurrent(Module m) {
  def(m,
      "recurrent(cell, x, h0, c0, w_ih, w_hh, b_ih=None, b_hh=None, sizes=None, reverse=False, keep=True, "
      "panels=None, scale=None, kind='int8')",
      recurrent);
  def(m,
      "recurrent_backward(cell, dy, dh_n, dc_n, x, y, gates, candidate, h_before, c_before, w_ih, w_hh, "
      "sizes=None, reverse=False, need_dx=True, need_dw_ih=True, need_dw_hh=True, need_db=True)",
      recurrent_backward);
}

}  // namespace ranvier::bind
