// Recorder and Program as Python sees them: python/ranvier/program is what uses them.
#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#define NO_IMPORT_ARRAY
#define PY_ARRAY_UNIQUE_SYMBOL ranvier_array_api
#include <numpy/arrayobject.h>
#include <pybind11/stl.h>

#include <climits>
#include <memory>
#include <mutex>
#include <optional>

#include "base/allocator.h"
#include "bindings/array_args.h"
#include "bindings/index_range.h"
#include "bindings/recording.h"
#include "program/check.h"
#include "program/program.h"

namespace ranvier::bind {
namespace {

PyArrayObject* as_array(py::handle h) { return reinterpret_cast<PyArrayObject*>(h.ptr()); }

// What an argument must look like, and where it is copied to when it lies otherwise.
struct ArgumentForm {
  py::object sample;  // the array of the recording, of its own memory

  bool fits(py::handle array) const {
    PyArrayObject *a = as_array(array), *s = as_array(sample);
    return PyArray_Check(array.ptr()) && PyArray_TYPE(a) == PyArray_TYPE(s) &&
           PyArray_NDIM(a) == PyArray_NDIM(s) &&
           std::equal(PyArray_DIMS(a), PyArray_DIMS(a) + PyArray_NDIM(a), PyArray_DIMS(s));
  }
  bool lies_alike(py::handle array) const {
    PyArrayObject *a = as_array(array), *s = as_array(sample);
    if (!PyArray_ISBEHAVED_RO(a)) return false;
    for (int d = 0; d < PyArray_NDIM(a); ++d)
      if (PyArray_DIM(a, d) > 1 && PyArray_STRIDE(a, d) != PyArray_STRIDE(s, d)) return false;
    return true;
  }
};

// A result: a view of an output's memory.
struct ResultForm {
  int output;
  int64_t offset;
  py::object dtype;
  int ndim;
  npy_intp shape[kMaxDims], strides[kMaxDims];

  py::object make(py::handle memory) const {  // memory: uint8, contiguous
    PyArray_Descr* descr = reinterpret_cast<PyArray_Descr*>(dtype.ptr());
    Py_INCREF(descr);
    PyObject* a = PyArray_NewFromDescr(&PyArray_Type, descr, ndim, shape, strides,
                                       static_cast<char*>(PyArray_DATA(as_array(memory))) + offset,
                                       NPY_ARRAY_WRITEABLE, nullptr);
    if (!a) throw py::error_already_set();
    if (PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(a), memory.inc_ref().ptr()) < 0) {
      Py_DECREF(a);
      throw py::error_already_set();
    }
    return py::reinterpret_steal<py::object>(a);
  }
};

class Replay {
 public:
  Replay(Recording& recording, const py::list& arguments, const py::list& results,
         const py::list& kept_arrays) {
    std::vector<int> outputs, kept;
    for (py::handle result : results) outputs.push_back(add_result(recording, result, outputs));
    outputs.erase(std::remove(outputs.begin(), outputs.end(), -1), outputs.end());
    for (py::handle array : kept_arrays) kept.push_back(recording.region_of(array));
    for (py::handle a : arguments) arguments_.push_back({py::reinterpret_borrow<py::object>(a)});
    pins_ = recording.take_pins(kept);
    owners_ = recording.take_owners();
    program_.emplace(std::move(recording), outputs, kept, num_threads());
  }
  ~Replay() {
    for (void* block : pins_) unpin(block);
  }

  py::tuple operator()(const py::tuple& arguments) {
    bool fit = arguments.size() == arguments_.size();
    for (size_t i = 0; fit && i < arguments_.size(); ++i) fit = arguments_[i].fits(arguments[i]);
    if (!fit) fail_value("program", "got other arguments; expected the shapes and dtypes of the recording");
    std::unique_lock<std::mutex> lock = locked();
    std::vector<py::object> memory;
    prepare(arguments, memory);
    std::optional<IndexRange> failed;
    {
      py::gil_scoped_release released;
      if (const Instruction* check = run()) failed = *reinterpret_cast<const IndexRange*>(check->call.get());
      lock.unlock();
    }
    if (failed) fail_range(*failed);
    py::tuple results(results_.size());
    for (size_t i = 0; i < results_.size(); ++i) results[i] = results_[i].make(memory[results_[i].output]);
    return results;
  }

  Snapshot snapshot() const { return Snapshot(*program_); }
  // What differs from an eager run of the step, recorded since the snapshot, whose state is kept.
  std::string check(const Snapshot& before, const Recording& eager, const py::tuple& arguments) {
    std::unique_lock<std::mutex> lock = locked();
    std::vector<py::object> memory;
    prepare(arguments, memory);
    return ranvier::check(*program_, before, eager);
  }
  std::string other_path(const Recording& eager) const { return ranvier::other_path(*program_, eager); }

  // The next runs are measured once more.
  void measure() {
    runs_ = 0;
    program_->forget_times();
  }
  void set_threads(bool solo) {
    runs_ = INT_MAX;
    program_->set_threads(solo);
  }
  Program& program() { return *program_; }

 private:
  // Two threads may hold the same program: the second waits, without the GIL.
  std::unique_lock<std::mutex> locked() {
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) {
      py::gil_scoped_release released;
      lock.lock();
    }
    return lock;
  }

