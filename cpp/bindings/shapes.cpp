// Views of Tensors: the shape ops, which read their arguments and call a Function.
#include <algorithm>

#include "bindings/define.h"
#include "bindings/errors.h"
#include "bindings/grad_mode.h"
#include "bindings/guards.h"
#include "bindings/operand.h"
#include "bindings/tape.h"
#include "bindings/tensors.h"
#include "bindings/views.h"

namespace ranvier::bind {
namespace {

Kind g_reshape, g_permute, g_expand, g_getitem, g_diagonal;

struct View : py::object {
  RANVIER_ANNOTATION("Any");
};
View made(py::object tensor) { return View{std::move(tensor)}; }

View reshape(Raw op, Raw input, Raw sizes) {
  const Operand x(op, input);
  const py::object target = x.sizes(sizes.value.ptr());
  if (py::object y = x.fitting(g_reshape, target)) return made(std::move(y));
  x.fail_shape(target, "; expected as many elements");
}

View flatten(Raw op, Raw input, Raw start_dim, Raw end_dim) {
  const Operand x(op, input);
  if (!x.ndim()) return made(x.view(g_reshape, {1}));
  const int first = x.dim(start_dim), last = x.dim(end_dim);
  if (first > last)
    fail_value(x.name(), "got start_dim ", start_dim.value, " after end_dim ", end_dim.value,
               "; expected start_dim <= end_dim");
  if (first == last) return made(x.tensor);
  std::vector<npy_intp> shape = x.shape();
  for (int d = first + 1; d <= last; ++d) shape[first] *= shape[d];
  shape.erase(shape.begin() + first + 1, shape.begin() + last + 1);
  return made(x.view(g_reshape, shape));
}

View squeeze(Raw op, Raw input, Raw dim) {
  const Operand x(op, input);
  std::vector<bool> named(x.ndim(), !dim.given());
  if (x.ndim() > 0 && PyLong_CheckExact(dim.value.ptr())) {
    named[x.dim(dim)] = true;
  } else if (dim.given()) {
    const py::object dims = x.sizes_of(dim);
    for (Py_ssize_t i = 0; x.ndim() > 0 && i < PyTuple_GET_SIZE(dims.ptr()); ++i)
      named[x.dim(PyTuple_GET_ITEM(dims.ptr(), i), x.ndim())] = true;
  }
  std::vector<npy_intp> shape;
  for (int d = 0; d < x.ndim(); ++d)
    if (!(named[d] && x.size(d) == 1)) shape.push_back(x.size(d));
  return made(x.view(g_reshape, shape));
}

View unsqueeze(Raw op, Raw input, Raw dim) {
  const Operand x(op, input);
  std::vector<npy_intp> shape = x.shape();
  shape.insert(shape.begin() + x.dim(dim.value.ptr(), x.ndim() + 1), 1);
  return made(x.view(g_reshape, shape));
}

View permute(Raw op, Raw input, Raw order) {
  const Operand x(op, input);
  const py::object dims = x.sizes(order.value.ptr());
  if (py::object y = x.fitting(g_permute, dims)) return made(std::move(y));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(dims.ptr()); ++i)
    x.dim(PyTuple_GET_ITEM(dims.ptr(), i), x.ndim());
  fail_value(x.name(), "got dims ", order.value, " for ", x.ndim(),
             " dimensions; expected each of them once");
}

View transpose(Raw op, Raw input, Raw dim0, Raw dim1) {
  const Operand x(op, input);
  const int a = x.dim(dim0), b = x.dim(dim1);
  std::vector<npy_intp> dims(x.ndim());
  for (int d = 0; d < x.ndim(); ++d) dims[d] = d;
  if (x.ndim()) std::swap(dims[a], dims[b]);
  return made(x.view(g_permute, dims));
}

// The transpose of a matrix; vectors and numbers as they are.
View t(Raw op, Raw input) {
  const Operand x(op, input);
  if (x.ndim() > 2) x.fail("; expected at most 2 dimensions");
  return made(x.ndim() == 2 ? x.view(g_permute, {1, 0}) : x.tensor);
}

View movedim(Raw op, Raw input, Raw source, Raw destination) {
  const Operand x(op, input);
  const auto places = [&](const Raw& named) {
    const py::object dims = x.sizes_of(named);
    std::vector<int> found;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(dims.ptr()); ++i)
      found.push_back(x.dim(PyTuple_GET_ITEM(dims.ptr(), i), x.ndim()));
    return found;
  };
  const std::vector<int> from = places(source), to = places(destination);
  std::vector<npy_intp> dims(std::max(x.ndim(), 1), -1);
  std::vector<bool> moved(dims.size(), false);
  bool once = from.size() == to.size();
  for (size_t i = 0; once && i < from.size(); ++i) {
    once = dims[to[i]] < 0 && !moved[from[i]];
    dims[to[i]] = from[i], moved[from[i]] = true;
  }
  if (!once)
    fail_value(x.name(), "got source ", source.value, " and destination ", destination.value,
               "; expected as many, each once");
  size_t rest = 0;
  for (npy_intp& d : dims) {
    if (d >= 0) continue;
    while (moved[rest]) ++rest;
    d = static_cast<npy_intp>(rest++);
  }
  dims.resize(x.ndim());
  return made(x.view(g_permute, dims));
}

