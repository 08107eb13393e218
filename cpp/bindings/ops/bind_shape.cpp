// Binds the shape ops (reshape, permute, expand, split and others), which give views of Tensors. Each reads
// its arguments by ShapeOperand and calls the Function of the view. a[0] is the op's name for errors, a[1]
// the input; the comment beside a function names the arguments from a[2] on.
#include <algorithm>

#include "bindings/binder/held.h"
#include "bindings/binder/methods.h"
#include "bindings/binder/params.h"
#include "bindings/ops/shape_operand.h"
#include "bindings/tape/tape.h"
#include "bindings/tensors/grad_mode.h"
#include "bindings/tensors/tensors.h"
#include "bindings/tensors/views.h"

namespace ranvier::bind {
namespace {

using Arguments = PyObject* const*;  // borrowed; the caller in Python holds them for the length of the call

Kind g_reshape, g_permute, g_expand, g_getitem, g_diagonal, g_unfold;  // the Functions, set by Python

py::object reshaped_to(const ShapeOperand& x, const py::object& target) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(target.ptr()); ++i)  // NumPy would take -2 as -1
    if (clamped(PyTuple_GET_ITEM(target.ptr(), i)) < -1) x.fail_shape(target, "sizes from 0 on, or -1 once");
  if (py::object y = x.fitting(g_reshape, target)) return y;
  x.fail_shape(target, "as many elements");
}

py::object reshape(PyObject*, Arguments a, Py_ssize_t) {  // sizes
  const ShapeOperand x(a);
  return reshaped_to(x, x.sizes(a[2]));
}

// The view of these sizes on x's memory; empty if there is none.
py::object shared_view(const ShapeOperand& x, const py::object& target) {
  if (!PyArray_IS_C_CONTIGUOUS(x.array())) {
    Setting sizes;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(target.ptr()); ++i)
      sizes.add(static_cast<npy_intp>(clamped(PyTuple_GET_ITEM(target.ptr(), i))));
    if (has_to_copy(x.array(), sizes.at, sizes.count)) return {};
  }
  return reshaped_to(x, target);
}

PyObject* g_view_or_copy;  // a function of Python: the op's name, x and sizes of which x has no view

py::object view(PyObject*, Arguments a, Py_ssize_t) {  // sizes
  const ShapeOperand x(a);
  const py::object target = x.sizes(a[2]);
  if (py::object y = shared_view(x, target)) return y;
  return checked(PyObject_CallFunctionObjArgs(g_view_or_copy, a[0], x.tensor.ptr(), target.ptr(), nullptr));
}

// As view(); None if there is none.
py::object view_or_none(PyObject*, Arguments a, Py_ssize_t) {  // sizes
  const ShapeOperand x(a);
  const py::object y = shared_view(x, x.sizes(a[2]));
  if (!y) return py::none();
  return y;
}

py::object flatten(PyObject*, Arguments a, Py_ssize_t) {  // start_dim, end_dim
  const ShapeOperand x(a);
  Setting shape;
  if (!x.ndim()) shape.add(1);
  const int first = x.dim(a[2]);
  const int last = x.dim(a[3]);
  if (first > last)
    x.fail(Fault::value, "got start_dim ", a[2], " after end_dim ", a[3], "; expected start_dim <= end_dim");
  if (first == last && x.ndim()) return x.tensor;
  for (int d = 0; d <= first && d < x.ndim(); ++d) shape.add(x.size(d));
  for (int d = first + 1; d <= last; ++d) shape.at[first] *= x.size(d);
  for (int d = last + 1; d < x.ndim(); ++d) shape.add(x.size(d));
  return x.view(g_reshape, shape);
}

