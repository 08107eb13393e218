#include <algorithm>
#include <string>

#include "bindings/copied.h"
#include "bindings/norm_args.h"
#include "kernels/norm/layer_norm.h"

namespace ranvier::bind {
namespace {

// The last axes of x, as many as the shape has and of its sizes, are the lines.
struct Lines {
  Input x;
  int axes;  // of a line
  int64_t count, size;

  Lines(const char* op, py::handle x_, py::handle shape)
      : x(Input::floating(op, "x", x_)), count(1), size(1) {
    if (!PyTuple_Check(shape.ptr()) && !PyList_Check(shape.ptr()))
      fail_type(op, "got normalized_shape " + std::string(py::repr(shape)) + "; expected a tuple of sizes");
    const auto sizes = py::reinterpret_borrow<py::sequence>(shape);
    axes = static_cast<int>(std::min<size_t>(sizes.size(), kMaxDims + 1));
    bool fits = axes >= 1 && axes <= x.ndim();
    for (int d = 0; d < axes && fits; ++d)
      fits = whole_number(op, "normalized_shape", py::object(sizes[d])) == x.shape(x.ndim() - axes + d);
    if (!fits)
      fail_value(op, "got x of shape " + shape_text(x.ndim(), x.shape()) + " and normalized_shape " +
                         std::string(py::repr(shape)) + "; expected the last sizes of x, at least one");
    for (int d = 0; d < x.ndim(); ++d) (d < x.ndim() - axes ? count : size) *= x.shape(d);
  }

  // Leading axes as they are in x; what a statistic of each line has.
  int leading() const { return x.ndim() - axes; }

  // As (count, size): lines contiguous and evenly spaced, else null.
  template <class E>
  TensorView<E> as_matrix(const TensorView<E>& v) const {
    TensorView<E> m;
    int64_t expected = 1, lines = 1, step = size;
    bool fits = true;
    for (int d = v.ndim - 1; d >= 0; --d) {
      if (v.shape[d] == 1) continue;
      if (d >= leading()) {
        fits = fits && v.strides[d] == expected;
        expected *= v.shape[d];
      } else {
        if (lines == 1) step = v.strides[d];
        fits = fits && v.strides[d] == step * lines;
        lines *= v.shape[d];
      }
    }
    if (!fits && numel(v) > 0) return m;
    m.data = v.data, m.ndim = 2;
    m.shape[0] = count, m.shape[1] = size, m.strides[0] = step, m.strides[1] = 1;
    return m;
  }

  // The array as such lines, copied where it does not have them.
  Input lined(const Input& a) const {
    const bool fits = with_float(a.dtype(), [&](auto tag) {
      const auto v = a.view<decltype(tag)>();
      return v.data && as_matrix(v).ndim == 2;
    });
    return fits ? a : copied(a, Output::contiguous(a.dtype(), a.ndim(), a.shape()));
  }

  // None, or an array of the lines' shape, contiguous.
  Input parameter(const char* op, const char* name, py::handle array) const {
    if (array.is_none()) return Input();
    const Input p = Input::floating(op, name, array);
    require_same_dtype(op, "x", x, name, p);
    if (p.ndim() != axes || !std::equal(p.shape(), p.shape() + axes, x.shape() + leading()))
      fail_value(op, std::string("got ") + name + " of shape " + shape_text(p.ndim(), p.shape()) +
                         "; expected normalized_shape, " + shape_text(axes, x.shape() + leading()));
    return contiguous(p);
  }
};

Input line_statistic(const char* op, const char* name, py::handle array, const Lines& lines) {
  const Input s = Input::exactly(op, name, array, DType::float64);
  if (s.ndim() != lines.leading() || !std::equal(s.shape(), s.shape() + s.ndim(), lines.x.shape()))
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(s.ndim(), s.shape()) +
                       "; expected " + shape_text(lines.leading(), lines.x.shape()));
  return contiguous(s);
}

py::tuple forward(const char* op, bool centered, py::handle x_, py::handle shape, py::handle weight_,
                  py::handle bias_, py::handle eps_) {
  const Lines lines(op, x_, shape);
  const double eps = epsilon(op, eps_);
  const Input weight = lines.parameter(op, "weight", weight_), bias = lines.parameter(op, "bias", bias_);
  const Input x = lines.lined(lines.x);
  Output y = Output::contiguous(x.dtype(), x.ndim(), x.shape());
  OptionalOutput mean;
  if (centered) mean.make(Output::contiguous(DType::float64, lines.leading(), x.shape()));
  Output rstd = Output::contiguous(DType::float64, lines.leading(), x.shape());
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(LayerNormForward<T>{centered, eps, lines.as_matrix(x.view<T>()), weight.view<T>(),
                                        bias.view<T>(), lines.as_matrix(y.view<T>()), mean.view<double>(),
                                        rstd.view<double>()});
  });
  if (!centered) return py::make_tuple(y.release(), rstd.release());
  return py::make_tuple(y.release(), mean.release(), rstd.release());
}

