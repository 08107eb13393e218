// Compares guards (guards.h) with the present values. A step has hundreds of guards, which are compared
// before each replay, so this file uses Python's C API directly. An error that a comparison raises is dropped
// and means "not equal".
#include "bindings/replay/guards.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "bindings/binder/array_args.h"
#include "bindings/binder/bfloat16.h"
#include "bindings/binder/classes.h"
#include "bindings/tensors/grad_mode.h"
#include "bindings/tensors/tensors.h"

#include <numpy/arrayscalars.h>

namespace ranvier::bind {
namespace {

bool equal(PyObject* a, PyObject* b) {
  const int result = PyObject_RichCompareBool(a, b, Py_EQ);
  if (result < 0) PyErr_Clear();
  return result == 1;
}

// True if two objects of one class are equal: complex numbers and NumPy's scalars of numbers by their bytes,
// all others by Python's ==.
bool same_object(PyObject* a, PyObject* b) {
  if (PyComplex_CheckExact(a)) {
    const Py_complex x = PyComplex_AsCComplex(a);
    const Py_complex y = PyComplex_AsCComplex(b);
    return std::memcmp(&x, &y, sizeof x) == 0;
  }
  if (!PyArray_IsScalar(a, Generic)) return equal(a, b);
  PyArray_Descr* descr = PyArray_DescrFromScalar(a);
  if (!descr) {
    PyErr_Clear();
    return false;
  }
  const bool number = is_number_type(descr->type_num);
  Py_DECREF(descr);
  if (!number) return equal(a, b);
  char x[64] = {}, y[64] = {};  // no number type has more than 32 bytes
  PyArray_ScalarAsCtype(a, x);
  PyArray_ScalarAsCtype(b, y);
  return std::memcmp(x, y, sizeof x) == 0;
}

bool same_items(PyObject* a, PyObject* b) {  // exact tuples
  if (PyTuple_GET_SIZE(a) != PyTuple_GET_SIZE(b)) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(a); ++i)
    if (!same_value(PyTuple_GET_ITEM(a, i), PyTuple_GET_ITEM(b, i))) return false;
  return true;
}

bool same_list(PyObject* list, PyObject* items) {
  const py::scoped_critical_section alone(list);
  if (PyList_GET_SIZE(list) != PyTuple_GET_SIZE(items)) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); ++i)
    if (!same_value(item_of(list, i).ptr(), PyTuple_GET_ITEM(items, i))) return false;
  return true;
}

// True if the dict has these items, (key, value, key, value ...), in this order.
bool same_dict(PyObject* dict, PyObject* items) {
  const py::scoped_critical_section alone(dict);
  const Py_ssize_t size = PyDict_GET_SIZE(dict);
  if (2 * size != PyTuple_GET_SIZE(items)) return false;
  if (size == 0) return true;
  PyObject *key, *value;
  Py_ssize_t at = 0;
  Py_ssize_t i = 0;
  while (PyDict_Next(dict, &at, &key, &value)) {
    if (i + 1 >= PyTuple_GET_SIZE(items)) return false;
    const Held held_key = borrowed(key);
    const Held held_value = borrowed(value);
    if (!same_value(held_key.ptr(), PyTuple_GET_ITEM(items, i)) ||
        !same_value(held_value.ptr(), PyTuple_GET_ITEM(items, i + 1)))
      return false;
    i += 2;
  }
  return true;
}

// pairs: a tuple (name, value, name, value ...) of expected values, where NotImplemented stands for no value.
// look(name) gives the present value or null.
template <class F>
bool same_pairs(PyObject* pairs, const F& look) {
  for (Py_ssize_t i = 0; i + 1 < PyTuple_GET_SIZE(pairs); i += 2) {
    const Held value = look(PyTuple_GET_ITEM(pairs, i));
    PyObject* expected = PyTuple_GET_ITEM(pairs, i + 1);
    const bool is_absent = !value;
    const bool is_same = expected == Py_NotImplemented ? is_absent : same_value(value.ptr(), expected);
    if (!is_same) return false;
  }
  return true;
}

// The version of a class (renewed_version_of). 0: it has none at the moment.
[[gnu::always_inline]] inline int64_t version_of(PyObject* type) {
  PyTypeObject* t = reinterpret_cast<PyTypeObject*>(type);
  if (!PyType_HasFeature(t, Py_TPFLAGS_VALID_VERSION_TAG)) return 0;
  return int64_t{__atomic_load_n(&t->tp_version_tag, __ATOMIC_RELAXED)};
}