py::object squeeze(PyObject*, Arguments a, Py_ssize_t) {  // dim: a number, several, or None
  const ShapeOperand x(a);
  bool named[NPY_MAXDIMS];
  std::fill_n(named, NPY_MAXDIMS, a[2] == Py_None);
  if (PyLong_CheckExact(a[2])) {
    named[x.dim(a[2])] = true;
  } else if (a[2] != Py_None) {
    const py::object dims = x.sizes(tuple_of(a[2]).ptr());
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(dims.ptr()); ++i) {
      bool& is_named = named[x.dim(PyTuple_GET_ITEM(dims.ptr(), i))];
      if (is_named) x.fail(Fault::value, "got dims ", dims, "; expected each of them once");
      is_named = true;
    }
  }
  Setting shape;
  for (int d = 0; d < x.ndim(); ++d)
    if (!named[d] || x.size(d) != 1) shape.add(x.size(d));
  return x.view(g_reshape, shape);
}

py::object unsqueeze(PyObject*, Arguments a, Py_ssize_t) {  // dim
  const ShapeOperand x(a);
  const int at = x.dim(a[2], x.ndim() + 1);
  Setting shape;
  for (int d = 0; d < at; ++d) shape.add(x.size(d));
  shape.add(1);
  for (int d = at; d < x.ndim(); ++d) shape.add(x.size(d));
  return x.view(g_reshape, shape);
}

py::object permute(PyObject*, Arguments a, Py_ssize_t) {  // order
  const ShapeOperand x(a);
  const py::object dims = x.sizes(a[2]);
  // Checked here because NumPy cuts dimensions to 32 bits. It checks that each occurs once.
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(dims.ptr()); ++i) x.dim(PyTuple_GET_ITEM(dims.ptr(), i));
  if (py::object y = x.fitting(g_permute, dims)) return y;
  x.fail(Fault::value, "got dims ", a[2], " for ", x.ndim(), " dimensions; expected each of them once");
}

py::object transpose(PyObject*, Arguments a, Py_ssize_t) {  // dim0, dim1
  const ShapeOperand x(a);
  const int first = x.dim(a[2]);
  const int second = x.dim(a[3]);
  Setting dims;
  for (int d = 0; d < x.ndim(); ++d) {
    int from = d;
    if (d == first) from = second;
    if (d == second) from = first;
    dims.add(from);
  }
  return x.view(g_permute, dims);
}

py::object t(PyObject*, Arguments a, Py_ssize_t) {
  const ShapeOperand x(a);
  if (x.ndim() > 2)
    x.fail(Fault::value, "got x of shape ", shape_of(x.array()), "; expected at most 2 dimensions");
  if (x.ndim() < 2) return x.tensor;
  return x.view(g_permute, Setting{{1, 0}, 2});
}

// The dimensions from the last to the first.
py::object reversed(PyObject*, Arguments a, Py_ssize_t) {
  const ShapeOperand x(a);
  Setting dims;
  for (int d = x.ndim(); d-- > 0;) dims.add(d);
  return x.view(g_permute, dims);
}

// dims.at[d]: the dimension of x that becomes dimension d, first -1. Dimensions that are not named fill the
// free places in their order.
py::object movedim(PyObject*, Arguments a, Py_ssize_t) {  // source, destination: numbers, or several
  const ShapeOperand x(a);
  const py::object source = x.sizes(tuple_of(a[2]).ptr());
  const py::object to = x.sizes(tuple_of(a[3]).ptr());
  Setting dims;
  bool moved[NPY_MAXDIMS + 1] = {};
  for (int d = 0; d < std::max(x.ndim(), 1); ++d) dims.add(-1);
  bool once = PyTuple_GET_SIZE(source.ptr()) == PyTuple_GET_SIZE(to.ptr());
  for (const py::object& named : {source, to})
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(named.ptr()); ++i) x.dim(PyTuple_GET_ITEM(named.ptr(), i));
  for (Py_ssize_t i = 0; once && i < PyTuple_GET_SIZE(to.ptr()); ++i) {
    const int from = x.dim(PyTuple_GET_ITEM(source.ptr(), i));
    const int at = x.dim(PyTuple_GET_ITEM(to.ptr(), i));
    once = dims.at[at] < 0 && !moved[from];
    dims.at[at] = from;
    moved[from] = true;
  }
  if (!once)
    x.fail(Fault::value, "got source ", a[2], " and destination ", a[3], "; expected as many, each once");
  dims.count = x.ndim();
  for (int d = 0, rest = 0; d < dims.count; ++d) {
    if (dims.at[d] >= 0) continue;
    while (moved[rest]) ++rest;
    dims.at[d] = rest++;
  }
  return x.view(g_permute, dims);
}

