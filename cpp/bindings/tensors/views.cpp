// Keeps track of the Tensors that share memory (views.h): the links in their cell (cell.h). Tensor._view of a
// view is the tuple (base, chain, why): the Tensor that is no view, the Functions that lead from it to the
// view, and the reason why the view cannot be changed in place on the tape, or "".
#include "bindings/tensors/views.h"

#include <atomic>

#include "bindings/binder/batched.h"
#include "bindings/binder/errors.h"
#include "bindings/binder/held.h"
#include "bindings/binder/methods.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/tensors/grad_mode.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {

py::object target_of(PyObject* link) {
#if PY_VERSION_HEX >= 0x030D0000
  PyObject* found = nullptr;
  if (PyWeakref_GetRef(link, &found) < 0) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(found);
#else
  PyObject* found = PyWeakref_GetObject(link);
  return py::reinterpret_borrow<py::object>(found == Py_None ? nullptr : found);
#endif
}

namespace {

PyObject *g_under_no_grad, *g_one_of_several;  // reasons (`why`): texts of tensors/views.py
PyObject* g_no_reason;                         // ""

py::object kept(Held x) { return py::reinterpret_borrow<py::object>(x.ptr()); }

py::object link_to(PyObject* tensor) {
  py::object link = checked(PyWeakref_NewRef(tensor, nullptr));
  leave_to_counts(link.ptr());
  return link;
}

py::object cell_of(PyObject* tensor) { return kept(slot_of(tensor, tensor_slots().cell)); }

// The content of Tensor._view; empty for a Tensor that is no view.
struct Family {
  py::object base, chain, why;  // base: a weak reference to it if there is a reason

  explicit Family(PyObject* tensor) {
    const py::object view = kept(slot_of(tensor, tensor_slots().view));
    if (!view || !PyTuple_Check(view.ptr()) || PyTuple_GET_SIZE(view.ptr()) != 3) return;
    const auto part = [&](int i) {
      return py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(view.ptr(), i));
    };
    base = part(0);
    chain = part(1);
    why = part(2);
  }
  Family(py::object base, py::object chain, PyObject* why)
      : base(std::move(base)), chain(std::move(chain)), why(py::reinterpret_borrow<py::object>(why)) {}

  explicit operator bool() const { return static_cast<bool>(base); }
  bool has_reason() const { return PyObject_IsTrue(why.ptr()) == 1; }
  py::object living_base() const {
    if (has_reason()) return target_of(base.ptr());
    return base;
  }
  // The same family with a reason, unless it has one already.
  Family refused(PyObject* reason) const {
    if (has_reason()) return *this;
    return Family(link_to(base.ptr()), chain, reason);
  }
  py::object tuple() const { return checked(PyTuple_Pack(3, base.ptr(), chain.ptr(), why.ptr())); }
  void give_to(PyObject* view) const { set_slot(view, tensor_slots().view, tuple().ptr()); }
};

// A dict of those of a cell's links that lead to a Tensor that exists, except `without`: id of the Tensor ->
// link. Each Tensor occurs once, in the order of the list. count: how many links are looked at.
py::object living(const Held& links, Py_ssize_t count, PyObject* without = nullptr) {
  py::object found = checked(PyDict_New());
  for (Py_ssize_t i = 0; i < count; ++i) {
    const py::object link = kept(item_of(links.ptr(), i));
    const py::object tensor = target_of(link.ptr());
    if (!tensor || tensor.ptr() == without) continue;
    if (PyDict_SetItem(found.ptr(), checked(PyLong_FromVoidPtr(tensor.ptr())).ptr(), link.ptr()) < 0)
      throw py::error_already_set();
  }
  return found;
}

// Removes the links to Tensors that no longer exist, if they are more than half: so few calls have to do this
// work.
void prune(const Held& links) {
  // One call at a time: another one would remove the first `count` links of a list that is shorter by now. A
  // call that comes meanwhile leaves the work to a later one.
  static std::atomic_flag busy = ATOMIC_FLAG_INIT;
  if (busy.test_and_set()) return;
  struct Leave {
    ~Leave() { busy.clear(); }
  } leave;
  const Py_ssize_t count = count_of(links);  // other threads may append meanwhile; these links stay
  const py::object left = checked(PyDict_Values(living(links, count).ptr()));
  Py_ssize_t alive = PyList_GET_SIZE(left.ptr());
  if (alive == 1) {  // a Tensor that is no view is listed only as long as it has views
    const py::object tensor = target_of(PyList_GET_ITEM(left.ptr(), 0));
    if (!tensor || !Family(tensor.ptr())) alive = 0;
  }
  if (2 * alive >= count) return;
  PyObject* const remaining = alive ? left.ptr() : nullptr;  // null: the slice becomes empty
  if (PyList_SetSlice(links.ptr(), 0, count, remaining) < 0) throw py::error_already_set();
}