// GuardKind::names. g.key: the expected __mro__ of the class, or None.
bool names_hold(Guard& g) {
  const int64_t now = version_of(g.owner.ptr());
  if (now != 0 && now == g.number) return true;
  if (PyTuple_Check(g.key.ptr()) && reinterpret_cast<PyTypeObject*>(g.owner.ptr())->tp_mro != g.key.ptr())
    return false;
  auto* const type = reinterpret_cast<PyTypeObject*>(g.owner.ptr());
  if (!same_pairs(g.expected.ptr(), [=](PyObject* name) { return class_attribute(type, name); }))
    return false;
  g.number = renewed_version_of(g.owner.ptr());  // the next comparison is then of one number
  return true;
}

bool function_holds(const Guard& g) {
  const auto places = places_of_function(g.owner.ptr());
  for (int i = 0; i < kOfFunction; ++i) {
    PyObject* const expected = PyTuple_GET_ITEM(g.expected.ptr(), i);
    PyObject* const value = *places[i] ? *places[i] : Py_None;
    if (expected != Py_NotImplemented && !same_value(value, expected)) return false;
  }
  return true;
}

bool is_on_dict(const Guard& g) { return g.kind == GuardKind::items || g.kind == GuardKind::dict; }

// The version of a dict, which every change changes; 0: this version of Python has none.
uint64_t dict_version(PyObject* dict) {
#if PY_VERSION_HEX < 0x030D0000
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  return reinterpret_cast<PyDictObject*>(dict)->ma_version_tag;
#pragma GCC diagnostic pop
#else
  (void)dict;
  return 0;
#endif
}

// True if owner.__dict__ is this very dict.
bool has_dict(PyObject* owner, PyObject* expected) {
  PyObject* dict = PyObject_GenericGetDict(owner, nullptr);
  if (!dict) {
    PyErr_Clear();
    return false;
  }
  Py_DECREF(dict);
  return dict == expected;
}

constexpr int64_t kNoGradient = 0, kSharedGradient = -2;

// The address of the elements of the leaf's grad; kNoGradient if it has none. Guards keep this address and no
// reference, because autograd and the program that made the gradient count references. adds: the step adds to
// the gradient in place, as an eager step does only if nothing else refers to its array; if something does,
// kSharedGradient.
int64_t gradient_address(PyObject* leaf, bool adds) {
  const TensorSlots& slots = tensor_slots();
  const Held gradient = slot_of(leaf, slots.grad);
  if (gradient.is_none()) return kNoGradient;
  const Held array = slot_of(gradient.ptr(), slots.array);
  const Held cell = slot_of(gradient.ptr(), slots.cell);
  // References that are no one else's: of the gradient's slot, of `array` here, and of its cell, if that has
  // one.
  const int own = 1 + kHeldReferences + changed_last(cell.ptr()).is(array);
  if (adds && Py_REFCNT(array.ptr()) > own) return kSharedGradient;
  return reinterpret_cast<int64_t>(PyArray_DATA(as_array(array)));
}

}  // namespace

std::array<PyObject* const*, kOfFunction> places_of_function(PyObject* function) {
  auto* const f = reinterpret_cast<PyFunctionObject*>(function);
  return {&f->func_code,     &f->func_defaults, &f->func_kwdefaults, &f->func_name,
          &f->func_qualname, &f->func_doc,      &f->func_module};
}

bool has_gradient(PyObject* leaf) {
  const TensorSlots& slots = tensor_slots();
  const Held gradient = slot_of(leaf, slots.grad);
  const Held own = slot_of(leaf, slots.array);
  if (gradient.is_none() || gradient_address(leaf, true) < 0) return false;
  if (slot_of(gradient.ptr(), slots.requires_grad).ptr() != Py_False) return false;
  const Held array = slot_of(gradient.ptr(), slots.array);
  PyArrayObject* a = as_array(array);
  PyArrayObject* b = as_array(own);
  if (PyArray_TYPE(a) != PyArray_TYPE(b) || PyArray_NDIM(a) != PyArray_NDIM(b)) return false;
  return PyArray_CompareLists(PyArray_DIMS(a), PyArray_DIMS(b), PyArray_NDIM(a)) &&
         PyArray_CompareLists(PyArray_STRIDES(a), PyArray_STRIDES(b), PyArray_NDIM(a)) &&
         PyArray_ISBEHAVED(a) && PyArray_CHKFLAGS(a, NPY_ARRAY_OWNDATA);
}