// A size of -1 stands for x's own. `full` has the sizes with these filled in.
py::object expand(PyObject*, Arguments a, Py_ssize_t) {  // sizes
  const ShapeOperand x(a);
  const py::object target = x.sizes(a[2]);
  const Py_ssize_t ndim = PyTuple_GET_SIZE(target.ptr());
  const Py_ssize_t lead = ndim - x.ndim();
  bool named = lead >= 0;
  double elements = 1;
  const py::object full = checked(PyTuple_New(ndim));
  for (Py_ssize_t d = 0; named && d < ndim; ++d) {
    PyObject* const given = PyTuple_GET_ITEM(target.ptr(), d);
    const bool own = clamped(given) == -1;
    named = !own || d >= lead;
    if (!named) break;
    if (own) {
      PyTuple_SET_ITEM(full.ptr(), d, PyLong_FromSsize_t(x.size(static_cast<int>(d - lead))));
    } else {
      PyTuple_SET_ITEM(full.ptr(), d, Py_NewRef(given));
    }
    elements *= static_cast<double>(std::max<int64_t>(clamped(PyTuple_GET_ITEM(full.ptr(), d)), 1));
  }
  if (!named) x.fail_shape(target, "a size for each dimension");
  if (elements > static_cast<double>(int64_t{1} << 40))
    x.fail(Fault::value, "got the shape ", full, "; expected dimensions with a product of at most 2**40");
  if (py::object y = x.fitting(g_expand, full)) return y;
  x.fail_shape(target, "one it broadcasts to");
}

// True for an int or a NumPy integer, and for a Tensor without dimensions that holds an integer.
bool is_whole(PyObject* number) {
  if (!PyObject_TypeCheck(number, tensor_class()))
    return (PyLong_Check(number) && !PyBool_Check(number)) || PyArray_IsScalar(number, Integer);
  const Held array = slot_of(number, tensor_slots().array);
  return array && PyArray_Check(array.ptr()) && PyArray_ISINTEGER(as_array(array)) &&
         PyArray_NDIM(as_array(array)) == 0;
}

py::object diagonal(PyObject*, Arguments a, Py_ssize_t) {  // offset, dim1, dim2
  const ShapeOperand x(a);
  const int first = x.some_dim(a[3]);
  const int second = x.some_dim(a[4]);
  if (!is_whole(a[2])) x.fail(Fault::type, "got offset ", a[2], "; expected a whole number");
  if (first == second) x.fail(Fault::value, "got dimension ", first, " twice; expected two dimensions");
  const int64_t most = *std::max_element(PyArray_DIMS(x.array()), PyArray_DIMS(x.array()) + x.ndim());
  const int64_t offset = clamped(checked(index_of(a[2])).ptr());
  const int64_t within = std::clamp(offset, -most, most);
  return x.view(g_diagonal, Setting{{within, first, second}, 3});
}

py::object unfold(PyObject*, Arguments a, Py_ssize_t) {  // dimension, size, step; None if x has none
  const ShapeOperand x(a);
  const int dim = x.dim(a[2]);
  const int64_t n = x.ndim() ? x.size(dim) : 1;
  const int64_t size = clamped(checked(index_of(a[3])).ptr());
  const int64_t step = clamped(checked(index_of(a[4])).ptr());
  if (size < 0 || size > n || step < 1)
    x.fail(Fault::value, "got size ", a[3], " and step ", a[4], " for length ", n,
           "; expected size <= length");
  if (x.ndim() == 0) return py::none();
  return x.view(g_unfold, Setting{{dim, size, step}, 3});
}

// x[key] if it is a view (basic_key() in array_views.h), else None. a[2]: key.
py::object getitem(PyObject*, Arguments a, Py_ssize_t) {
  const py::object key = basic_key(a[2]);
  if (!key) return py::none();
  return ShapeOperand(a).view(g_getitem, key);
}

