#include <algorithm>
#include <string>

#include "bindings/copied.h"
#include "bindings/norm_args.h"
#include "kernels/recurrent/recurrent.h"

namespace ranvier::bind {
namespace {

Cell cell_named(const char* op, py::handle name) {
  const std::string text = word(op, "cell", name);
  constexpr const char* names[] = {"lstm", "gru", "rnn_tanh", "rnn_relu"};
  for (int k = 0; k < static_cast<int>(Cell::count); ++k)
    if (text == names[k]) return static_cast<Cell>(k);
  fail_value(op, "got cell '" + text + "'; expected 'lstm', 'gru', 'rnn_tanh' or 'rnn_relu'");
}

// The arrays of one layer and direction, whose sizes all follow from x, the weights and the cell.
struct Sequence {
  const char* op;
  Cell cell;
  Input x, sizes, w_ih, w_hh;
  int64_t rows, steps, batch, inputs, hidden, width;

  // x (steps, N, I), or with sizes (rows, I), the rows of all steps one behind the other
  Sequence(const char* op_, py::handle cell_, py::handle x_, py::handle sizes_, py::handle w_ih_,
           py::handle w_hh_)
      : op(op_),
        cell(cell_named(op, cell_)),
        x(Input::floating(op, "x", x_)),
        sizes(Input::optional(op, "sizes", sizes_, DType::int64)) {
    const int axes = sizes ? 2 : 3;
    if (x.ndim() != axes)
      fail_value(op, "got x of shape " + shape_text(x.ndim(), x.shape()) + "; expected " +
                         (sizes ? "2 dimensions (rows, inputs)" : "3 dimensions (steps, batch, inputs)"));
    inputs = x.shape(axes - 1);
    if (sizes) {
      rows = x.shape(0);
      read_sizes();
    } else {
      steps = x.shape(0), batch = x.shape(1), rows = steps * batch;
    }
    if (steps < 1) fail_value(op, "got x of 0 steps; expected at least 1");
    w_hh = Input::floating(op, "w_hh", w_hh_);
    const int64_t gates = gates_of(cell);
    if (w_hh.ndim() != 2 || w_hh.shape(1) < 1 || w_hh.shape(0) != gates * w_hh.shape(1))
      fail_value(op, "got w_hh of shape " + shape_text(w_hh.ndim(), w_hh.shape()) + "; expected (" +
                         std::to_string(gates) + " * hidden, hidden)");
    hidden = w_hh.shape(1), width = w_hh.shape(0);
    w_hh = dense("w_hh", w_hh_, {width, hidden});
    w_ih = Input::floating(op, "w_ih", w_ih_);  // not None
    w_ih = dense("w_ih", w_ih_, {width, inputs});
    x = contiguous(x);
  }

  void read_sizes() {
    if (sizes.ndim() != 1)
      fail_value(op,
                 "got sizes of shape " + shape_text(sizes.ndim(), sizes.shape()) + "; expected 1 dimension");
    const auto view = sizes.view<int64_t>();
    steps = view.shape[0], batch = steps ? view.data[0] : 0;
    int64_t before = batch, sum = 0;
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t n = view.data[t * view.strides[0]];
      if (n < 1 || n > before)
        fail_value(op, "got sizes with " + std::to_string(n) + " after " + std::to_string(before) +
                           "; expected numbers of at least 1 that never grow");
      sum += n, before = n;
    }
    if (sum != rows)
      fail_value(op, "got sizes of " + std::to_string(sum) + " rows and x of " + std::to_string(rows) +
                         "; expected as many");
  }

  // An array of x's dtype and this shape, contiguous; None: empty.
  Input dense(const char* name, py::handle array, std::initializer_list<int64_t> shape) const {
    if (array.is_none()) return Input();
    const Input a = Input::floating(op, name, array);
    require_same_dtype(op, "x", x, name, a);
    if (a.ndim() != static_cast<int>(shape.size()) || !std::equal(shape.begin(), shape.end(), a.shape()))
      fail_value(op, std::string("got ") + name + " of shape " + shape_text(a.ndim(), a.shape()) +
                         "; expected " + shape_text(static_cast<int>(shape.size()), shape.begin()));
    return contiguous(a);
  }

