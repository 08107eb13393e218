// What a run of an ArrayProgram (array_program.h) finds and leaves in Python's objects: arrays of results,
// gradients of leaves, and counts of changes in place. The caller may keep a gradient that a run has left.
// The next run then writes to other memory, so that the caller's gradient keeps its values.
#include <algorithm>

#include "bindings/binder/define.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/replay/array_program.h"
#include "bindings/tensors/tensors.h"
#include "bindings/tensors/views.h"

namespace ranvier::bind {
namespace {

// The address of the elements of the leaf's grad; null if it has none.
char* address_of_gradient(const py::object& leaf) {
  const TensorSlots& slots = tensor_slots();
  const Held tensor = slot_of(leaf.ptr(), slots.grad);
  if (tensor.is_none()) return nullptr;
  return static_cast<char*>(PyArray_DATA(as_array(slot_of(tensor.ptr(), slots.array))));
}

// Of the elements in C order; every NaN of float and double counts as the same number.
uint64_t fingerprint_of(py::handle array) {
  const py::object dense = checked(reinterpret_cast<PyObject*>(PyArray_GETCONTIGUOUS(as_array(array))));
  PyArrayObject* const a = as_array(dense);
  const int type = PyArray_TYPE(a);
  Fingerprint fingerprint;
  if (type == NPY_FLOAT)
    fingerprint.add('f', PyArray_DATA(a), PyArray_SIZE(a));
  else if (type == NPY_DOUBLE)
    fingerprint.add('d', PyArray_DATA(a), PyArray_SIZE(a));
  else
    fingerprint.add('B', PyArray_DATA(a), PyArray_NBYTES(a));
  return fingerprint.value();
}

// True if the array has this dtype and shape.
bool has_form(py::handle array, const ArrayLayout& layout) {
  PyArrayObject* const a = as_array(array);
  auto* const dtype = reinterpret_cast<PyArray_Descr*>(layout.dtype.ptr());
  return PyArray_NDIM(a) == layout.ndim &&
         std::equal(layout.shape, layout.shape + layout.ndim, PyArray_DIMS(a)) &&
         PyArray_EquivTypes(PyArray_DESCR(a), dtype);
}

ArrayLayout layout_of(py::handle array) { return {array, PyArray_BYTES(as_array(array))}; }

}  // namespace

// Counts the references to the tensor, its array and its cell. Those that are not the caller's: to the
// tensor, this object's and the leaf's `grad`; to the array, the tensor's and perhaps the cell's; to the
// cell, the tensor's. A Held may have one of its own (kHeldReferences).
bool Gradient::is_held() const {
  if (tensor.is_none()) return false;
  const TensorSlots& slots = tensor_slots();
  const Held now = slot_of(tensor.ptr(), slots.array);
  const Held cell = slot_of(tensor.ptr(), slots.cell);
  if (PyArray_DATA(as_array(now)) != data) return true;  // it has other memory now
  const bool in_leaf = slot_of(leaf.ptr(), slots.grad).is(tensor);
  const bool in_cell = changed_last(cell.ptr()).is(now);
  constexpr int kOwn = 1 + kHeldReferences;
  if (Py_REFCNT(tensor.ptr()) > 1 + in_leaf) return true;
  if (Py_REFCNT(now.ptr()) > kOwn + in_cell) return true;
  return Py_REFCNT(cell.ptr()) > kOwn;
}

py::list ArrayProgram::gradients() {
  const Turn turn(*this);
  py::list all;
  for (const Gradient& g : gradients_) all.append(tuple_of({g.leaf, g.tensor}));
  return all;
}

void ArrayProgram::set_gradients() const {
  for (const Gradient& g : gradients_) set_slot(g.leaf.ptr(), tensor_slots().grad, g.tensor.ptr());
}

// Gives the program other memory for the gradients of the last run that the caller has kept.
void ArrayProgram::release_held_gradients() {
  for (Gradient& g : gradients_)
    if (g.kept >= 0 && g.is_held()) renew(g);
}

// Lets go of the large gradients of the last run, so that their memory is free where the step drops them.
void ArrayProgram::drop_large_gradients() {
  constexpr npy_intp kLarge = 1 << 18;  // bytes
  for (Gradient& g : gradients_) {
    if (g.kept < 0) continue;
    const py::object array = g.tensor.attr("_array");
    if (PyArray_NBYTES(as_array(array)) >= kLarge) renew(g);
  }
}

// Gives the gradient a new Tensor in new memory, to which the program will write.
void ArrayProgram::renew(Gradient& g) {
  py::object renewed = checked(PyObject_CallOneArg(renew_.ptr(), g.tensor.ptr()));
  g.tensor = std::move(renewed);
  const py::object array = g.tensor.attr("_array");
  char* data = static_cast<char*>(PyArray_DATA(as_array(array)));
  g.data = data;
  program_->set_kept(g.kept, data);
}

void ArrayProgram::let_move(const py::list& found) {
  const Turn turn(*this);
  for (py::handle item : found) {
    const auto t = py::reinterpret_borrow<py::tuple>(item);
    const int buffer = static_cast<int>(whole_number(t[1]));
    const Buffer& b = program_->buffers()[buffer];
    movable_.push_back({t[0], program_->let_move(buffer), b.address, static_cast<int64_t>(b.bytes)});
  }
  for (const Buffer& b : program_->buffers())
    if (b.role == Role::persistent && b.kept < 0) fixed_.push_back(b.address);
  std::sort(fixed_.begin(), fixed_.end());
}

// True if no two leaves have the same movable gradient, and none lies in memory that the program uses for
// something else. It is enough to compare the addresses at which arrays begin: the guards
// (GuardKind::gradient) have made sure that each gradient's array owns its memory.
bool ArrayProgram::gradients_are_apart() const {
  if (movable_.empty()) return true;
  std::vector<char*> all;
  for (const MovableGradient& f : movable_) {
    char* const address = address_of_gradient(f.leaf);
    if (std::binary_search(fixed_.begin(), fixed_.end(), address)) return false;
    all.push_back(address);
  }
  std::sort(all.begin(), all.end());
  return std::adjacent_find(all.begin(), all.end()) == all.end();
}

bool ArrayProgram::meets_movable_gradient(const char* first, const char* last) const {
  return std::any_of(movable_.begin(), movable_.end(), [&](const MovableGradient& f) {
    const char* data = address_of_gradient(f.leaf);
    return data < last && first < data + f.bytes;
  });
}

// Points the program at the movable gradients that the leaves have now, and returns their arrays, which the
// caller holds during a run. It returns fewer than movable_ if another thread has just removed one. If the
// memory of such a gradient is where the program leaves one of its own, that one gets other memory.
std::vector<py::object> ArrayProgram::find_gradients() {
  std::vector<py::object> arrays;
  for (MovableGradient& f : movable_) {
    const Held tensor = slot_of(f.leaf.ptr(), tensor_slots().grad);
    f.found = nullptr;
    if (tensor.is_none()) break;
    const auto owned = py::reinterpret_borrow<py::object>(tensor.ptr());
    const py::object array = owned.attr("_array");
    char* data = static_cast<char*>(PyArray_DATA(as_array(array)));
    f.found = data;
    arrays.push_back(array);
    for (Gradient& g : gradients_)
      if (g.kept >= 0 && g.data == data) renew(g);
    program_->set_kept(f.kept, data);
  }
  return arrays;
}

// New memory for an output: the array of the result that fills it, or bytes of which the results are views.
py::object ArrayProgram::new_output(int number) const {
  for (const ResultForm& form : settings_.results)
    if (form.output == number && form.whole) return form.new_array();
  return Output::contiguous(DType::uint8, {static_cast<int64_t>(program_->output_bytes(number))}).release();
}

py::object ArrayProgram::make_result(const ResultForm& form, const std::vector<py::object>& memory) const {
  if (form.whole) return memory[form.output];
  if (form.output >= 0) return form.make(memory[form.output]);
  for (const Gradient& g : gradients_)
    if (g.kept == form.kept) return form.make(py::object(g.tensor.attr("_array")));
  fail_value("program", "got a result that is a gradient of no leaf");
}

// Keeps the memory of the movable gradients, with its values, if it is the allocator's.
std::vector<Pin> ArrayProgram::pinned_gradients() const {
  std::vector<Pin> pins;
  for (const MovableGradient& f : movable_) {
    const Held tensor = slot_of(f.leaf.ptr(), tensor_slots().grad);
    if (tensor.is_none()) continue;
    const OwnedMemory memory = OwnedMemory::of(slot_of(tensor.ptr(), tensor_slots().array));
    if (!memory.ours) continue;
    pin(memory.begin, /*discard=*/false);
    pins.emplace_back(memory.begin);
  }
  return pins;
}

// False if an eager run has left a gradient where the program does not expect one, none where it does, or one
// in the memory to which the program will write; or if a gradient has moved that the program adds to in
// place. Only pinned memory may be compared after the run.
bool ArrayProgram::has_comparable_gradients() const {
  for (const MovableGradient& f : movable_) {
    const auto is_replaced = [&f](const Gradient& g) {
      return g.leaf.is(f.leaf) && (g.kept >= 0 || g.tensor.is_none());
    };
    const bool replaced = std::any_of(gradients_.begin(), gradients_.end(), is_replaced);
    if (!replaced && address_of_gradient(f.leaf) != f.found) return false;
  }
  for (const Gradient& g : gradients_) {
    const char* const now = address_of_gradient(g.leaf);
    if ((now != nullptr) == g.tensor.is_none()) return false;
    if (g.kept >= 0 && now == g.data) return false;
  }
  return true;
}

// After a run of the program: fingerprints of its results, then of the gradients that it has made. memory: of
// its outputs. Gradients are where the program has them now, which need not be in their Tensors.
std::vector<uint64_t> ArrayProgram::fingerprints(const std::vector<py::object>& memory) const {
  std::vector<uint64_t> all;
  for (const ResultForm& form : settings_.results) {
    const bool is_gradient = form.output < 0;
    all.push_back(
        fingerprint_of(is_gradient ? form.at(program_->kept_address(form.kept)) : make_result(form, memory)));
  }
  for (const Gradient& g : gradients_) {
    if (g.kept < 0) continue;  // its memory is compared like that of parameters
    const ArrayLayout layout = layout_of(g.tensor.attr("_array"));
    all.push_back(fingerprint_of(layout.at(program_->kept_address(g.kept))));
  }
  return all;
}

// Compares the results and the gradients of an eager run with those of the program, of which fingerprints()
// gave `made`; empty if they are equal.
std::string ArrayProgram::difference(const py::list& results, const std::vector<uint64_t>& made) const {
  auto next = made.begin();
  for (size_t i = 0; i < settings_.results.size(); ++i, ++next)
    if (!has_form(results[i], settings_.results[i]) || fingerprint_of(results[i]) != *next)
      return "result " + std::to_string(i) + " differs";
  for (const Gradient& g : gradients_) {
    if (g.kept < 0) continue;
    const py::object eager = g.leaf.attr("_grad").attr("_array");
    if (!has_form(eager, layout_of(g.tensor.attr("_array"))) || fingerprint_of(eager) != *next)
      return "the gradient of a leaf differs";
    ++next;
  }
  return "";
}

void ArrayProgram::adopt_gradients() {
  const Turn turn(*this);
  release_held_gradients();
  for (const Gradient& g : gradients_) {
    Gradient now = g;
    now.tensor = g.leaf.attr("_grad");
    if (now.tensor.is(g.tensor) || now.tensor.is_none() || g.tensor.is_none()) continue;
    now.data = address_of_gradient(g.leaf);
    if (now.is_held()) continue;  // the caller holds it, for example as a result of the step
    const py::object to = g.tensor.attr("_array");
    const py::object from = now.tensor.attr("_array");
    if (PyArray_CopyInto(as_array(to), as_array(from)) < 0) throw py::error_already_set();
    g.leaf.attr("_grad") = g.tensor;
  }
}

bool ArrayProgram::begin_runs(std::vector<py::object>& held) {
  watch();
  if (!program_->reserve()) return false;
  release_held_gradients();
  held = find_gradients();
  return held.size() == movable_.size();
}

void ArrayProgram::end_runs() const {
  set_gradients();
  for (const auto& [cell, array] : changed_) count_change(cell.ptr(), array.ptr());
}

}  // namespace ranvier::bind
