// ArrayRecording: a Recording that finds the NumPy arrays that own the memory of the calls.
#pragma once
#include <pybind11/pytypes.h>

#include <memory>
#include <vector>

#include "base/allocator.h"
#include "base/tensor_view.h"
#include "program/host_call.h"
#include "program/recording.h"

namespace ranvier::bind {

namespace py = pybind11;

// An array on memory that is given later.
struct ArrayLayout {
  int64_t offset;  // the place of its first element in that memory
  py::object dtype;
  int ndim;
  int64_t shape[kMaxDims], strides[kMaxDims];  // strides in bytes

  ArrayLayout(py::handle array, const char* memory);
  // base: what keeps the memory, or null.
  py::object at(char* memory, py::handle base = {}, bool writeable = true) const;
  py::object new_array() const;       // an array with these strides, in memory of its own
  bool fits(py::handle array) const;  // its strides matter where a dimension has several elements
};

// The Python function that a HostCall of the core calls, and the arrays that it gets.
struct HostSite {
  py::object callable;  // gives a tuple of arrays, or None where an exception was raised
  std::vector<ArrayLayout> arrays;

  // Adds an array to the call.
  void add(HostCall& call, py::handle array);
  static bool run(const HostCall& call);
};

// Memory, and what keeps it from being freed: a pin for a block of the core's allocator, else a reference to
// the array that owns it. A pin is needed since autograd checks whether an array has one owner.
struct OwnedMemory {
  void* begin;
  size_t bytes;
  bool ours;          // a block of the core's allocator
  bool in_recording;  // made since the recording began
  py::handle owner;

  static OwnedMemory of(py::handle array);  // made before any recording
};

class ArrayRecording : public Recording {
 public:
  explicit ArrayRecording(std::string package) : package_(std::move(package)) {}
  ~ArrayRecording();

  void begin();
  void end();
  void note(py::handle array);
  void add_argument(py::handle array);
  void keep(py::handle array);  // made outside the core during the recording, and constant
  RegionKind kind_of(py::handle array) const;
  // From now on what is computed from the array varies.
  void follow(py::handle array);
  // True if the array may hold what follows from followed arrays, from state that the calls change, or from
  // what NumPy has made in between.
  bool varies(py::handle array);
  int region_of(py::handle array) const;
  int references(py::handle array) const;  // references that this recording holds
  // The place in the step that wrote a temporary which others than these arrays still hold, or None.
  py::object still_referenced(const py::list& arrays) const;
  std::string place_of_writer(int region) const;
  // Records that `callable`, given arrays like the first, makes arrays like the second. It has just done
  // that; the results are copied to `into`, or to new arrays of the core with the same strides, and returned.
  py::list host(const py::object& callable, const py::list& reads, const py::list& numpy_results,
                const py::object& into);
  // While it is open: whether calls are noted; how many were so far.
  size_t pause(bool on) {
    t_recording = on ? nullptr : this;
    return records.size();
  }

  // Handed over to a program: pinned blocks, and the owners of other memory.
  std::vector<Pin> take_pins(const std::vector<int>& kept);
  std::vector<py::object> take_owners() { return std::move(owners_); }
  std::vector<std::unique_ptr<HostSite>> take_sites() { return std::move(sites_); }

 private:
  OwnedMemory memory_of(py::handle array) const;
  bool is_in_argument(py::handle array) const;
  void hold(const OwnedMemory& memory, RegionKind kind, int argument = -1);
  void find_place();

  std::string package_;
  uint64_t first_serial_ = UINT64_MAX;
  uint64_t failed_ = 0;  // allocations, before it began
  int arguments_ = 0;
  size_t followed_ = 0;  // calls, by `varies`
  bool open_ = false;
  std::vector<Pin> pins_;  // by region; null: not ours
  std::vector<py::object> owners_;
  std::vector<std::unique_ptr<HostSite>> sites_;
  py::object handler_;                 // what NumPy's arrays of this recording carry
  PyObject* numpy_handler_ = nullptr;  // NumPy's own, while ours is set
};

}  // namespace ranvier::bind