  Input state(const char* name, py::handle array) const { return dense(name, array, {batch, hidden}); }
  // Of x's leading dimensions.
  Input of_steps(const char* name, py::handle array, int64_t columns) const {
    return sizes ? dense(name, array, {rows, columns}) : dense(name, array, {steps, batch, columns});
  }
  Output make(std::initializer_list<int64_t> shape) const { return Output::contiguous(x.dtype(), shape); }
  Output make_steps(int64_t columns) const {
    return sizes ? make({rows, columns}) : make({steps, batch, columns});
  }
};

// (rows, columns), whatever the leading dimensions are.
template <class E>
TensorView<E> by_rows(TensorView<E> v) {
  if (v.data && v.ndim == 3) {
    v.ndim = 2, v.shape[0] *= v.shape[1], v.shape[1] = v.shape[2];
    v.strides[0] = v.shape[1], v.strides[1] = 1;
  }
  return v;
}

void require(const char* op, const char* name, const Input& a, bool wanted) {
  if (static_cast<bool>(a) != wanted)
    fail_value(op, std::string("got ") + name + (wanted ? " None; expected an array" : "; expected None") +
                       " for this cell");
}

py::tuple recurrent(py::handle cell, py::handle x, py::handle h0_, py::handle c0_, py::handle w_ih,
                    py::handle w_hh, py::handle b_ih_, py::handle b_hh_, py::handle sizes,
                    py::handle reverse_, py::handle keep_) {
  constexpr const char* op = "recurrent";
  const Sequence s(op, cell, x, sizes, w_ih, w_hh);
  const bool reverse = truth(op, "reverse", reverse_), keep = truth(op, "keep", keep_);
  const bool is_lstm = s.cell == Cell::lstm, is_gru = s.cell == Cell::gru;
  const Input b_ih = s.dense("b_ih", b_ih_, {s.width}), b_hh = s.dense("b_hh", b_hh_, {s.width});
  if (static_cast<bool>(b_ih) != static_cast<bool>(b_hh))
    fail_value(op, "got one bias; expected b_ih and b_hh, or neither");
  const Input h0 = s.state("h0", h0_), c0 = s.state("c0", c0_);
  if (!is_lstm) require(op, "c0", c0, false);
  Output y = s.make_steps(s.hidden), h_n = s.make({s.batch, s.hidden});
  OptionalOutput c_n, gates, candidate, h_before, c_before;
  if (is_lstm) c_n.make(s.make({s.batch, s.hidden}));
  if (is_lstm || is_gru) gates.make(s.make({s.rows, s.width}));
  if (keep && is_gru) candidate.make(s.make({s.rows, s.hidden}));
  if (keep) h_before.make(s.make({s.rows, s.hidden}));
  if (keep && is_lstm) c_before.make(s.make({s.rows, s.hidden}));
  with_float(s.x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    RecurrentForward<T> call{};
    call.cell = s.cell, call.reverse = reverse, call.batch = s.batch, call.steps = s.steps;
    call.x = by_rows(s.x.view<T>()), call.w_ih = s.w_ih.view<T>(), call.w_hh = s.w_hh.view<T>();
    call.b_ih = b_ih.view<T>(), call.b_hh = b_hh.view<T>();
    call.h0 = h0.view<T>(), call.c0 = c0.view<T>(), call.sizes = s.sizes.view<int64_t>();
    call.y = by_rows(y.view<T>()), call.h_n = h_n.view<T>(), call.c_n = c_n.view<T>();
    call.gates = gates.view<T>(), call.candidate = candidate.view<T>();
    call.h_before = h_before.view<T>(), call.c_before = c_before.view<T>();
    invoke_released(call);
  });
  const auto kept = [&](OptionalOutput& g) { return keep ? g.release() : py::object(py::none()); };
  return py::make_tuple(y.release(), h_n.release(), c_n.release(), kept(gates), kept(candidate),
                        kept(h_before), kept(c_before));
}