  void prepare(const py::tuple& arguments, std::vector<py::object>& memory) {
    for (size_t i = 0; i < arguments_.size(); ++i) {
      py::handle a = arguments[i];
      if (!arguments_[i].lies_alike(a)) {
        if (PyArray_CopyInto(as_array(arguments_[i].sample), as_array(a)) < 0) throw py::error_already_set();
        a = arguments_[i].sample;
      }
      program_->set_argument(static_cast<int>(i), static_cast<char*>(PyArray_DATA(as_array(a))));
    }
    for (int i = 0; i < outputs_; ++i) {
      memory.push_back(
          Output::contiguous(DType::uint8, {static_cast<int64_t>(program_->output_bytes(i))}).release());
      program_->set_output(i, static_cast<char*>(PyArray_DATA(as_array(memory.back()))));
    }
  }

  // The first runs are measured, some on the team and then some on one thread (in turn they would put its
  // workers to sleep); from then on each instruction runs where it was faster.
  const Instruction* run() {
    constexpr int kWarm = 3, kTeam = kWarm + 8, kMeasured = kTeam + 6;
    if (runs_ >= kMeasured) return program_->run();
    const Instruction* failed = program_->run_measured(runs_ >= kTeam);
    if (++runs_ == kWarm) program_->forget_times();
    if (runs_ == kMeasured) program_->choose_threads();
    return failed;
  }

  int add_result(const Recording& recording, py::handle result, const std::vector<int>& outputs) {
    PyArrayObject* a = as_array(result);
    const int region = recording.region_of(result);
    int output = -1;
    for (size_t i = 0, n = 0; i < outputs.size(); ++i) {
      if (outputs[i] == region) output = static_cast<int>(n);
      n += outputs[i] >= 0;
    }
    ResultForm form{output < 0 ? outputs_++ : output,
                    static_cast<char*>(PyArray_DATA(a)) - recording.regions[region].begin,
                    py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(PyArray_DESCR(a))),
                    PyArray_NDIM(a),
                    {},
                    {}};
    std::copy_n(PyArray_DIMS(a), form.ndim, form.shape);
    std::copy_n(PyArray_STRIDES(a), form.ndim, form.strides);
    results_.push_back(form);
    return output < 0 ? region : -1;
  }

  std::mutex mutex_;
  int runs_ = 0, outputs_ = 0;
  std::vector<ArgumentForm> arguments_;
  std::vector<ResultForm> results_;
  std::vector<void*> pins_;
  std::vector<py::object> owners_;
  std::optional<Program> program_;
};

const char* role_name(Role role) {
  switch (role) {
    case Role::persistent:
      return "persistent";
    case Role::argument:
      return "argument";
    case Role::output:
      return "output";
    case Role::temporary:
      return "temporary";
  }
  return "";
}

py::dict described(const Program& program, const Instruction& instruction) {
  py::list views;
  for (const Use& use : instruction.uses) {
    const AnyView& v = *reinterpret_cast<const AnyView*>(instruction.call.get() + use.view.position);
    py::tuple shape(v.ndim);
    for (int d = 0; d < v.ndim; ++d) shape[d] = v.shape[d];
    views.append(py::make_tuple(use.region, role_name(program.buffers()[use.region].role), use.view.write,
                                std::string(1, use.view.type), shape));
  }
  py::dict d;
  d["name"] = instruction.type->name;
  d["place"] = instruction.place < 0 ? std::string() : program.places()[instruction.place];
  d["record"] = instruction.record;
  d["solo"] = instruction.solo;
  d["team_ns"] = instruction.team_ns;
  d["solo_ns"] = instruction.solo_ns;
  d["views"] = views;
  d["fused"] = py::cast(instruction.fused);
  return d;
}

py::list instructions(Replay& replay) {
  py::list all;
  for (const Instruction& i : replay.program().instructions()) all.append(described(replay.program(), i));
  return all;
}

py::dict memory(Replay& replay) {
  const ProgramMemory m = replay.program().memory();
  py::dict d;
  d["arena"] = m.arena, d["workspace"] = m.workspace, d["persistent"] = m.persistent;
  return d;
}

const char* kind_name(const Recording& recording, py::handle array) {
  switch (recording.kind_of(array)) {
    case RegionKind::persistent:
      return "persistent";
    case RegionKind::argument:
      return "argument";
    case RegionKind::temporary:
      return "temporary";
    case RegionKind::foreign:
      return "foreign";
  }
  return "";
}

std::vector<int> regions_of(const Recording& recording, const py::list& arrays) {
  std::vector<int> regions;
  for (py::handle a : arrays) regions.push_back(recording.region_of(a));
  return regions;
}

// Where a temporary was written that others than these arrays still hold, or None.
py::object still_referenced(const Recording& recording, const py::list& arrays) {
  const int region = recording.still_referenced(regions_of(recording, arrays));
  if (region < 0) return py::none();
  return py::str(recording.place_of_writer(region));
}

}  // namespace

void register_program(py::module_& m) {
  py::class_<Recording>(m, "Recording")
      .def(py::init<std::string>())
      .def("begin", &Recording::begin)
      .def("end", &Recording::end)
      .def("add_argument", &Recording::add_argument)
      .def("keep", &Recording::keep)
      .def("kind_of", kind_name)
      .def("still_referenced", still_referenced)
      .def_readonly("fault", &Recording::fault)
      .def_property_readonly("place",
                             [](const Recording& r) { return r.places.empty() ? "" : r.places.back(); });
  py::class_<Snapshot>(m, "Snapshot");
  py::class_<Replay>(m, "Program")
      .def(py::init<Recording&, py::list, py::list, py::list>())
      .def("__call__", &Replay::operator())
      .def("set_threads", &Replay::set_threads)
      .def("measure", &Replay::measure)
      .def("snapshot", &Replay::snapshot)
      .def("check", &Replay::check)
      .def("other_path", &Replay::other_path)
      .def("instructions", instructions)
      .def("memory", memory);
}

}  // namespace ranvier::bind