View expand(Raw op, Raw input, Raw sizes) {
  const Operand x(op, input);
  const py::object target = x.sizes(sizes.value.ptr());
  const Py_ssize_t ndim = PyTuple_GET_SIZE(target.ptr()), lead = ndim - x.ndim();
  py::object full = checked(PyTuple_New(ndim));
  bool named = lead >= 0;
  double elements = 1;
  for (Py_ssize_t d = 0; named && d < ndim; ++d) {
    PyObject* const given = PyTuple_GET_ITEM(target.ptr(), d);
    int64_t n = clamped(given);
    if (n == -1) {
      named = d >= lead;
      n = named ? x.size(static_cast<int>(d - lead)) : 0;
    }
    elements *= static_cast<double>(std::max<int64_t>(n, 1));
    PyTuple_SET_ITEM(full.ptr(), d, clamped(given) == n ? Py_NewRef(given) : PyLong_FromLongLong(n));
  }
  if (!named) x.fail_shape(target, "; expected a size for each dimension");
  if (elements > static_cast<double>(int64_t{1} << 40))
    fail_value(x.name(), "got the shape ", full, "; expected dimensions with a product of at most 2**40");
  if (py::object y = x.fitting(g_expand, full)) return made(std::move(y));
  x.fail_shape(target, "; expected one it broadcasts to");
}

// x[key] for a basic key; None for another.
View getitem(Raw op, Raw input, Raw key) {
  if (!is_basic(key.value.ptr())) return made(py::none());
  return made(Operand(op, input).view(g_getitem, py::reinterpret_borrow<py::object>(key.value)));
}

// A view of the array; None for a key that is not basic.
View places(Raw array, Raw key) {
  if (!PyArray_Check(array.value.ptr()) || !is_basic(key.value.ptr())) return made(py::none());
  return made(places_of(array.value.ptr(), key.value.ptr()));
}

View diagonal(Raw op, Raw input, Raw offset, Raw dim1, Raw dim2) {
  const Operand x(op, input);
  const int a = x.some_dim(dim1), b = x.some_dim(dim2);
  if (!PyLong_Check(offset.value.ptr()) ? !PyArray_IsScalar(offset.value.ptr(), Integer)
                                        : PyBool_Check(offset.value.ptr()))
    fail_type(x.name(), "got offset ", offset.value, "; expected a whole number");
  if (a == b) fail_value(x.name(), "got dimension ", a, " twice; expected two dimensions");
  const npy_intp most = *std::max_element(PyArray_DIMS(x.array()), PyArray_DIMS(x.array()) + x.ndim());
  const int64_t by = clamped(checked(PyNumber_Index(offset.value.ptr())).ptr());
  const npy_intp place[] = {std::clamp<npy_intp>(by, -most, most), a, b};  // farther ones are empty, too
  return made(x.view(g_diagonal, checked(PyArray_IntTupleFromIntp(3, place))));
}

