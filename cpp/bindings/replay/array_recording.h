// ArrayRecording: a Recording of kernel calls (program/recording.h) that knows the NumPy arrays which own the
// memory of the calls. ArrayLayout and HostSite serve programs, too.
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

// The form of an array (dtype, shape, strides) without its memory, which at() gets.
struct ArrayLayout {
  int64_t offset;  // bytes from the beginning of the memory to the first element
  py::object dtype;
  int ndim;
  int64_t shape[kMaxDims], strides[kMaxDims];  // strides in bytes

  ArrayLayout(py::handle array, const char* memory);
  // The array in this memory. base: the object that keeps the memory, or null.
  py::object at(char* memory, py::handle base = {}, bool writeable = true) const;
  py::object new_array() const;  // an array with these strides, in memory of its own
  // True if the array has this dtype, shape and strides. Strides of dimensions of size 1 do not count.
  bool fits(py::handle array) const;
};

// The Python function that a HostCall (program/host_call.h) calls during a replay, and the layouts of the
// arrays that it reads and makes.
struct HostSite {
  py::object callable;  // returns a tuple of arrays, or None if an exception was raised
  std::vector<ArrayLayout> arrays;

  // Adds an array to the call.
  void add(HostCall& call, py::handle array);
  static bool run(const HostCall& call);  // HostCall::function
};

// The memory of an array, and what keeps it from being freed: a pin (base/allocator.h) if it is a block of
// the core's allocator, else a reference to the owner. Blocks get a pin because autograd counts the
// references to arrays.
struct OwnedMemory {
  void* begin;
  size_t bytes;
  bool ours;          // a block of the core's allocator
  bool in_recording;  // made since the recording began
  py::handle owner;   // the array at the end of the chain of bases

  static OwnedMemory of(py::handle array);  // in_recording is false
};

class ArrayRecording : public Recording {
 public:
  // package: the folder of the library, whose files are not named as places of calls.
  explicit ArrayRecording(std::string package) : package_(std::move(package)) {}
  ~ArrayRecording();

  void begin();
  void end();
  void note(py::handle array);          // makes its memory known as a region
  void add_argument(py::handle array);  // the next array among the arguments of the step
  void keep(py::handle array);  // an array that Python made during the recording, and that is constant
  RegionKind kind_of(py::handle array) const;
  // From now on, what is computed from the array varies.
  void follow(py::handle array);
  // True if the array's values may differ from call to call: they were computed from followed arrays, from
  // state that the calls change, or from arrays that NumPy has filled.
  bool varies(py::handle array);
  int region_of(py::handle array) const;
  int references(py::handle array) const;  // references that this recording holds
  // The place in the step that wrote a temporary which is still held though it is not the memory of these
  // arrays. None if there is no such temporary.
  py::object still_referenced(const py::list& arrays) const;
  std::string place_of_writer(int region) const;
  // Records a HostCall: callable(*reads) makes arrays. It has just made numpy_results, which are copied to
  // `into`, or if that is None to new arrays of the core with the same strides. Returns these arrays.
  py::list host(const py::object& callable, const py::list& reads, const py::list& numpy_results,
                const py::object& into);
  // Stops noting calls (on) or goes on, while the recording is open. Returns how many calls were noted so
  // far.
  size_t pause(bool on) {
    t_recording = on ? nullptr : this;
    return records.size();
  }

  // What a program takes over. kept: regions of gradients that outlive a run, beside persistent ones.
  std::vector<Pin> take_pins(const std::vector<int>& kept);
  std::vector<py::object> take_owners() { return std::move(owners_); }
  std::vector<std::shared_ptr<HostSite>> take_sites() { return std::move(sites_); }

 private:
  OwnedMemory memory_of(py::handle array) const;
  bool is_in_argument(py::handle array) const;
  void hold(const OwnedMemory& memory, RegionKind kind, int argument = -1);
  void find_place();

  std::string package_;
  uint64_t first_serial_ = UINT64_MAX;  // the serial number (base/allocator.h) of its first block
  uint64_t failed_ = 0;                 // how many allocations had failed before it began
  int arguments_ = 0;
  size_t placed_ = 0;    // the number of the call, from 1 on, for which find_place() was called last
  size_t followed_ = 0;  // how many records varies() has looked at
  bool open_ = false;
  std::vector<Pin> pins_;           // by region; null: the memory is not the allocator's
  std::vector<py::object> owners_;  // of memory that is not the allocator's
  std::vector<std::shared_ptr<HostSite>> sites_;
  py::object handler_;                 // NumPy's memory handler during the recording
  PyObject* numpy_handler_ = nullptr;  // the handler that was set before
};

}  // namespace ranvier::bind