// The same for an array. a[0]: the array; a[1]: the key.
py::object places(PyObject*, Arguments a, Py_ssize_t) {
  if (!PyArray_Check(a[0])) return py::none();
  const py::object key = basic_key(a[1]);
  if (!key) return py::none();
  return places_of(a[0], key.ptr());
}

// --- parts along a dimension

// The key (tuple) for the slices begin ... begin + count - 1 of a dimension; count < 0: for slice `begin`
// only, without that dimension.
py::object key_of(int dim, int64_t begin, int64_t count) {
  static PyObject* const all = PySlice_New(nullptr, nullptr, nullptr);
  py::object key = checked(PyTuple_New(dim + 1));
  py::object part = checked(PyLong_FromLongLong(begin));
  if (count >= 0)
    part = checked(PySlice_New(part.ptr(), checked(PyLong_FromLongLong(begin + count)).ptr(), nullptr));
  for (int d = 0; d < dim; ++d) PyTuple_SET_ITEM(key.ptr(), d, Py_NewRef(all));
  PyTuple_SET_ITEM(key.ptr(), dim, part.release().ptr());
  return key;
}

// Makes several views of x along a dimension, as split() returns them. Each has a node (by_nodes) if the tape
// or an observer follows it; else a view is made from the array directly, which takes less time.
struct Several {
  const ShapeOperand& x;
  const int dim;
  const py::object array, views;
  const bool by_nodes;
  Py_ssize_t made = 0;

  Several(const ShapeOperand& x, int dim, int64_t count)
      : x(x),
        dim(dim),
        array(py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(x.array()))),
        views(checked(PyTuple_New(count))),
        by_nodes(is_observed() || (is_grad_enabled() &&
                                   slot_of(x.tensor.ptr(), tensor_slots().requires_grad).ptr() == Py_True)) {}
  // Adds the view of the slices from `begin` on; count: as in key_of().
  void add(int64_t begin, int64_t count) {
    py::object view;
    if (by_nodes) {
      view = x.view(g_getitem, key_of(dim, begin, count));
    } else {
      const py::object part = part_of(as_array(array), dim, begin, count);
      view = new_tensor(part.ptr(), /*requires_grad=*/false, /*maker=*/Py_None, /*cell=*/py::object());
    }
    PyTuple_SET_ITEM(views.ptr(), made, view.release().ptr());
    ++made;
  }
  py::object all() const {
    if (by_nodes) {
      mark_several(views.ptr());
    } else {
      join_several(views.ptr(), x.tensor.ptr());
    }
    return views;
  }
};

// Views of `step` slices each, of which the last may have fewer. A dimension of size 0 gives one empty view.
py::object parts_of_size(const ShapeOperand& x, int dim, int64_t step) {
  const int64_t n = x.size(dim);
  Several parts(x, dim, std::max<int64_t>((n - 1) / step + 1, 1));
  for (int64_t begin = 0; begin < n || begin == 0; begin += step) parts.add(begin, std::min(step, n - begin));
  return parts.all();
}

py::object split(PyObject*, Arguments a, Py_ssize_t) {  // size: a number, or several; dim
  const ShapeOperand x(a);
  const int dim = x.some_dim(a[3]);
  if (is_whole(a[2])) {
    const int64_t step = clamped(checked(index_of(a[2])).ptr());
    if (step < 1) x.fail(Fault::value, "got size ", a[2], "; expected at least 1");
    return parts_of_size(x, dim, step);
  }
  const py::object sizes = x.sizes(tuple_of(a[2]).ptr());
  const auto size = [&](Py_ssize_t i) { return clamped(PyTuple_GET_ITEM(sizes.ptr(), i)); };
  const Py_ssize_t count = PyTuple_GET_SIZE(sizes.ptr());
  int64_t left = x.size(dim);  // after the sizes so far; negative: they do not fit
  for (Py_ssize_t i = 0; i < count && left >= 0; ++i) {
    left -= size(i);
    if (size(i) < 0) left = -1;
  }
  if (left != 0)
    x.fail(Fault::value, "got sizes ", sizes, " for a dimension of ", int64_t{x.size(dim)},
           "; expected sizes that add up to it");
  Several parts(x, dim, count);
  int64_t begin = 0;
  for (Py_ssize_t i = 0; i < count; ++i) {
    parts.add(begin, size(i));
    begin += size(i);
  }
  return parts.all();
}

