// Reads the arguments of a call into a Signature (signature.h), and binds the class for Python.
#include "bindings/replay/signature.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/isa.h"
#include "base/parallel.h"
#include "base/precision.h"
#include "bindings/binder/bfloat16.h"
#include "bindings/binder/classes.h"
#include "bindings/binder/held.h"
#include "bindings/replay/guards.h"
#include "bindings/tape/autocast.h"
#include "bindings/tape/dispatch.h"
#include "bindings/tensors/grad_mode.h"
#include "bindings/tensors/tensors.h"
#include "kernels/conv2d/allowed_algorithms.h"

#include <numpy/arrayscalars.h>

namespace ranvier::bind {
namespace {

constexpr Py_ssize_t kMostItems = 256;  // the most items of a container; each call looks at all of them
constexpr int kDeepest = 500;           // the deepest nesting of containers, at which add() calls itself
constexpr size_t kMostParts = 1 << 16;  // the most parts of a signature

PyTypeObject* g_memmap;  // numpy.memmap

// The settings of Python are one number here: g_number, a function of settings.py, gives the same number for
// the same settings. It is called again only after a change: g_changes counts changes in all threads, and
// t_number is this thread's number after t_seen of them.
std::atomic<int64_t> g_changes{0};
thread_local int64_t t_seen = 0, t_number = 0;
PyObject* g_number;

int64_t settings_number() {
  const int64_t changes = g_changes.load(std::memory_order_acquire);
  if (t_seen != changes) {
    t_number = whole_number(checked(PyObject_CallNoArgs(g_number)));
    t_seen = changes;
  }
  return t_number;
}

// True if x is a named tuple without further attributes.
bool is_named_tuple(PyObject* x) {
  if (!PyTuple_Check(x) || !PyObject_HasAttrString(reinterpret_cast<PyObject*>(Py_TYPE(x)), "_fields"))
    return false;
  const auto attributes = py::reinterpret_steal<py::object>(PyObject_GetAttrString(x, "__dict__"));
  if (!attributes) PyErr_Clear();
  return !attributes || PyObject_Size(attributes.ptr()) == 0;
}

// True if a copy of the array's memory, with its gaps, can have the same strides: they are multiples of an
// element's size and not negative, and the memory has at most 64 times the bytes of the elements, and 16 MB
// more.
bool keeps_strides(PyArrayObject* a) {
  if (PyArray_IS_C_CONTIGUOUS(a) || PyArray_SIZE(a) == 0) return true;
  for (int d = 0; d < PyArray_NDIM(a); ++d)
    if (PyArray_STRIDE(a, d) < 0 || PyArray_STRIDE(a, d) % PyArray_ITEMSIZE(a)) return false;
  const auto [first, last] = reach_of(a);
  return last - first <= 64 * PyArray_NBYTES(a) + (1 << 24);
}

// The arrays, with those that share memory replaced by one array of bytes, in the place of the first of them
// (see Signature::complete()). If any share memory, `places` gets two numbers for each array: the index of
// the array that it is a part of, and its first byte there; -1 for an array that shares none.
std::vector<py::object> joined(const std::vector<py::object>& arrays, std::vector<int64_t>& places) {
  struct Range {
    char *first, *last;
    size_t array;
  };
  if (arrays.size() < 2) return arrays;
  std::vector<Range> ranges;
  for (size_t i = 0; i < arrays.size(); ++i)
    if (PyArray_SIZE(as_array(arrays[i])) > 0) {
      const auto [first, last] = reach_of(as_array(arrays[i]));
      ranges.push_back({first, last, i});
    }
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  std::vector<py::object> all = arrays;
  for (size_t begin = 0, end; begin < ranges.size(); begin = end) {
    char* const first = ranges[begin].first;
    char* last = ranges[begin].last;
    size_t number = ranges[begin].array;
    for (end = begin + 1; end < ranges.size() && ranges[end].first < last; ++end) {
      last = std::max(last, ranges[end].last);
      number = std::min(number, ranges[end].array);
    }
    if (end == begin + 1) continue;
    places.resize(2 * arrays.size(), -1);
    for (size_t r = begin; r < end; ++r) {
      all[ranges[r].array] = py::object();
      places[2 * ranges[r].array] = static_cast<int64_t>(number);
      places[2 * ranges[r].array + 1] = ranges[r].first - first;
    }
    npy_intp bytes = last - first;
    all[number] = checked(PyArray_SimpleNewFromData(1, &bytes, NPY_UINT8, first));
    if (PyArray_SetBaseObject(as_array(all[number]), arrays[number].inc_ref().ptr()) < 0)
      throw py::error_already_set();
  }
  all.erase(std::remove_if(all.begin(), all.end(), [](const py::object& a) { return !a; }), all.end());
  return all;
}

}  // namespace

// In any order, since they are only compared as a whole.
KernelSettings kernel_settings() {
  return {num_threads(),
          allowed_algorithms().bits,
          static_cast<int64_t>(active_isa()),
          static_cast<int64_t>(precision()),
          static_cast<int64_t>(current_precision()),
          static_cast<int64_t>(bfloat16()),
          static_cast<int64_t>(t_autocast),
          settings_number(),
          who_is_asked()};
}

void Signature::clear() {
  joined_ = false;
  parts_.clear();
  values_.clear();
  more_.clear();
  arrays.clear();
  sources.clear();
  fault.clear();
}

bool Signature::has_same_values(const Signature& o) const {
  return std::equal(values_.begin(), values_.end(), o.values_.begin(), o.values_.end(),
                    [](const py::object& a, const py::object& b) { return same_value(a.ptr(), b.ptr()); });
}

bool Signature::is_same_call(const Signature& o) const { return parts_ == o.parts_ && has_same_values(o); }

bool Signature::has_same_structure(const Signature& o) const {
  const auto without_extents = [](std::vector<Part> parts) {
    const auto is_extent = [](const Part& p) { return p.kind == Part::extent; };
    parts.erase(std::remove_if(parts.begin(), parts.end(), is_extent), parts.end());
    return parts;
  };
  return without_extents(parts_) == without_extents(o.parts_) && has_same_values(o);
}

// True for an object in whose place another one of its class may be. True, False, None, Ellipsis and
// NotImplemented are values: there is no other object like them.
bool Signature::may_be_another(const Part& p) {
  if (p.kind != Part::object) return false;
  PyObject* const values[] = {Py_True, Py_None, Py_Ellipsis, Py_NotImplemented};
  return std::none_of(std::begin(values), std::end(values),
                      [&](PyObject* value) { return p.type == Py_TYPE(value); });
}

bool Signature::has_same_form(const Signature& o) const {
  const auto alike = [](const Part& a, const Part& b) {
    return a.kind == b.kind && a.type == b.type && (may_be_another(a) || a.what == b.what);
  };
  return std::equal(parts_.begin(), parts_.end(), o.parts_.begin(), o.parts_.end(), alike) &&
         has_same_values(o) && more_ == o.more_;
}

// Mixes all numbers of the signature by multiplications with an odd constant (2^64 divided by the golden
// ratio).
template <class F>
size_t Signature::hash_without(const F& skips) const {
  size_t hash = 0;
  const auto mix = [&hash](size_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  };
  for (const Part& p : parts_) {
    mix(reinterpret_cast<size_t>(p.type) + p.kind);
    if (!skips(p)) mix(static_cast<size_t>(p.what));
  }
  for (int64_t number : more_) mix(static_cast<size_t>(number));
  return hash;
}
size_t Signature::hash(bool of_numbers) const {
  return hash_without([=](const Part& p) { return !of_numbers && p.kind == Part::number; });
}
size_t Signature::hash_of_form() const { return hash_without(may_be_another); }

int Signature::different_argument(const Signature& o) const {
  int argument = -1;
  for (size_t i = 0; i < std::min(parts_.size(), o.parts_.size()); ++i) {
    argument += parts_[i].kind == Part::argument;
    if (!(parts_[i] == o.parts_[i])) return argument;
  }
  return -1;
}

void Signature::read(const py::tuple& positional, PyObject* keywords, bool as_tensors) {
  as_tensors_ = as_tensors;
  for (const py::handle x : positional) {
    parts_.push_back({Part::argument, nullptr, 0});
    add(x.ptr(), 0);
  }
  PyObject *name, *x;
  Py_ssize_t at = 0;
  while (keywords && PyDict_Next(keywords, &at, &name, &x)) {
    parts_.push_back({Part::argument, nullptr, 1});
    add_value(name);
    add(x, 0);
  }
}

void Signature::add(PyObject* x, int depth) {
  if (!(add_array(x) || add_value(x) || add_items(x, depth))) add_object(x);
}

// False if x is no array as the class comment defines it. Adds its dtype, shape and strides, or if it came
// before, which one it is.
bool Signature::add_array(PyObject* x) {
  py::object found;
  if (Py_TYPE(x) == tensor_class()) {
    const TensorSlots& slots = tensor_slots();
    const Held array = slot_of(x, slots.array);
    if (!array || !PyArray_CheckExact(array.ptr()) || slot_of(x, slots.requires_grad).ptr() != Py_False ||
        !slot_of(x, slots.grad).is_none() || has_attributes(x))
      return false;
    found = py::reinterpret_borrow<py::object>(array.ptr());
  } else if (PyArray_CheckExact(x)) {
    found = py::reinterpret_borrow<py::object>(x);
  } else if (PyObject_TypeCheck(x, g_memmap)) {
    found = checked(PyArray_EnsureArray(Py_NewRef(x)));
  } else {
    return false;
  }
  const void* const type = as_tensors_ ? nullptr : Py_TYPE(x);
  const auto before = std::find(sources.begin(), sources.end(), x);
  if (before != sources.end()) {
    parts_.push_back({Part::again, type, before - sources.begin()});
    return true;
  }
  PyArrayObject* const a = as_array(found);
  parts_.push_back({Part::array, type, PyArray_TYPE(a)});
  for (int d = 0; d < PyArray_NDIM(a); ++d) {  // the stride of a dimension of size 1 does not count
    const npy_intp size = PyArray_DIM(a, d);
    const npy_intp stride = size > 1 ? PyArray_STRIDE(a, d) : 0;
    parts_.push_back({Part::extent, nullptr, size});
    parts_.push_back({Part::extent, nullptr, stride});
  }
  if (!is_number_type(PyArray_TYPE(a)))
    add_value(checked(PyObject_Str(reinterpret_cast<PyObject*>(PyArray_DESCR(a)))).ptr());
  arrays.push_back(std::move(found));
  sources.push_back(x);
  return true;
}

// False if x is no plain value. A range counts as its text.
bool Signature::add_value(PyObject* x) {
  py::object text;
  if (PyRange_Check(x)) text = checked(PyObject_Repr(x));
  PyObject* const compared = text ? text.ptr() : x;
  const PlainValue value = plain_value(compared);
  if (value.kind == PlainValue::none) return false;
  const bool number = value.kind == PlainValue::number;
  const Part::Kind kind = number ? Part::number : Part::value;
  parts_.push_back({kind, Py_TYPE(x), value.what});
  if (!number) values_.push_back(py::reinterpret_borrow<py::object>(compared));
  return true;
}

// False if x is no container. The keys of a dict are compared as values or objects, also if they are arrays.
bool Signature::add_items(PyObject* x, int depth) {
  const bool is_dict = PyDict_CheckExact(x);
  const bool is_list = PyList_CheckExact(x);
  if (!is_dict && !is_list && !PyTuple_CheckExact(x) && !is_named_tuple(x)) return false;
  const py::scoped_critical_section alone(x);
  const Py_ssize_t size = PyObject_Size(x);
  if (size > kMostItems || parts_.size() > kMostParts)
    fault = "an argument with " + std::to_string(size) + " items is too much to be compared in each call";
  else if (depth > kDeepest)
    fault = "an argument holds itself, or is nested too deeply";
  if (!fault.empty()) return true;
  parts_.push_back({Part::items, Py_TYPE(x), size});
  if (is_dict) {
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(x, &at, &key, &value)) {
      const auto held = py::reinterpret_borrow<py::object>(value);
      if (!add_value(key)) add_object(key);
      add(held.ptr(), depth + 1);
    }
    return true;
  }
  const py::object items = is_list ? checked(PyList_AsTuple(x)) : py::reinterpret_borrow<py::object>(x);
  for (Py_ssize_t i = 0; i < size; ++i) add(PyTuple_GET_ITEM(items.ptr(), i), depth + 1);
  return true;
}

