// Gradients that a replay leaves: the caller may keep them.
#include "bindings/array_program.h"
#include "bindings/numpy_api.h"

namespace ranvier::bind {
// References that are not the caller's: ours, the leaf's `grad`, the tensor's own, and the one of the cell
// that counts its changes.
bool Gradient::is_held() const {
  if (tensor.is_none()) return false;
  const TensorSlots slots = TensorSlots::of(tensor);
  const Held now = slot_of(tensor.ptr(), slots.array), cell = slot_of(tensor.ptr(), slots.cell);
  if (PyArray_DATA(as_array(now)) != data) return true;  // it has other memory now
  const bool in_leaf = slot_of(leaf.ptr(), slots.grad).is(tensor);
  const bool in_cell = item_of(cell.ptr(), 1).is(now);
  constexpr int kOwn = 1 + kHeldReferences;
  return Py_REFCNT(tensor.ptr()) > 1 + in_leaf || Py_REFCNT(now.ptr()) > kOwn + in_cell ||
         Py_REFCNT(cell.ptr()) > kOwn;
}

py::list ArrayProgram::gradients() {
  const Turn turn(*this);
  py::list all;
  for (const Gradient& g : gradients_) all.append(py::make_tuple(g.leaf, g.tensor));
  return all;
}

void ArrayProgram::set_gradients() const {
  for (const Gradient& g : gradients_) set_slot(g.leaf.ptr(), TensorSlots::of(g.leaf).grad, g.tensor.ptr());
}

// What the caller has kept of the last run keeps its values: the next run writes elsewhere.
void ArrayProgram::release_held_gradients() {
  for (Gradient& g : gradients_) {
    if (g.kept < 0 || !g.is_held()) continue;
    g.tensor = renew_(g.tensor);
    char* data = static_cast<char*>(PyArray_DATA(as_array(py::object(g.tensor.attr("_array")))));
    g.data = data;
    program_->set_kept(g.kept, data);
  }
}

void ArrayProgram::adopt_gradients() {
  const Turn turn(*this);
  release_held_gradients();
  for (const Gradient& g : gradients_) {
    const py::object now = g.leaf.attr("_grad");
    if (now.is(g.tensor) || now.is_none() || g.tensor.is_none()) continue;
    const py::object to = g.tensor.attr("_array"), from = now.attr("_array");
    if (PyArray_CopyInto(as_array(to), as_array(from)) < 0) throw py::error_already_set();
    g.leaf.attr("_grad") = g.tensor;
  }
}

}  // namespace ranvier::bind