int64_t renewed_version_of(PyObject* type) {
  if (version_of(type) == 0) {
    // Python gives the class a version when an attribute is looked up.
    const auto any = py::reinterpret_steal<py::object>(PyObject_GetAttrString(type, "__init__"));
    if (!any) PyErr_Clear();
  }
  return version_of(type);
}

PlainValue plain_value(PyObject* x) {
  int64_t bits = 0;
  int too_large = 0;
  if (PyFloat_CheckExact(x)) {
    const double value = PyFloat_AS_DOUBLE(x);
    std::memcpy(&bits, &value, sizeof bits);
    return {PlainValue::number, bits};
  }
  if (PyLong_CheckExact(x)) bits = PyLong_AsLongLongAndOverflow(x, &too_large);
  if (PyLong_CheckExact(x) && !too_large) return {PlainValue::number, bits};
  if (PyLong_CheckExact(x) || PyUnicode_CheckExact(x) || PyBytes_CheckExact(x))
    return {PlainValue::object, PyObject_Hash(x)};
  // NumPy's records (Void) can be changed in place, so they are no plain values.
  const bool is_scalar = PyArray_IsScalar(x, Generic) && !PyArray_IsScalar(x, Void);
  return {PyComplex_CheckExact(x) || is_scalar ? PlainValue::object : PlainValue::none, 0};
}

bool same_value(PyObject* a, PyObject* b) {
  if (a == b) return true;
  if (!a || !b || Py_TYPE(a) != Py_TYPE(b)) return false;
  if (PyTuple_CheckExact(a)) return same_items(a, b);
  const PlainValue x = plain_value(a);
  const PlainValue y = plain_value(b);
  if (x.kind != y.kind || x.what != y.what || x.kind == PlainValue::none) return false;
  return x.kind == PlainValue::number || same_object(a, b);
}

bool Guard::holds() {
  PyObject* o = owner.ptr();
  PyObject* e = expected.ptr();
  switch (kind) {
    case GuardKind::items:
      return same_pairs(e, [=](PyObject* key) { return value_of(o, key); });
    case GuardKind::slot:
      return same_value(slot_of(o, number).ptr(), e);
    case GuardKind::attribute: {
      if (number == 1) return is_grad_enabled() == (e == Py_True);
      if (number == 2) return is_inference() == (e == Py_True);
      const auto value = py::reinterpret_steal<py::object>(PyObject_GetAttr(o, key.ptr()));
      if (!value) PyErr_Clear();
      return same_value(value.ptr(), e);
    }
    case GuardKind::cell:
      return same_value(content_of(o).ptr(), e);
    case GuardKind::list:
      return same_list(o, e);
    case GuardKind::dict:
      return same_dict(o, e);
    case GuardKind::type:
      return reinterpret_cast<PyObject*>(Py_TYPE(o)) == e && (key.is_none() || has_dict(o, key.ptr()));
    case GuardKind::names:
      return names_hold(*this);
    case GuardKind::function:
      return function_holds(*this);
    case GuardKind::gradient:
      if (number < 0) return has_gradient(o);
      return gradient_address(o, !key.is_none()) == number;
    case GuardKind::call: {
      const auto result = py::reinterpret_steal<py::object>(PyObject_CallNoArgs(o));
      if (!result) PyErr_Clear();
      return same_value(result.ptr(), e);
    }
  }
  return false;
}

// The guards are freed last: that may run Python code, which then finds this object empty.
void Guards::clear() {
  dicts_.clear();
  pointers_.clear();
  others_ = 0;
  size_ = 0;
  std::vector<Shared>().swap(shared_);
  std::vector<Guard>().swap(guards_);
}

// Adds the pointers by which a guard can be compared; false if it has to be compared by Guard::holds().
bool Guards::add_pointers([[maybe_unused]] const Guard& g, [[maybe_unused]] std::vector<Pointer>& found) {
#ifndef Py_GIL_DISABLED
  PyObject* o = g.owner.ptr();
  PyObject* e = g.expected.ptr();
  if (g.kind == GuardKind::slot) {
    found.push_back({&slot_at(o, g.number), e});
    return true;
  }
  if (g.kind == GuardKind::cell) {
    found.push_back({&reinterpret_cast<PyCellObject*>(o)->ob_ref, e});
    return true;
  }
  if (g.kind == GuardKind::type) {
    PyObject** dict = g.key.is_none() ? nullptr : _PyObject_GetDictPtr(o);
    if (!g.key.is_none() && (!dict || *dict != g.key.ptr())) return false;
    if (dict) found.push_back({dict, g.key.ptr()});
    found.push_back({reinterpret_cast<PyObject* const*>(&o->ob_type), e});
    return true;
  }
  if (g.kind == GuardKind::function) {
    const auto places = places_of_function(o);
    for (int i = 0; i < kOfFunction; ++i) {
      PyObject* expected = PyTuple_GET_ITEM(e, i);
      if (expected == Py_NotImplemented) continue;
      if (expected == Py_None && !*places[i]) expected = nullptr;  // the function has none
      found.push_back({places[i], expected});
    }
    return true;
  }
#endif
  return false;
}