void Signature::add_object(PyObject* x) {
  if (PyMethod_Check(x)) {  // Python makes a new bound method at each access: its parts are compared
    parts_.push_back({Part::items, Py_TYPE(x), 2});
    add_object(PyMethod_GET_FUNCTION(x));
    add_object(PyMethod_GET_SELF(x));
  } else {
    parts_.push_back({Part::object, Py_TYPE(x), reinterpret_cast<int64_t>(x)});
  }
}

void Signature::complete() {
  for (const py::object& array : arrays) {
    const auto dtype =
        py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(PyArray_DESCR(as_array(array))));
    if (PyArray_ISBYTESWAPPED(as_array(array)))
      fault = "an array of the arguments is " + std::string(py::str(dtype)) + "; pass it as " +
              std::string(py::str(checked(PyObject_CallMethod(dtype.ptr(), "newbyteorder", "s", "=")))) +
              " (astype)";
    else if (!keeps_strides(as_array(array)))
      fault = "an argument has negative strides or large gaps; pass a contiguous one";
  }
  arrays = joined(arrays, more_);
  joined_ = !more_.empty();
  const KernelSettings settings = kernel_settings();
  more_.insert(more_.end(), settings.begin(), settings.end());
  more_.push_back(2 * is_grad_enabled() + is_inference());
}