// --- parts along a dimension

// (:, :, part), a key.
py::object key_of(int dim, const py::object& part) {
  static PyObject* const all = PySlice_New(nullptr, nullptr, nullptr);
  py::object key = checked(PyTuple_New(dim + 1));
  for (int d = 0; d < dim; ++d) PyTuple_SET_ITEM(key.ptr(), d, Py_NewRef(all));
  PyTuple_SET_ITEM(key.ptr(), dim, part.inc_ref().ptr());
  return key;
}

// The slices begin ... begin + count - 1 along a dimension; count < 0: one, without that dimension.
struct Part {
  int64_t begin, count;

  py::object key() const {
    const py::object first = checked(PyLong_FromLongLong(begin));
    if (count < 0) return first;
    return checked(PySlice_New(first.ptr(), checked(PyLong_FromLongLong(begin + count)).ptr(), nullptr));
  }
};

// Several views of x, along a dimension. Off the tape they have no nodes.
py::object several(const Operand& x, int dim, const std::vector<Part>& parts) {
  const bool needs = slot_of(x.tensor.ptr(), tensor_slots().requires_grad).ptr() == Py_True;
  const bool by_nodes = (needs && is_grad_enabled()) || is_apply_replaced();
  const py::object array = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(x.array()));
  py::object views = checked(PyTuple_New(static_cast<Py_ssize_t>(parts.size())));
  Py_ssize_t i = 0;
  for (const Part& part : parts) {
    py::object view = by_nodes ? x.view(g_getitem, key_of(dim, part.key()))
                               : new_tensor(part_of(as_array(array), dim, part.begin, part.count).ptr(),
                                            false, Py_None, py::object());
    PyTuple_SET_ITEM(views.ptr(), i++, view.release().ptr());
  }
  if (by_nodes)
    mark_several(views.ptr());
  else
    join_several(views.ptr(), x.tensor.ptr());
  return views;
}

View split(Raw op, Raw input, Raw size, Raw dim) {
  const Operand x(op, input);
  const int at = x.some_dim(dim);
  const int64_t n = x.size(at);
  std::vector<Part> parts;
  if (PyLong_Check(size.value.ptr()) || PyArray_IsScalar(size.value.ptr(), Integer)) {
    const int64_t step = clamped(checked(PyNumber_Index(size.value.ptr())).ptr());
    if (step < 1) fail_value(x.name(), "got size ", size.value, "; expected at least 1");
    for (int64_t start = 0; start < n || parts.empty(); start += step)
      parts.push_back({start, std::min(step, n - start)});
  } else {
    const py::object sizes = x.sizes_of(size);
    int64_t start = 0;
    bool fits = true;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(sizes.ptr()); ++i) {
      const int64_t count = clamped(PyTuple_GET_ITEM(sizes.ptr(), i));
      fits = fits && 0 <= count && count <= n - start;
      parts.push_back({start, count});
      if (fits) start += count;
    }
    if (!fits || start != n)
      fail_value(x.name(), "got sizes ", sizes, " for a dimension of ", n,
                 "; expected sizes that add up to it");
  }
  return made(several(x, at, parts));
}

View unbind(Raw op, Raw input, Raw dim) {
  const Operand x(op, input);
  const int at = x.some_dim(dim);
  std::vector<Part> parts;
  for (int64_t i = 0; i < x.size(at); ++i) parts.push_back({i, -1});
  return made(several(x, at, parts));
}