py::object chunk(PyObject*, Arguments a, Py_ssize_t) {  // chunks, dim
  const ShapeOperand x(a);
  const int dim = x.some_dim(a[3]);
  if (!is_whole(a[2])) x.fail(Fault::type, "got chunks ", a[2], "; expected a whole number");
  const int64_t chunks = clamped(checked(index_of(a[2])).ptr());
  const int64_t n = x.size(dim);
  if (chunks < 1) x.fail(Fault::value, "got ", a[2], " chunks; expected at least 1");
  if (n) return parts_of_size(x, dim, (n - 1) / chunks + 1);
  Several parts(x, dim, chunks);
  for (int64_t i = 0; i < chunks; ++i) parts.add(0, 0);
  return parts.all();
}

py::object unbind(PyObject*, Arguments a, Py_ssize_t) {  // dim
  const ShapeOperand x(a);
  const int dim = x.some_dim(a[2]);
  Several parts(x, dim, x.size(dim));
  for (int64_t i = 0, n = x.size(dim); i < n; ++i) parts.add(i, -1);
  return parts.all();
}

// Slice i along dimension 0, for iteration over a Tensor: marked as one of several views. a[2]: i.
py::object slice_of(PyObject*, Arguments a, Py_ssize_t) {
  const ShapeOperand x(a);
  Several parts(x, 0, 1);
  parts.add(clamped(a[2]), -1);
  return py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(parts.all().ptr(), 0));
}

py::object select(PyObject*, Arguments a, Py_ssize_t) {  // dim, index
  const ShapeOperand x(a);
  const int dim = x.some_dim(a[2]);
  const auto number = py::reinterpret_steal<py::object>(index_of(a[3]));
  if (!number) {
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
    PyErr_Clear();
    x.fail(Fault::type, "got index ", a[3], "; expected a whole number");
  }
  const int64_t n = x.size(dim);
  const int64_t i = clamped(number.ptr());
  if (i < -n || i >= n)
    x.fail(Fault::plain_index, "got index ", a[3], " for a dimension of ", n, "; expected ", -n, " to ",
           n - 1);
  return x.view(g_getitem, key_of(dim, i, -1));
}

py::object narrow(PyObject*, Arguments a, Py_ssize_t) {  // dim, start, length
  const ShapeOperand x(a);
  const int dim = x.some_dim(a[2]);
  const py::object numbers = x.sizes(checked(PyTuple_Pack(2, a[3], a[4])).ptr());
  const int64_t n = x.size(dim);
  const int64_t count = clamped(PyTuple_GET_ITEM(numbers.ptr(), 1));
  int64_t begin = clamped(PyTuple_GET_ITEM(numbers.ptr(), 0));
  if (begin < 0) begin += n;
  const bool inside = 0 <= begin && begin <= n;
  const Fault fault = inside ? Fault::value : Fault::index;
  if (!inside || count < 0 || count > n - begin)
    x.fail(fault, "got start ", a[3], " and length ", a[4], " for a dimension of ", n,
           "; expected a part of it");
  return x.view(g_getitem, key_of(dim, begin, count));
}

// _set_shapes(readers, functions): see set_readers(); the classes Reshape, Permute, Expand and Getitem, and
// the function g_view_or_copy.
py::object set_shapes(PyObject*, Arguments a, Py_ssize_t) {
  set_readers(a[0]);
  const auto part = [&](int i) { return Py_NewRef(PyTuple_GET_ITEM(a[1], i)); };
  g_reshape = {part(0), settings().target};
  g_permute = {part(1), settings().dims};
  g_expand = {part(2), settings().target};
  g_getitem = {part(3), settings().key};
  g_view_or_copy = part(4);
  return py::none();
}
// _set_placed(function, is_unfold): the class Unfold or Diagonal.
py::object set_placed(PyObject*, Arguments a, Py_ssize_t) {
  Kind& kind = a[1] == Py_True ? g_unfold : g_diagonal;
  kind = {Py_NewRef(a[0]), settings().place};
  return py::none();
}