// --- for Python
namespace {

py::object signature(PyObject*, PyObject* const* given, Py_ssize_t) {  // args, kwargs, as_tensors
  auto made = std::make_unique<Signature>();
  made->read(FromPython<py::tuple>::convert(given[0]), FromPython<py::dict>::convert(given[1]).ptr(),
             FromPython<bool>::convert(given[2]));
  made->complete();
  if (!made->fault.empty()) return py::str(made->fault);
  py::list arrays;
  for (const py::object& a : std::exchange(made->arrays, {})) arrays.append(a);  // moved: a key keeps none
  return tuple_of({Object<Signature>::holding(std::move(made)), arrays});
}

Py_hash_t hash(PyObject* self) {
  return static_cast<Py_hash_t>(Object<Signature>::of(self).hash(true) >> 1);  // not -1, which is an error
}

PyObject* compare(PyObject* self, PyObject* other, int op) {
  if (Py_TYPE(self) != Py_TYPE(other) || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
  const bool equal = Object<Signature>::of(self) == Object<Signature>::of(other);
  return PyBool_FromLong(equal == (op == Py_EQ));
}

py::object setting_changed(PyObject*, PyObject* const*, Py_ssize_t) {
  ++g_changes;
  return py::none();
}

size_t hash_without_numbers(const Signature& s) { return s.hash(false); }

PyMethodDef g_signature_methods[] = {
    method<hash_without_numbers>("hash_without_numbers", "hash_without_numbers(self: Signature) -> int"),
    method<&Signature::hash_of_form>("hash_of_form", "hash_of_form(self: Signature) -> int"),
    method<&Signature::has_same_form>("has_same_form",
                                      "has_same_form(self: Signature, other: Signature, /) -> bool"),
    method<&Signature::different_argument>("different_argument",
                                           "different_argument(self: Signature, other: Signature, /) -> int"),
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef g_signature_functions[] = {
    method<setting_changed, 0>("_setting_changed", "_setting_changed() -> None"),
    method<signature, 3>("_signature",
                         "_signature(args: tuple[Any, ...], kwargs: dict[str, Any], as_tensors: bool, /) -> "
                         "tuple[Signature, list[Array]] | str"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_signature(Module m) {
  const py::object numpy = checked(PyImport_ImportModule("numpy"));
  g_memmap = reinterpret_cast<PyTypeObject*>(py::object(numpy.attr("memmap")).release().ptr());
  add_class<Signature>(
      m, "ranvier._core.Signature", "",
      {{Py_tp_methods, g_signature_methods}, {Py_tp_hash, slot(hash)}, {Py_tp_richcompare, slot(compare)}},
      Py_TPFLAGS_DISALLOW_INSTANTIATION);
  if (PyModule_AddFunctions(m.ptr(), g_signature_functions) < 0) throw py::error_already_set();
  def(m, "_set_settings(number)", [](Raw number) { g_number = number.value.inc_ref().ptr(); });
}

}  // namespace ranvier::bind