// One slice of an iteration along dimension 0.
View slice_of(Raw op, Raw input, Whole i) {
  const Operand x(op, input);
  return made(py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(several(x, 0, {{i, -1}}).ptr(), 0)));
}

View select(Raw op, Raw input, Raw dim, Raw index) {
  const Operand x(op, input);
  const int at = x.some_dim(dim);
  const py::object number = py::reinterpret_steal<py::object>(
      PyBool_Check(index.value.ptr()) ? nullptr : PyNumber_Index(index.value.ptr()));
  if (!number) {
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
    PyErr_Clear();
    fail_type(x.name(), "got index ", index.value, "; expected a whole number");
  }
  const int64_t n = x.size(at), i = clamped(number.ptr());
  if (i < -n || i >= n)
    throw py::index_error("[select] got index " + Piece(number).text + " for a dimension of " +
                          std::to_string(n) + "; expected " + std::to_string(-n) + " to " +
                          std::to_string(n - 1));
  return made(x.view(g_getitem, key_of(at, number)));
}

using Failure = void (*)(const char*, std::initializer_list<Piece>);
constexpr Failure of_value = fail_value, of_index = fail_index;

View narrow(Raw op, Raw input, Raw dim, Raw start, Raw length) {
  const Operand x(op, input);
  const int at = x.some_dim(dim);
  const py::object both = checked(PyTuple_Pack(2, start.value.ptr(), length.value.ptr()));
  const py::object numbers = x.sizes(both.ptr());
  const int64_t n = x.size(at), begin = clamped(PyTuple_GET_ITEM(numbers.ptr(), 0));
  const int64_t first = begin < 0 ? begin + n : begin, count = clamped(PyTuple_GET_ITEM(numbers.ptr(), 1));
  if (first < 0 || first > n || count < 0 || count > n - first)
    (0 <= first && first <= n ? of_value : of_index)(
        x.name(), {"got start ", start.value, " and length ", length.value, " for a dimension of ", n,
                   "; expected a part of it"});
  return made(x.view(g_getitem, key_of(at, Part{first, count}.key())));
}

}  // namespace

void register_shapes(Module m) {
  def(m, "_set_shapes(readers, functions)", [](Raw readers, Raw functions) {
    const auto part = [](const Raw& all, int i) { return Py_NewRef(PyTuple_GET_ITEM(all.value.ptr(), i)); };
    set_readers(part(readers, 0), part(readers, 1), part(readers, 2), part(readers, 3));
    g_reshape = {part(functions, 0), settings().target}, g_permute = {part(functions, 1), settings().dims};
    g_expand = {part(functions, 2), settings().target}, g_getitem = {part(functions, 3), settings().key};
  });
  def(m, "_set_diagonal(function)",
      [](Raw function) { g_diagonal = {function.value.inc_ref().ptr(), settings().place}; });
  def(m, "_diagonal(op, input, offset, dim1, dim2)", diagonal);
  def(m, "_getitem(op, input, key)", getitem);
  def(m, "_places(array, key)", places);
  def(m, "_reshape(op, input, sizes)", reshape);
  def(m, "_flatten(op, input, start_dim, end_dim)", flatten);
  def(m, "_squeeze(op, input, dim)", squeeze);
  def(m, "_unsqueeze(op, input, dim)", unsqueeze);
  def(m, "_permute(op, input, dims)", permute);
  def(m, "_transpose(op, input, dim0, dim1)", transpose);
  def(m, "_t(op, input)", t);
  def(m, "_movedim(op, input, source, destination)", movedim);
  def(m, "_expand(op, input, sizes)", expand);
  def(m, "_split(op, input, size, dim)", split);
  def(m, "_unbind(op, input, dim)", unbind);
  def(m, "_slice(op, input, i)", slice_of);
  def(m, "_select(op, input, dim, index)", select);
  def(m, "_narrow(op, input, dim, start, length)", narrow);
}

}  // namespace ranvier::bind