// _parts(array, dim): the tuple of views of all slices of an array along a dimension, without the dimension.
py::object parts_of_array(PyObject*, Arguments a, Py_ssize_t) {
  if (!PyArray_Check(a[0])) throw py::type_error("expected an array");
  const int dim = static_cast<int>(clamped(a[1]));
  const npy_intp n = PyArray_DIM(as_array(a[0]), dim);
  return new_tuple(n, [&](size_t i) { return part_of(as_array(a[0]), dim, i, -1).release().ptr(); });
}

PyMethodDef g_shape_functions[] = {
    method<set_shapes, 2>("_set_shapes", "_set_shapes(readers: Any, functions: Any) -> None"),
    method<set_placed, 2>("_set_placed", "_set_placed(function: Any, is_unfold: bool) -> None"),
    method<reshape, 3>("_reshape", "_reshape(op: str, input: Any, sizes: Any) -> Any"),
    method<view, 3>("_view", "_view(op: str, input: Any, sizes: Any) -> Any"),
    method<view_or_none, 3>("_view_or_none", "_view_or_none(op: str, input: Any, sizes: Any) -> Any"),
    method<flatten, 4>("_flatten", "_flatten(op: str, input: Any, start_dim: Any, end_dim: Any) -> Any"),
    method<squeeze, 3>("_squeeze", "_squeeze(op: str, input: Any, dim: Any) -> Any"),
    method<unsqueeze, 3>("_unsqueeze", "_unsqueeze(op: str, input: Any, dim: Any) -> Any"),
    method<permute, 3>("_permute", "_permute(op: str, input: Any, order: Any) -> Any"),
    method<transpose, 4>("_transpose", "_transpose(op: str, input: Any, dim0: Any, dim1: Any) -> Any"),
    method<t, 2>("_t", "_t(op: str, input: Any) -> Any"),
    method<reversed, 2>("_reversed", "_reversed(op: str, input: Any) -> Any"),
    method<movedim, 4>("_movedim", "_movedim(op: str, input: Any, source: Any, destination: Any) -> Any"),
    method<expand, 3>("_expand", "_expand(op: str, input: Any, sizes: Any) -> Any"),
    method<diagonal, 5>("_diagonal",
                        "_diagonal(op: str, input: Any, offset: Any, dim1: Any, dim2: Any) -> Any"),
    method<unfold, 5>("_unfold", "_unfold(op: str, input: Any, dimension: Any, size: Any, step: Any) -> Any"),
    method<parts_of_array, 2>("_parts", "_parts(array: Array, dim: int) -> tuple[Array, ...]"),
    method<chunk, 4>("_chunk", "_chunk(op: str, input: Any, chunks: Any, dim: Any) -> Any"),
    method<getitem, 3>("_getitem", "_getitem(op: str, input: Any, key: Any) -> Any"),
    method<places, 2>("_places", "_places(array: Array, key: Any) -> Any"),
    method<split, 4>("_split", "_split(op: str, input: Any, size: Any, dim: Any) -> Any"),
    method<unbind, 3>("_unbind", "_unbind(op: str, input: Any, dim: Any) -> Any"),
    method<slice_of, 3>("_slice", "_slice(op: str, input: Any, i: int) -> Any"),
    method<select, 4>("_select", "_select(op: str, input: Any, dim: Any, index: Any) -> Any"),
    method<narrow, 5>("_narrow", "_narrow(op: str, input: Any, dim: Any, start: Any, length: Any) -> Any"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_shapes(py::handle m) {
  if (PyModule_AddFunctions(m.ptr(), g_shape_functions) < 0) throw py::error_already_set();
}

}  // namespace ranvier::bind