py::tuple recurrent_backward(py::handle cell, py::handle dy_, py::handle dh_n_, py::handle dc_n_,
                             py::handle x, py::handle y_, py::handle gates_, py::handle candidate_,
                             py::handle h_before_, py::handle c_before_, py::handle w_ih, py::handle w_hh,
                             py::handle sizes, py::handle reverse_, py::handle need_dx, py::handle need_dw_ih,
                             py::handle need_dw_hh, py::handle need_db) {
  constexpr const char* op = "recurrent_backward";
  const Sequence s(op, cell, x, sizes, w_ih, w_hh);
  const bool reverse = truth(op, "reverse", reverse_);
  const bool is_lstm = s.cell == Cell::lstm, is_gru = s.cell == Cell::gru;
  const Input dy = s.of_steps("dy", dy_, s.hidden), y = s.of_steps("y", y_, s.hidden);
  const Input dh_n = s.state("dh_n", dh_n_), dc_n = s.state("dc_n", dc_n_);
  const Input gates = s.dense("gates", gates_, {s.rows, s.width});
  const Input candidate = s.dense("candidate", candidate_, {s.rows, s.hidden});
  const Input h_before = s.dense("h_before", h_before_, {s.rows, s.hidden});
  const Input c_before = s.dense("c_before", c_before_, {s.rows, s.hidden});
  require(op, "y", y, true), require(op, "h_before", h_before, true);
  require(op, "gates", gates, is_lstm || is_gru), require(op, "candidate", candidate, is_gru);
  require(op, "c_before", c_before, is_lstm);
  if (!is_lstm) require(op, "dc_n", dc_n, false);
  Output dh0 = s.make({s.batch, s.hidden});
  OptionalOutput dc0, dx, dw_ih, dw_hh, db_ih, db_hh;
  if (is_lstm) dc0.make(s.make({s.batch, s.hidden}));
  if (truth(op, "need_dx", need_dx)) dx.make(s.make_steps(s.inputs));
  if (truth(op, "need_dw_ih", need_dw_ih)) dw_ih.make(s.make({s.width, s.inputs}));
  if (truth(op, "need_dw_hh", need_dw_hh)) dw_hh.make(s.make({s.width, s.hidden}));
  if (truth(op, "need_db", need_db)) db_ih.make(s.make({s.width})), db_hh.make(s.make({s.width}));
  with_float(s.x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    RecurrentBackward<T> call{};
    call.cell = s.cell, call.reverse = reverse, call.batch = s.batch, call.steps = s.steps;
    call.dy = by_rows(dy.view<T>()), call.dh_n = dh_n.view<T>(), call.dc_n = dc_n.view<T>();
    call.x = by_rows(s.x.view<T>()), call.y = by_rows(y.view<T>()), call.gates = gates.view<T>();
    call.candidate = candidate.view<T>(), call.h_before = h_before.view<T>();
    call.c_before = c_before.view<T>(), call.w_ih = s.w_ih.view<T>(), call.w_hh = s.w_hh.view<T>();
    call.sizes = s.sizes.view<int64_t>();
    call.dh0 = dh0.view<T>(), call.dc0 = dc0.view<T>(), call.dx = by_rows(dx.view<T>());
    call.dw_ih = dw_ih.view<T>(), call.dw_hh = dw_hh.view<T>();
    call.db_ih = db_ih.view<T>(), call.db_hh = db_hh.view<T>();
    invoke_released(call);
  });
  return py::make_tuple(dx.release(), dh0.release(), dc0.release(), dw_ih.release(), dw_hh.release(),
                        db_ih.release(), db_hh.release());
}

}  // namespace

void register_recurrent(py::module_& m) {
  using py::arg;
  const auto none = [](const char* name) { return arg(name) = py::none(); };
  const auto wanted = [](const char* name) { return arg(name) = true; };
  m.def("recurrent", recurrent, arg("cell"), arg("x"), arg("h0"), arg("c0"), arg("w_ih"), arg("w_hh"),
        none("b_ih"), none("b_hh"), none("sizes"), arg("reverse") = false, wanted("keep"));
  m.def("recurrent_backward", recurrent_backward, arg("cell"), arg("dy"), arg("dh_n"), arg("dc_n"), arg("x"),
        arg("y"), arg("gates"), arg("candidate"), arg("h_before"), arg("c_before"), arg("w_ih"), arg("w_hh"),
        none("sizes"), arg("reverse") = false, wanted("need_dx"), wanted("need_dw_ih"), wanted("need_dw_hh"),
        wanted("need_db"));
}

}  // namespace ranvier::bind