void append(PyObject* cell, PyObject* tensor) { append_link(cell, link_to(tensor).ptr()); }

// Adds a link to a Tensor to its cell, and prunes each time the number of links has doubled.
void add_link(PyObject* tensor) {
  const py::object cell = cell_of(tensor);
  append(cell.ptr(), tensor);
  const Held links = links_of(cell.ptr());
  const Py_ssize_t count = count_of(links);
  const auto is_power = [](Py_ssize_t n) { return (n & (n - 1)) == 0; };
  if (count > 31 && (is_power(count) || is_power(count - 1))) prune(links);  // one call may add two
}

// The list of other Tensors that share the Tensor's memory.
py::object sharing(PyObject* tensor) {
  const py::object cell = cell_of(tensor);
  const Held links = links_of(cell.ptr());
  const Py_ssize_t count = count_of(links);
  py::object found = checked(PyDict_Values(living(links, count, tensor).ptr()));
  Py_ssize_t alive = 0;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(found.ptr()); ++i)
    if (py::object other = target_of(PyList_GET_ITEM(found.ptr(), i)))
      PyList_SetItem(found.ptr(), alive++, other.release().ptr());
  if (PyList_SetSlice(found.ptr(), alive, PY_SSIZE_T_MAX, nullptr) < 0) throw py::error_already_set();
  if (count > 2 * alive) prune(links);
  return found;
}

// True if only views refer to the base of this view. Ops that reshape their own result return such views; in
// PyTorch these are no views.
bool hides_base(PyObject* view, const Family& family) {
  if (family.why.ptr() == g_under_no_grad) return !target_of(family.base.ptr());
  if (family.has_reason()) return false;
  const py::object cell = cell_of(view);
  Py_ssize_t views = 1;  // references to the base: that of `family`, and one of each view
  const Held links = links_of(cell.ptr());
  const py::object found = living(links, count_of(links));
  PyObject *key, *link;
  for (Py_ssize_t at = 0; PyDict_Next(found.ptr(), &at, &key, &link);) {
    const py::object tensor = target_of(link);
    views += tensor && Family(tensor.ptr()).base.ptr() == family.base.ptr();
  }
  return Py_REFCNT(family.base.ptr()) == views;
}

// Makes a view an ordinary Tensor if no other Tensor has its memory, except a base that only this view refers
// to. Returns whether it did.
bool stands_alone(PyObject* view) {
  const Family family(view);
  // More than two references (of the view and of `family`): the user still has the base.
  if (!family || (!family.has_reason() && Py_REFCNT(family.base.ptr()) > 2)) return false;
  if (!hides_base(view, family)) return false;
  const py::object cell = cell_of(view);
  const Held links = links_of(cell.ptr());
  for (Py_ssize_t i = 0; i < count_of(links); ++i) {
    const py::object other = target_of(kept(item_of(links.ptr(), i)).ptr());
    if (other && other.ptr() != view && other.ptr() != family.base.ptr()) return false;
  }
  set_slot(view, tensor_slots().view, Py_None);
  return true;
}

// Notes that `other`, a new Tensor, has the memory of `tensor`, but is no view on the tape (as after
// detach()).
void share(PyObject* tensor, PyObject* other) {
  const py::object cell = cell_of(tensor);
  set_slot(other, tensor_slots().cell, cell.ptr());
  const Family family(tensor);
  if (!family)
    append(cell.ptr(), tensor);
  else if (const py::object base = family.living_base())  // a view is in the list already
    append(cell.ptr(), base.ptr());
  add_link(other);
}

}  // namespace

void count_change(PyObject* cell, PyObject* array) {
  cell_at(cell).changes.fetch_add(1, std::memory_order_relaxed);
  const Held before = changed_last(cell);
  if (before.ptr() == array) return;
  const auto base = [](PyObject* x) { return reinterpret_cast<PyObject*>(PyArray_BASE(as_array(x))); };
  if (before && !before.is_none())  // several views were changed: note the array whose memory they share
    while (base(array) && PyArray_Check(base(array))) array = base(array);
  set_slot(cell, offsetof(Cell, changed_last), array);
}