py::tuple backward(const char* op, bool centered, py::handle dy_, py::handle x_, py::handle shape,
                   py::handle weight_, py::handle mean_, py::handle rstd_, py::handle need_dx,
                   py::handle need_dweight, py::handle need_dbias) {
  const Lines lines(op, x_, shape);
  const Input weight = lines.parameter(op, "weight", weight_);
  const Input mean = centered ? line_statistic(op, "mean", mean_, lines) : Input();
  const Input rstd = line_statistic(op, "rstd", rstd_, lines);
  const Input given_dy = Input::floating(op, "dy", dy_);
  require_same_dtype(op, "x", lines.x, "dy", given_dy);
  require_shape_of(op, "dy", given_dy, lines.x);
  const Input x = lines.lined(lines.x), dy = lines.lined(given_dy);
  OptionalOutput dx, dweight, dbias;
  const auto like_line = [&] {
    return Output::contiguous(x.dtype(), lines.axes, x.shape() + lines.leading());
  };
  if (truth(op, "need_dx", need_dx)) dx.make(Output::contiguous(x.dtype(), x.ndim(), x.shape()));
  if (truth(op, "need_dweight", need_dweight)) dweight.make(like_line());
  if (truth(op, "need_dbias", need_dbias)) dbias.make(like_line());
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(LayerNormBackward<T>{centered, lines.as_matrix(dy.view<T>()),
                                         lines.as_matrix(x.view<T>()), weight.view<T>(), mean.view<double>(),
                                         rstd.view<double>(), lines.as_matrix(dx.view<T>()),
                                         dweight.view<T>(), dbias.view<T>()});
  });
  if (!centered) return py::make_tuple(dx.release(), dweight.release());
  return py::make_tuple(dx.release(), dweight.release(), dbias.release());
}

py::tuple layer_norm(py::handle x, py::handle shape, py::handle weight, py::handle bias, py::handle eps) {
  return forward("layer_norm", true, x, shape, weight, bias, eps);
}

py::tuple layer_norm_backward(py::handle dy, py::handle x, py::handle shape, py::handle weight,
                              py::handle mean, py::handle rstd, py::handle need_dx, py::handle need_dweight,
                              py::handle need_dbias) {
  return backward("layer_norm_backward", true, dy, x, shape, weight, mean, rstd, need_dx, need_dweight,
                  need_dbias);
}

py::tuple rms_norm(py::handle x, py::handle shape, py::handle weight, py::handle eps) {
  return forward("rms_norm", false, x, shape, weight, py::none(), eps);
}

py::tuple rms_norm_backward(py::handle dy, py::handle x, py::handle shape, py::handle weight, py::handle rstd,
                            py::handle need_dx, py::handle need_dweight) {
  return backward("rms_norm_backward", false, dy, x, shape, weight, py::none(), rstd, need_dx, need_dweight,
                  py::bool_(false));
}

}  // namespace

void register_layer_norm(py::module_& m) {
  using py::arg;
  const auto none = [](const char* name) { return arg(name) = py::none(); };
  const auto wanted = [](const char* name) { return arg(name) = true; };
  m.def("layer_norm", layer_norm, arg("x"), arg("normalized_shape"), none("weight"), none("bias"),
        arg("eps") = 1e-5);
  m.def("layer_norm_backward", layer_norm_backward, arg("dy"), arg("x"), arg("normalized_shape"),
        arg("weight"), arg("mean"), arg("rstd"), wanted("need_dx"), wanted("need_dweight"),
        wanted("need_dbias"));
  m.def("rms_norm", rms_norm, arg("x"), arg("normalized_shape"), none("weight"), arg("eps") = 1e-5);
  m.def("rms_norm_backward", rms_norm_backward, arg("dy"), arg("x"), arg("normalized_shape"), arg("weight"),
        arg("rstd"), wanted("need_dx"), wanted("need_dweight"));
}

}  // namespace ranvier::bind
