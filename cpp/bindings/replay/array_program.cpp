// A call of an ArrayProgram (array_program.h) from begin to end: call() compares the arguments and the
// guards, and run_on() prepares memory, runs the program and hands out the results. The first runs are
// measured on one thread and on the team.
#include "bindings/replay/array_program.h"

#include <algorithm>
#include <climits>
#include <set>

#include "base/allocator.h"
#include "base/system.h"
#include "bindings/binder/bfloat16.h"
#include "bindings/binder/classes.h"
#include "bindings/replay/program_form.h"
#include "bindings/tensors/tensors.h"
#include "program/calls_made.h"

namespace ranvier::bind {
namespace {

// Counts of runs: the times of the first kWarm runs are thrown away; up to kTeam runs the team is measured,
// then up to kMeasured one thread.
constexpr int kWarm = 3;
constexpr int kTeam = kWarm + 8;
constexpr int kMeasured = kTeam + 6;

// Clears a container of the program at the end of a block. The container keeps its memory for the next call.
// It must be used within a Turn.
template <class T>
struct Emptied {
  T& value;
  ~Emptied() { value.clear(); }
};

std::mutex g_mutex;                  // guards g_programs; held while the process forks
std::set<ArrayProgram*> g_programs;  // all programs, whose locks a forked child resets

}  // namespace

ArrayArgument::ArrayArgument(py::handle recorded)
    : ArrayLayout(recorded, PyArray_BYTES(as_array(recorded))),
      contiguous(PyArray_IS_C_CONTIGUOUS(as_array(recorded))) {}

py::handle ArrayArgument::aligned(py::handle array) {
  if (PyArray_ISBEHAVED_RO(as_array(array))) return array;
  if (!copy) {
    npy_intp bytes = PyArray_ITEMSIZE(as_array(array));
    for (int d = 0; d < ndim; ++d) bytes += std::max<npy_intp>(shape[d] - 1, 0) * strides[d];
    const py::object memory = checked(PyArray_ZEROS(1, &bytes, NPY_UINT8, 0));
    copy = at(PyArray_BYTES(as_array(memory)), memory);
  }
  if (PyArray_CopyInto(as_array(copy), as_array(array)) < 0) throw py::error_already_set();
  return copy;
}

py::object ResultForm::make(py::handle memory) const { return at(PyArray_BYTES(as_array(memory)), memory); }

ArrayProgram::ArrayProgram(ArrayRecording& recording, const py::list& arguments, const py::list& results,
                           const py::list& kept, const py::list& watched)
    : settings_{0, 0, num_threads(), active_isa(), kernel_settings(), {}} {
  Regions regions;
  for (py::handle tensor : watched) {
    const py::object array = tensor.attr("_array");
    const int region = recording.region_of(array);
    if (region < 0 || recording.kind_of(array) != RegionKind::persistent) continue;
    regions.watched.push_back(region);
    watched_.push_back({tensor.attr("_cell"), -1, region});
  }
  for (py::handle array : kept) regions.kept.push_back(recording.region_of(array));
  for (py::handle result : results) add_result(recording, result, regions);
  for (py::handle a : arguments) arguments_.emplace_back(a);
  // Before the recording's base, a Recording, moves into the Program: take_pins() reads its regions.
  pins_ = recording.take_pins(regions.kept);
  owners_ = recording.take_owners();
  sites_ = recording.take_sites();
  program_ = std::make_unique<Program>(std::move(recording), regions, settings_.team);
  keep_watched();
  find_written();
  add_to_programs();
}

// Fills written_, with which writes_into() compares arguments.
void ArrayProgram::find_written() {
  std::vector<bool> noted(program_->buffers().size(), false);
  for (const Instruction& i : program_->instructions())
    for (const Use& use : i.uses) {
      const Buffer& b = program_->buffers()[use.region];
      if (!use.view.write || b.role != Role::persistent || b.kept >= 0 || noted[use.region]) continue;
      noted[use.region] = true;
      written_.emplace_back(b.address, b.address + b.bytes);
    }
}

void ArrayProgram::add_to_programs() {
  const std::lock_guard<std::mutex> lock(g_mutex);
  g_programs.insert(this);
}

void ArrayProgram::set_up() {
  // A forked child does not have the threads that had a Turn, so it resets the locks. No run is half done at
  // a fork (base/fork.h).
  const auto before = [] { g_mutex.lock(); };
  const auto after_in_parent = [] { g_mutex.unlock(); };
  const auto after_in_child = [] {
    for (ArrayProgram* program : g_programs) {
      if (program->runner_.load() == std::this_thread::get_id()) continue;
      new (&program->mutex_) std::mutex;
      program->runner_.store(std::thread::id());
    }
    g_mutex.unlock();
  };
  at_fork(before, after_in_parent, after_in_child);
}

ArrayProgram::~ArrayProgram() {
  if (shared_) shared_->take_times(*this);
  const std::lock_guard<std::mutex> lock(g_mutex);
  g_programs.erase(this);
}

// Adds a ResultForm, and the region of the result's memory to the outputs, unless it is a kept gradient.
void ArrayProgram::add_result(const ArrayRecording& recording, py::handle result, Regions& regions) {
  const int region = recording.region_of(result);
  const auto place_in = [region](const std::vector<int>& list) {
    const auto found = std::find(list.begin(), list.end(), region);
    return found == list.end() ? -1 : static_cast<int>(found - list.begin());
  };
  const int kept = place_in(regions.kept);
  int output = -1;  // of a kept gradient
  if (kept < 0) output = place_in(regions.outputs);
  if (kept < 0 && output < 0) {
    output = settings_.outputs;
    ++settings_.outputs;
    regions.outputs.push_back(region);
  }
  const Region& memory = recording.regions[region];
  ResultForm form{{result, memory.begin}, output, kept, /*whole=*/false};
  PyArrayObject* a = as_array(result);
  bool shares = false;
  for (ResultForm& other : settings_.results)
    if (output >= 0 && other.output == output) {
      other.whole = false;
      shares = true;
    }
  if (output >= 0 && !shares && PyArray_SIZE(a) > 0) {
    // The result fills its memory: then a run can make its array, and no view of it.
    const auto [first, last] = reach_of(a);
    const bool fills = first == memory.begin && PyArray_BYTES(a) == first && last == first + memory.bytes &&
                       PyArray_NBYTES(a) == static_cast<npy_intp>(memory.bytes);
    form.whole = fills && PyArray_ISNOTSWAPPED(a) && is_number_type(PyArray_TYPE(a));
  }
  settings_.results.push_back(std::move(form));
}

bool ArrayProgram::writes_into(py::handle array) const {
  PyArrayObject* a = as_array(array);
  if (PyArray_SIZE(a) == 0) return false;
  const auto [first, last] = reach_of(a);
  if (meets_movable_gradient(first, last)) return true;
  return std::any_of(written_.begin(), written_.end(), [first = first, last = last](const auto& range) {
    return first < range.second && range.first < last;
  });
}

bool ArrayProgram::overlaps(const py::list& arrays) const {
  return std::any_of(arrays.begin(), arrays.end(), [&](py::handle a) { return writes_into(a); });
}

void ArrayProgram::set_call(const Signature& signature, const py::list& gradients, const py::list& changed,
                            const py::object& renew, const py::list& reached) {
  const Turn turn(*this);
  signature_ = signature;
  reached_.clear();
  for (py::handle tensor : reached) reached_.push_back(tensor.ptr());
  std::sort(reached_.begin(), reached_.end());
  std::vector<Gradient> new_gradients;  // swapped at the end: to free the old list may run Python code
  for (py::handle item : gradients) {
    const auto t = py::reinterpret_borrow<py::tuple>(item);
    const py::object tensor = t[1];
    const void* data = nullptr;
    if (!tensor.is_none()) {
      const py::object array = tensor.attr("_array");
      data = PyArray_DATA(as_array(array));
    }
    new_gradients.push_back({t[0], tensor, static_cast<int>(whole_number(t[2])), data});
  }
  std::vector<std::pair<py::object, py::object>> new_changed;
  for (py::handle tensor : changed) new_changed.emplace_back(tensor.attr("_cell"), tensor.attr("_array"));
  gradients_.swap(new_gradients);
  changed_.swap(new_changed);
  renew_ = renew;
}

void ArrayProgram::set_guards(const py::list& guards) {
  const Turn turn(*this);
  guards_.set(guards);
}

// For the garbage collector: all references by which the program may be part of a cycle. It leaves out dtypes
// and the program's own arrays, which refer to no other object.
int ArrayProgram::visit(visitproc visit, void* arg) const {
  for (const Gradient& g : gradients_) {
    Py_VISIT(g.leaf.ptr());
    Py_VISIT(g.tensor.ptr());
  }
  for (const auto& [cell, array] : changed_) {
    Py_VISIT(cell.ptr());
    Py_VISIT(array.ptr());
  }
  for (const MovableGradient& f : movable_) Py_VISIT(f.leaf.ptr());
  for (const WatchedTensor& w : watched_) Py_VISIT(w.cell.ptr());
  for (const py::object& o : owners_) Py_VISIT(o.ptr());
  for (const auto& site : sites_)
    if (site.use_count() == 1) Py_VISIT(site->callable.ptr());  // else several programs share the reference
  Py_VISIT(renew_.ptr());
  return guards_.visit(visit, arg);
}

// For the garbage collector, which breaks a cycle of references. No call fits from then on. What stays: the
// owners of memory that program_ has addresses in, cells of Tensors, and a function of the library (renew_).
void ArrayProgram::clear() {
  signature_.reset();
  std::vector<Gradient>().swap(gradients_);
  std::vector<MovableGradient>().swap(movable_);
  std::vector<std::pair<py::object, py::object>>().swap(changed_);
  guards_.clear();
  std::vector<std::shared_ptr<HostSite>>().swap(sites_);
}

bool ArrayProgram::holds() {
  return settings_.kernels == kernel_settings() && guards_.first_changed() < 0 && gradients_are_apart();
}

bool ArrayProgram::is_current() {
  const Turn turn(*this);
  return holds();
}

int ArrayProgram::first_changed() {
  const Turn turn(*this);
  return guards_.first_changed();
}

bool ArrayProgram::read(Signature& call, const py::tuple& arguments, PyObject* keywords) const {
  if (!signature_) return false;
  call.read(arguments, keywords, signature_->as_tensors());
  return call.fault.empty();
}

bool ArrayProgram::fits(Signature& call, const py::tuple& arguments, PyObject* keywords) const {
  if (!read(call, arguments, keywords) || !call.is_same_call(*signature_)) return false;
  if (!signature_->is_joined()) return true;
  call.complete();
  return call == *signature_;
}

bool ArrayProgram::meets(const Signature& call) const {
  const auto is_reached = [&](PyObject* x) {
    return std::binary_search(reached_.begin(), reached_.end(), x);
  };
  if (std::any_of(call.sources.begin(), call.sources.end(), is_reached)) return true;
  const auto is_written = [&](py::handle array) { return writes_into(array); };
  return std::any_of(call.arrays.begin(), call.arrays.end(), is_written);
}

bool ArrayProgram::meets(const py::tuple& arguments, const py::dict& keywords) {
  Signature call;
  call.read(arguments, keywords.ptr(), false);
  return meets(call);
}

py::object ArrayProgram::call(const py::tuple& arguments, PyObject* keywords) {
  const Turn turn(*this);
  Signature& call = spare_call_;
  const Emptied<Signature> emptied{call};
  if (checks_left == 0 || !fits(call, arguments, keywords)) return py::none();
  if (!holds() || meets(call)) return py::none();
  const py::object results = run_on(call.arrays);
  checks_left -= !results.is_none();
  return results;
}

py::object ArrayProgram::run_on(const std::vector<py::object>& arrays) {
  std::vector<py::object>& memory = spare_memory_;
  const Emptied<std::vector<py::object>> emptied{memory};
  std::vector<py::object> gradients;
  if (!begin_runs(gradients)) return py::none();
  prepare(arrays, memory);
  py::tuple results(settings_.results.size());  // made before the run: an allocation may fail
  for (size_t i = 0; i < settings_.results.size(); ++i)
    results[i] = make_result(settings_.results[i], memory);
  // The GIL can be released: the caller holds the arrays, and a run uses no Python except in a HostCall,
  // which takes the GIL. A short run keeps it, because other threads wait for less time than the release
  // would take.
  const bool keeps_gil = program_->is_brief() && sites_.empty();
  PyThreadState* state = keeps_gil ? nullptr : PyEval_SaveThread();
  const bool all_passed = run();
  if (state) PyEval_RestoreThread(state);
  if (PyErr_Occurred()) throw py::error_already_set();  // a signal raised it in a HostCall
  if (!all_passed) return py::bool_(false);
  end_runs();
  return results;
}

ArrayProgram::Turn::Turn(ArrayProgram& program) : program_(program) {
  if (program.runner_.load() == std::this_thread::get_id()) {
    PyErr_SetString(PyExc_RuntimeError,
                    "[program] got a call while this thread runs the same program; expected that a signal "
                    "handler calls no compiled step");
    throw py::error_already_set();
  }
  if (!program.mutex_.try_lock()) {
    PyThreadState* state = PyEval_SaveThread();
    program.mutex_.lock();
    PyEval_RestoreThread(state);
  }
  program.runner_.store(std::this_thread::get_id());
}

ArrayProgram::Turn::~Turn() {
  program_.runner_.store(std::thread::id());
  program_.mutex_.unlock();
}

void ArrayProgram::prepare(const std::vector<py::object>& arrays, std::vector<py::object>& memory) {
  for (size_t i = 0; i < arguments_.size(); ++i) {
    const py::handle array = arguments_[i].aligned(arrays[i]);
    program_->set_argument(static_cast<int>(i), PyArray_BYTES(as_array(array)));
  }
  memory.reserve(settings_.outputs);
  for (int i = 0; i < settings_.outputs; ++i) {
    memory.push_back(new_output(i));
    program_->set_output(i, static_cast<char*>(PyArray_DATA(as_array(memory.back()))));
  }
}

// One run; false if a check of values failed, which Program's functions return. The first runs are measured,
// first on the team and then on one thread. (Alternating would let the team's threads fall asleep in
// between.) From then on each instruction runs where it was faster. While other threads that run for long
// leave no team, only one thread is measured; when there is a team again, everything is measured again.
bool ArrayProgram::run() {
  const bool without_team = settings_.team > 1 && busy_others() >= settings_.team - 1;
  if (without_team_ && !without_team) forget_times();
  if (settings_.runs >= kMeasured) return program_->run() == nullptr;
  without_team_ |= without_team;
  const bool solo = without_team || settings_.runs >= kTeam;
  if (program_->run_measured(solo) != nullptr) return false;  // later instructions were not measured
  ++settings_.runs;
  if (settings_.runs == kWarm) program_->forget_times();
  if (settings_.runs == kMeasured) {
    program_->choose_threads();
    if (shared_) shared_->take_times(*this);
  }
  return true;
}

ArrayCheck::ArrayCheck(const py::object& program, const py::object& eager, const py::list& arrays)
    : held_{program, eager}, program_(FromPython<ArrayProgram>::convert(program.ptr())) {
  const ArrayProgram::Turn turn(program_);
  for (py::handle a : arrays) arrays_.push_back(py::reinterpret_borrow<py::object>(a));
  if (!eager.is_none()) eager_ = &FromPython<ArrayRecording>::convert(eager.ptr());
  const std::vector<py::object> gradients = program_.find_gradients();  // held while the program runs
  if (!eager_) pins_ = program_.pinned_gradients();
  std::vector<py::object> outputs;
  const bool calls_python = !program_.sites_.empty();
  if (!calls_python) program_.watch();
  check_.emplace(*program_.program_, around(outputs), calls_python);
  if (!calls_python) program_.drop_large_gradients();
  begin_calls();
}

Check::Around ArrayCheck::around(std::vector<py::object>& outputs) {
  const auto prepare = [&] { program_.prepare(arrays_, outputs); };
  const auto made = [&] {
    if (!eager_) made_ = program_.fingerprints(outputs);
  };
  return {prepare, made};
}

std::string ArrayCheck::finish() {
  const uint64_t calls = calls_made();
  const ArrayProgram::Turn turn(program_);
  program_.recorded_calls_ = calls;
  return difference();
}

// What the check finds after the eager run, in which a program runs that calls Python.
std::string ArrayCheck::difference() {
  if (!program_.sites_.empty()) program_.watch();
  std::vector<py::object> outputs;
  std::string found = check_->finish(eager_, around(outputs));
  if (PyErr_Occurred()) throw py::error_already_set();  // a signal raised it in a HostCall
  return found;
}

py::object ArrayCheck::compare(const py::list& results) {
  const uint64_t calls = calls_made();
  const ArrayProgram::Turn turn(program_);
  if (calls != program_.recorded_calls_ && calls != program_.compared_calls_) {
    program_.compared_calls_ = calls;  // A recorded check follows. If it passes, this is what the step calls.
    return py::none();
  }
  const bool has_memory = pins_.size() == program_.movable_.size();
  const bool fits = results.size() == program_.results();
  if (!has_memory || !fits || !program_.has_comparable_gradients()) return py::none();
  std::string found = difference();
  if (found.empty()) found = program_.difference(results, made_);
  return py::str(found);
}

void ArrayProgram::forget_times() {
  settings_.runs = 0;
  without_team_ = false;
  program_->forget_times();
}

void ArrayProgram::set_threads(bool solo) {
  const Turn turn(*this);
  settings_.runs = INT_MAX;  // no further run is measured
  without_team_ = false;
  program_->set_threads(solo);
}

}  // namespace ranvier::bind