void join(PyObject* view, PyObject* x, PyObject* function, bool recording) {
  set_slot(view, tensor_slots().cell, cell_of(x).ptr());
  const Family family(x);
  const py::object own = checked(PyTuple_Pack(1, function));
  if (!family || (recording && stands_alone(x))) {
    if (recording) {
      Family(py::reinterpret_borrow<py::object>(x), own, g_no_reason).give_to(view);
    } else {
      Family(link_to(x), own, g_under_no_grad).give_to(view);
    }
  } else {
    py::object chain = checked(PySequence_Concat(family.chain.ptr(), own.ptr()));
    const Family next(family.base, std::move(chain), family.why.ptr());
    if (recording) {
      next.give_to(view);
    } else {
      next.refused(g_under_no_grad).give_to(view);
    }
  }
  add_link(view);
}

void mark_several(PyObject* views) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(views); ++i) {
    PyObject* const view = PyTuple_GET_ITEM(views, i);
    // What a batched Tensor is a view of is known of its value (tensors/batched.py).
    if (Py_TYPE(view) == batched_tensor_class()) continue;
    Family(view).refused(g_one_of_several).give_to(view);
  }
}

// No Function has made the views, so their chain is empty.
void join_several(PyObject* views, PyObject* x) {
  const bool recording = is_grad_enabled();
  PyObject* const why = recording ? g_one_of_several : g_under_no_grad;
  const Family family(x);
  py::object view;
  if (!family || (recording && stands_alone(x)))
    view = Family(link_to(x), checked(PyTuple_New(0)), why).tuple();
  else
    view = Family(family.base, checked(PyTuple_New(0)), family.why.ptr()).refused(why).tuple();
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(views); ++i) {
    PyObject* const tensor = PyTuple_GET_ITEM(views, i);
    set_slot(tensor, tensor_slots().view, view.ptr());
    set_slot(tensor, tensor_slots().cell, cell_of(x).ptr());
    add_link(tensor);
  }
}

namespace {

using Arguments = PyObject* const*;

// x, if it is a real Tensor. A proxy, whose `__class__` is Tensor, has no slots.
PyObject* checked_tensor(PyObject* x) {
  if (!PyObject_TypeCheck(x, tensor_class()) || !has_array(x))
    fail_type("share", "got ", Py_TYPE(x)->tp_name, " in place of a Tensor; expected a Tensor with data");
  return x;
}

py::object set_reasons(PyObject*, Arguments a, Py_ssize_t) {
  g_no_reason = PyUnicode_InternFromString("");
  g_under_no_grad = Py_NewRef(a[0]);
  g_one_of_several = Py_NewRef(a[1]);
  return py::none();
}
py::object share_of(PyObject*, Arguments a, Py_ssize_t) {
  share(checked_tensor(a[0]), checked_tensor(a[1]));
  return py::none();
}
py::object detached(PyObject*, Arguments a, Py_ssize_t) {
  const py::object array = kept(slot_of(checked_tensor(a[0]), tensor_slots().array));
  py::object other = new_tensor(array.ptr(), false, Py_None, cell_of(a[0]));
  share(a[0], other.ptr());
  return other;
}
py::object sharing_of(PyObject*, Arguments a, Py_ssize_t) { return sharing(checked_tensor(a[0])); }
py::object hides(PyObject*, Arguments a, Py_ssize_t) {
  const Family family(checked_tensor(a[0]));
  return py::bool_(family && hides_base(a[0], family));
}
py::object alone(PyObject*, Arguments a, Py_ssize_t) { return py::bool_(stands_alone(checked_tensor(a[0]))); }

PyMethodDef g_view_functions[] = {
    method<set_reasons, 2>("_set_reasons", "_set_reasons(under_no_grad: str, one_of_several: str) -> None"),
    method<share_of, 2>("_share", "_share(tensor: Any, other: Any) -> None"),
    method<detached, 1>("_detached", "_detached(tensor: Any) -> Any"),
    method<sharing_of, 1>("_sharing", "_sharing(tensor: Any) -> list[Any]"),
    method<hides, 1>("_hides_base", "_hides_base(view: Any) -> bool"),
    method<alone, 1>("_stands_alone", "_stands_alone(view: Any) -> bool"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_views(py::handle m) {
  if (PyModule_AddFunctions(m.ptr(), g_view_functions) < 0) throw py::error_already_set();
}

}  // namespace ranvier::bind