// Sorts the guards: first those on dicts, those on one dict next to each other; then those that pointers
// compare; then all others.
void Guards::set(const py::list& list) {
  clear();
  guards_.reserve(list.size());
  for (py::handle item : list) {
    if (Py_TYPE(item.ptr()) == Object<Guards>::type) {
      shared_.push_back({py::reinterpret_borrow<py::object>(item), size_});
      size_ += Object<Guards>::of(item.ptr()).size();
      continue;
    }
    const auto t = py::reinterpret_borrow<py::tuple>(item);
    Guard g{static_cast<GuardKind>(whole_number(t[0])), t[1], t[2], t[3]};
    g.place = size_++;
    if (g.kind == GuardKind::slot) g.number = slot_offset(Py_TYPE(g.owner.ptr()), g.key.ptr());
    if (g.kind == GuardKind::gradient) g.number = whole_number(g.expected);
    if (g.kind == GuardKind::names) {
      const Py_ssize_t size = PyTuple_GET_SIZE(g.expected.ptr());
      if (size % 2 == 1) g.number = whole_number(PyTuple_GET_ITEM(g.expected.ptr(), size - 1));
    }
    if (g.kind == GuardKind::attribute && is_grad_mode(g.owner.ptr()) && PyBool_Check(g.expected.ptr()))
      g.number = PyUnicode_CompareWithASCIIString(g.key.ptr(), "inference") == 0 ? 2 : 1;
    guards_.push_back(std::move(g));
  }
  const auto after_dicts = std::stable_partition(guards_.begin(), guards_.end(), is_on_dict);
  std::stable_sort(guards_.begin(), after_dicts, [](const Guard& a, const Guard& b) {
    return std::less<PyObject*>()(a.owner.ptr(), b.owner.ptr());
  });
  for (size_t i = 0; i < static_cast<size_t>(after_dicts - guards_.begin()); ++i) {
    PyObject* dict = guards_[i].owner.ptr();
    if (dicts_.empty() || dicts_.back().dict != dict) dicts_.push_back({dict, i, i, 0});
    dicts_.back().end = i + 1;
  }
  const auto others = std::stable_partition(after_dicts, guards_.end(),
                                            [this](const Guard& g) { return add_pointers(g, pointers_); });
  others_ = static_cast<size_t>(others - guards_.begin());
}

int Guards::first_changed(size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i) {
    Guard& g = guards_[i];
    // the first test of names_hold(), without the calls
    if (g.kind == GuardKind::names && g.number != 0 && version_of(g.owner.ptr()) == g.number) continue;
    if (!g.holds()) return g.place;
  }
  return -1;
}

int Guards::first_changed() {
  const int changed = first_changed_of_own();
  if (changed >= 0) return changed;
  for (const Shared& shared : shared_) {
    const py::scoped_critical_section alone(shared.guards);
    const int changed_there = Object<Guards>::of(shared.guards.ptr()).first_changed();
    if (changed_there >= 0) return shared.place + changed_there;
  }
  return -1;
}

int Guards::first_changed_of_own() {
  for (Dict& d : dicts_) {
    const uint64_t now = dict_version(d.dict);
    if (now != 0 && now == d.version) continue;
    const int changed = first_changed(d.begin, d.end);
    if (changed >= 0) return changed;
    d.version = now;
  }
  const bool same = std::all_of(pointers_.begin(), pointers_.end(),
                                [](const Pointer& p) { return *p.place == p.expected; });
  const size_t after_dicts = dicts_.empty() ? 0 : dicts_.back().end;
  return first_changed(same ? others_ : after_dicts, guards_.size());
}

int Guards::visit(visitproc visit, void* arg) const {
  for (const Guard& g : guards_) {
    Py_VISIT(g.owner.ptr());
    Py_VISIT(g.key.ptr());
    Py_VISIT(g.expected.ptr());
  }
  for (const Shared& shared : shared_) Py_VISIT(shared.guards.ptr());
  return 0;
}

}  // namespace ranvier::bind
