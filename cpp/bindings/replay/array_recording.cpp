// ArrayRecording (array_recording.h): which memory an array has, whose it is, and whether it was made during
// the recording. Each array that a kernel call uses is noted as a region of the recording, and its memory is
// kept from being freed, so that an address means one array only.
#include "bindings/replay/array_recording.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/allocator.h"
#include "bindings/binder/array_args.h"
#include "bindings/binder/numpy_api.h"

namespace ranvier::bind {
namespace {

// A memory handler that is set in NumPy during a recording and works like NumPy's own. Arrays that NumPy
// makes then have it, by which memory_of() recognises them.
void* plain_malloc(void*, size_t bytes) { return std::malloc(std::max<size_t>(bytes, 1)); }
void* plain_calloc(void*, size_t count, size_t size) {
  return std::calloc(std::max<size_t>(count, 1), std::max<size_t>(size, 1));
}
void* plain_realloc(void*, void* old, size_t bytes) { return std::realloc(old, std::max<size_t>(bytes, 1)); }
void plain_free(void*, void* p, size_t) { std::free(p); }
PyDataMem_Handler g_recording_functions = {
    "ranvier_recording", 1, {nullptr, plain_malloc, plain_calloc, plain_realloc, plain_free}};

PyObject* handler_of(PyArrayObject* a) { return reinterpret_cast<PyArrayObject_fields*>(a)->mem_handler; }

}  // namespace

// Called for each argument of a kernel that is an array (binder/array_args.h), while t_recording is not null.
void note_array(py::handle array) try {
  if (array) static_cast<ArrayRecording*>(t_recording)->note(array);
} catch (const std::bad_alloc&) {
  t_recording->fault = "out of memory";
  throw;
}

ArrayRecording::~ArrayRecording() { end(); }

void ArrayRecording::begin() {
  first_serial_ = next_serial();
  failed_ = failed_allocations();
  handler_ = py::reinterpret_steal<py::object>(PyCapsule_New(&g_recording_functions, "mem_handler", nullptr));
  numpy_handler_ = handler_ ? PyDataMem_SetHandler(handler_.ptr()) : nullptr;
  if (!numpy_handler_) throw py::error_already_set();
  t_recording = this;
  open_ = true;
}

void ArrayRecording::end() {
  if (!open_) return;
  open_ = false;
  t_recording = nullptr;
  // The step may have caught a MemoryError and taken another branch, which other calls would not take.
  if (failed_allocations() != failed_) fault = "out of memory";
  Py_XDECREF(PyDataMem_SetHandler(numpy_handler_));
  Py_CLEAR(numpy_handler_);
}

OwnedMemory OwnedMemory::of(py::handle array) {
  if (!PyArray_Check(array.ptr())) fail_type("program", "got no array of NumPy");
  PyArrayObject* root = as_array(array);
  while (PyArray_BASE(root) && PyArray_Check(PyArray_BASE(root)))
    root = reinterpret_cast<PyArrayObject*>(PyArray_BASE(root));
  const py::handle owner(reinterpret_cast<PyObject*>(root));
  if (PyArray_CHKFLAGS(root, NPY_ARRAY_OWNDATA)) {
    const bool ours = handler_of(root) == memory_handler();
    return {PyArray_DATA(root), static_cast<size_t>(PyArray_NBYTES(root)), ours, false, owner};
  }
  const auto [first, last] = reach_of(root);  // an array on the memory of an object that is no array
  return {first, static_cast<size_t>(last - first), false, false, owner};
}

// As OwnedMemory::of, with in_recording.
OwnedMemory ArrayRecording::memory_of(py::handle array) const {
  OwnedMemory memory = OwnedMemory::of(array);
  PyArrayObject* root = as_array(memory.owner);
  if (memory.ours)
    memory.in_recording = allocation_serial(memory.begin) >= first_serial_;
  else if (PyArray_CHKFLAGS(root, NPY_ARRAY_OWNDATA))
    memory.in_recording = handler_of(root) == handler_.ptr();
  return memory;
}

// Makes the memory a region and keeps it from being freed. A region that is known already keeps its kind,
// except that a foreign one (made by others than the core during the recording) becomes persistent if `kind`
// says so.
void ArrayRecording::hold(const OwnedMemory& memory, RegionKind kind, int argument) {
  const size_t count_before = regions.size();
  const int region = Recording::note(memory.begin, memory.bytes, kind, argument);
  if (regions.size() == count_before) {
    if (kind == RegionKind::persistent && regions[region].kind == RegionKind::foreign)
      regions[region].kind = kind;
    return;
  }
  pins_.resize(regions.size());
  if (memory.ours) {
    // The contents of a temporary need not outlive its deallocation.
    pin(memory.begin, memory.in_recording);
    pins_[region].reset(memory.begin);
  } else {
    owners_.push_back(py::reinterpret_borrow<py::object>(memory.owner));
  }
}

// True if the array lies within an argument. An argument may be a part of a larger array; its bytes then
// belong to the argument and not to that array.
bool ArrayRecording::is_in_argument(py::handle array) const {
  const auto [first, last] = reach_of(as_array(array));
  const int region = find(first);
  if (region < 0 || regions[region].kind != RegionKind::argument) return false;
  return last <= regions[region].begin + regions[region].bytes;
}

void ArrayRecording::note(py::handle array) {
  if (placed_ != records.size() + 1) {  // the first array of the next call
    placed_ = records.size() + 1;
    find_place();
  }
  if (is_in_argument(array)) return;
  const OwnedMemory memory = memory_of(array);
  const RegionKind new_kind = memory.ours ? RegionKind::temporary : RegionKind::foreign;
  const RegionKind kind = memory.in_recording ? new_kind : RegionKind::persistent;
  hold(memory, kind);
}

// The caller keeps a reference to the array during the recording.
void ArrayRecording::add_argument(py::handle array) {
  const auto [first, last] = reach_of(as_array(array));
  const auto bytes = static_cast<size_t>(last - first);
  const OwnedMemory memory{first, bytes, /*ours=*/false, /*in_recording=*/false, /*owner=*/array};
  hold(memory, RegionKind::argument, arguments_);
  ++arguments_;
}

void ArrayRecording::keep(py::handle array) { hold(memory_of(array), RegionKind::persistent); }

int ArrayRecording::region_of(py::handle array) const {
  if (is_in_argument(array)) return find(reach_of(as_array(array)).first);
  return find(memory_of(array).begin);
}

void ArrayRecording::follow(py::handle array) {
  keep(array);
  regions[region_of(array)].varies = true;
}

// True if others than the core's recorded calls have filled the region.
static bool is_unknown(const Region& r) {
  return r.kind == RegionKind::foreign || (r.kind == RegionKind::temporary && !r.written);
}

// Goes through the calls that were recorded since the last question: what a call writes varies if something
// that it reads varies, and so does persistent memory that a call writes.
bool ArrayRecording::varies(py::handle array) {
  for (; followed_ < records.size(); ++followed_) {
    const std::vector<Use>& uses = records[followed_].uses;
    for (const Use& use : uses)
      if (use.view.write && regions[use.region].kind == RegionKind::persistent)
        regions[use.region].varies = true;
    const bool from_varying = std::any_of(uses.begin(), uses.end(), [&](const Use& use) {
      const Region& region = regions[use.region];
      return !use.view.write && (region.varies || is_unknown(region));
    });
    for (const Use& use : uses)
      if (from_varying && use.view.write) regions[use.region].varies = true;
  }
  const int region = region_of(array);
  if (region < 0) return memory_of(array).in_recording;
  return regions[region].varies || is_unknown(regions[region]);
}

int ArrayRecording::references(py::handle array) const {
  return static_cast<int>(
      std::count_if(owners_.begin(), owners_.end(), [&](const py::object& o) { return o.is(array); }));
}

RegionKind ArrayRecording::kind_of(py::handle array) const {
  const int region = region_of(array);
  if (region >= 0) return regions[region].kind;
  const OwnedMemory memory = memory_of(array);
  return memory.in_recording ? RegionKind::foreign : RegionKind::persistent;
}

py::object ArrayRecording::still_referenced(const py::list& arrays) const {
  std::vector<int> expected;
  for (py::handle a : arrays) expected.push_back(region_of(a));
  for (size_t i = 0; i < pins_.size(); ++i)
    if (regions[i].kind == RegionKind::temporary && pins_[i] && !is_released(pins_[i].get()) &&
        std::find(expected.begin(), expected.end(), static_cast<int>(i)) == expected.end())
      return py::str(place_of_writer(static_cast<int>(i)));
  return py::none();
}

std::string ArrayRecording::place_of_writer(int region) const {
  for (const Record& r : records)
    for (const Use& use : r.uses)
      if (use.region == region && use.view.write)
        return std::string(r.type->name) + (r.place >= 0 ? " at " + places[r.place] : "");
  return "NumPy";
}

std::vector<Pin> ArrayRecording::take_pins(const std::vector<int>& kept) {
  std::vector<Pin> taken;
  pins_.resize(regions.size());
  for (size_t i = 0; i < regions.size(); ++i) {
    if (!pins_[i]) continue;
    const bool lives = regions[i].kind == RegionKind::persistent ||
                       std::find(kept.begin(), kept.end(), static_cast<int>(i)) != kept.end();
    if (lives) taken.push_back(std::move(pins_[i]));
  }
  return taken;
}

// A new array in the core's memory with the shape and strides of `array`, which NumPy made. If that is a view
// of a base, so is the new one, of a new base like it.
static py::object laid_out_like(py::handle array) {
  PyArrayObject* a = as_array(array);
  PyArrayObject* root = a;
  if (PyArray_BASE(a) && PyArray_Check(PyArray_BASE(a)))
    root = reinterpret_cast<PyArrayObject*>(PyArray_BASE(a));
  PyObject* before = PyDataMem_SetHandler(memory_handler());
  const auto copy = py::reinterpret_steal<py::object>(PyArray_NewLikeArray(root, NPY_KEEPORDER, nullptr, 0));
  Py_XDECREF(PyDataMem_SetHandler(before));
  Py_XDECREF(before);
  if (!copy) throw py::error_already_set();
  return root == a ? copy : ArrayLayout(array, PyArray_BYTES(root)).at(PyArray_BYTES(as_array(copy)), copy);
}

py::list ArrayRecording::host(const py::object& callable, const py::list& reads,
                              const py::list& numpy_results, const py::object& into) {
  HostCall call{};
  auto site = std::make_shared<HostSite>();
  site->callable = callable;
  const auto add = [&](py::handle array) {
    if (call.count == HostCall::kMost || PyArray_NDIM(as_array(array)) > kMaxDims)
      fail_value("numpy", "got too many arrays or dimensions");
    note(array);
    site->add(call, array);
  };
  for (py::handle a : reads) add(a);
  call.reads = call.count;
  py::list results;
  for (py::handle a : numpy_results) {
    py::object result = into;
    if (into.is_none()) result = laid_out_like(a);
    results.append(result);
    add(result);
  }
  call.function = HostSite::run;
  call.site = site.get();
  call.found.data = cell();
  sites_.push_back(std::move(site));
  record(call_type<HostCall>(), &call);
  for (size_t i = 0; i < numpy_results.size(); ++i)
    if (PyArray_CopyInto(as_array(results[i]), as_array(numpy_results[i])) < 0) throw py::error_already_set();
  return results;
}

// Finds the innermost frame of Python whose file is not in the package, and adds "file:line" to `places`,
// unless it is the last one there.
void ArrayRecording::find_place() {
  const auto owned = [](auto* object) {
    return py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(object));
  };
  py::object next = owned(Py_XNewRef(PyEval_GetFrame()));
  while (next) {
    auto* frame = reinterpret_cast<PyFrameObject*>(next.ptr());
    const py::object code = owned(PyFrame_GetCode(frame));
    const char* file = PyUnicode_AsUTF8(reinterpret_cast<PyCodeObject*>(code.ptr())->co_filename);
    if (!file) {
      PyErr_Clear();
      file = "?";
    }
    if (std::strncmp(file, package_.c_str(), package_.size()) != 0) {
      std::string place = std::string(file) + ":" + std::to_string(PyFrame_GetLineNumber(frame));
      if (places.empty() || places.back() != place) places.push_back(std::move(place));
      return;
    }
    next = owned(PyFrame_GetBack(frame));
  }
}

}  // namespace ranvier::bind
