#include "bindings/array_program.h"

#include <algorithm>
#include <climits>
#include <set>

#include "base/allocator.h"
#include "base/system.h"
#include "bindings/array_form.h"
#include "bindings/conv_args.h"
#include "bindings/numpy_api.h"
#include "bindings/tensors.h"

namespace ranvier::bind {
namespace {

// Numbers of runs: up to kWarm the times are thrown away, up to kTeam the team is measured, up to kMeasured
// one thread.
constexpr int kWarm = 3, kTeam = kWarm + 8, kMeasured = kTeam + 6;

bool same_strides(PyArrayObject* a, PyArrayObject* b) {
  for (int d = 0; d < PyArray_NDIM(a); ++d)
    if (PyArray_DIM(a, d) > 1 && PyArray_STRIDE(a, d) != PyArray_STRIDE(b, d)) return false;
  return true;
}

// A list of the program's whose memory the next call has again. It lives within a Turn.
class Lent {
 public:
  explicit Lent(std::vector<py::object>& owner) : owner_(owner) { objects.swap(owner); }
  ~Lent() {
    objects.clear();
    objects.swap(owner_);
  }
  std::vector<py::object> objects;

 private:
  std::vector<py::object>& owner_;
};

std::mutex g_mutex;                  // guards the set; held while a process forks
std::set<ArrayProgram*> g_programs;  // all that live: a forked child resets their locks

}  // namespace

bool ArgumentForm::fits(py::handle array) const {
  PyArrayObject *a = as_array(array), *s = as_array(sample);
  return PyArray_Check(array.ptr()) && PyArray_TYPE(a) == PyArray_TYPE(s) &&
         PyArray_NDIM(a) == PyArray_NDIM(s) &&
         std::equal(PyArray_DIMS(a), PyArray_DIMS(a) + PyArray_NDIM(a), PyArray_DIMS(s));
}

bool ArgumentForm::has_layout_of(py::handle array) const {
  PyArrayObject *a = as_array(array), *s = as_array(sample);
  return PyArray_ISBEHAVED_RO(a) && same_strides(a, s);
}

bool ArgumentForm::has_strides_of(py::handle array) const {
  return same_strides(as_array(array), as_array(sample));
}

py::object ResultForm::make(py::handle memory) const { return at(PyArray_BYTES(as_array(memory)), memory); }

ArrayProgram::ArrayProgram(ArrayRecording& recording, const py::list& arguments, const py::list& results,
                           const py::list& kept_arrays, const py::list& watched)
    : settings_{0,
                0,
                num_threads(),
                conv_algorithms().bits,
                active_isa(),
                precision(),
                current_precision(),
                bfloat16(),
                {}} {
  Regions regions;
  for (py::handle tensor : watched) {
    const py::object array = tensor.attr("_array");
    const int region = recording.region_of(array);
    if (region < 0 || recording.kind_of(array) != RegionKind::persistent) continue;
    regions.watched.push_back(region);
    watched_.push_back({py::list(tensor.attr("_cell")), -1});
  }
  for (py::handle array : kept_arrays) regions.kept.push_back(recording.region_of(array));
  for (py::handle result : results) add_result(recording, result, regions);
  for (py::handle a : arguments) arguments_.push_back({py::reinterpret_borrow<py::object>(a)});
  pins_ = recording.take_pins(regions.kept);
  owners_ = recording.take_owners();
  sites_ = recording.take_sites();
  program_ = std::make_unique<Program>(std::move(recording), regions, settings_.team);
  keep_watched(regions.watched);
  find_written();
  add_to_programs();
}

// The memory that a run changes and that outlives it: writes_into() compares arguments with it.
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
  // A forked child does not have the threads whose turn it was. No run is half done (base/fork.h).
  at_fork([] { g_mutex.lock(); }, [] { g_mutex.unlock(); },
          [] {
            for (ArrayProgram* program : g_programs) {
              if (program->runner_.load() == std::this_thread::get_id()) continue;
              new (&program->mutex_) std::mutex;
              program->runner_.store(std::thread::id());
            }
            g_mutex.unlock();
          });
}

ArrayProgram::~ArrayProgram() {
  if (shared_) shared_->take_times(*this);
  const std::lock_guard<std::mutex> lock(g_mutex);
  g_programs.erase(this);
}

void ArrayProgram::add_result(const ArrayRecording& recording, py::handle result, Regions& regions) {
  const int region = recording.region_of(result);
  const auto place_in = [region](const std::vector<int>& list) {
    const auto found = std::find(list.begin(), list.end(), region);
    return found == list.end() ? -1 : static_cast<int>(found - list.begin());
  };
  const int kept = place_in(regions.kept);
  int output = kept < 0 ? place_in(regions.outputs) : -1;
  if (kept < 0 && output < 0) {
    output = settings_.outputs++;
    regions.outputs.push_back(region);
  }
  const Region& memory = recording.regions[region];
  ResultForm form{{result, memory.begin}, output, kept, false};
  PyArrayObject* a = as_array(result);
  bool shares = false;
  for (ResultForm& other : settings_.results)
    if (output >= 0 && other.output == output) other.whole = false, shares = true;
  if (output >= 0 && !shares && PyArray_SIZE(a) > 0) {
    const auto [first, last] = reach_of(a);
    form.whole = first == memory.begin && PyArray_BYTES(a) == first && last == first + memory.bytes &&
                 PyArray_NBYTES(a) == static_cast<npy_intp>(memory.bytes) && PyArray_ISNOTSWAPPED(a) &&
                 PyTypeNum_ISNUMBER(PyArray_TYPE(a));
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

bool ArrayProgram::overlaps(const py::tuple& arrays) const {
  return std::any_of(arrays.begin(), arrays.end(), [&](py::handle a) { return writes_into(a); });
}

void ArrayProgram::set_call(const py::list& form, const py::list& gradients, const py::list& changed,
                            const py::object& renew, const py::list& reached) {
  const Turn turn(*this);
  std::vector<ArgumentRule> rules;  // the old lists are freed last: that may run Python
  for (py::handle f : form) {
    const auto t = py::reinterpret_borrow<py::tuple>(f);
    rules.push_back({static_cast<ArgumentRule::Kind>(whole_number(t[0])), t[1]});
  }
  reached_.clear();
  for (py::handle tensor : reached) reached_.push_back(tensor.ptr());
  std::sort(reached_.begin(), reached_.end());
  std::vector<Gradient> new_gradients;
  for (py::handle item : gradients) {
    const auto t = py::reinterpret_borrow<py::tuple>(item);
    const py::object tensor = t[1];
    const void* data = tensor.is_none() ? nullptr : PyArray_DATA(as_array(py::object(tensor.attr("_array"))));
    new_gradients.push_back({t[0], tensor, static_cast<int>(whole_number(t[2])), data});
  }
  std::vector<std::pair<py::list, py::object>> new_changed;
  for (py::handle tensor : changed)
    new_changed.emplace_back(py::list(tensor.attr("_cell")), tensor.attr("_array"));
  rules_.swap(rules), gradients_.swap(new_gradients), changed_.swap(new_changed);
  renew_ = renew;
}

int ArrayProgram::visit(visitproc visit, void* arg) const {
  for (const ArgumentRule& g : rules_) Py_VISIT(g.expected.ptr());
  for (const Gradient& g : gradients_) {
    Py_VISIT(g.leaf.ptr());
    Py_VISIT(g.tensor.ptr());
  }
  for (const auto& [cell, array] : changed_) {
    Py_VISIT(cell.ptr());
    Py_VISIT(array.ptr());
  }
  for (const MovableGradient& f : movable_) Py_VISIT(f.leaf.ptr());
  for (const Watched& w : watched_) Py_VISIT(w.cell.ptr());
  for (const py::object& o : owners_) Py_VISIT(o.ptr());
  for (const ArgumentForm& a : arguments_) Py_VISIT(a.sample.ptr());
  for (const auto& site : sites_) Py_VISIT(site->callable.ptr());
  Py_VISIT(renew_.ptr());
  return guards_.visit(visit, arg);
}

// Breaks a cycle of references; no call fits from then on.
void ArrayProgram::clear() {
  cleared_ = true;
  std::vector<ArgumentRule>().swap(rules_);
  std::vector<Gradient>().swap(gradients_);
  std::vector<MovableGradient>().swap(movable_);
  std::vector<std::pair<py::list, py::object>>().swap(changed_);
  guards_.clear();
  for (const auto& site : sites_) py::object(std::move(site->callable));
}

bool ArrayProgram::has_same_settings() const {
  return num_threads() == settings_.team && conv_algorithms().bits == settings_.conv_algorithms &&
         active_isa() == settings_.isa && precision() == settings_.precision &&
         current_precision() == settings_.current && bfloat16() == settings_.bfloat16;
}

py::object ArrayProgram::array_of(PyObject* x, const ArgumentRule& rule) {
  if (PyArray_CheckExact(x))
    return rule.kind == ArgumentRule::tensor ? py::object() : py::reinterpret_borrow<py::object>(x);
  if (rule.kind == ArgumentRule::array || !rule.is_class_of(x)) return {};
  const TensorSlots& slots = tensor_slots();
  if (slot_of(x, slots.requires_grad).ptr() != Py_False || has_attributes(x)) return {};
  return py::reinterpret_borrow<py::object>(slot_of(x, slots.array).ptr());
}

// The arrays among the arguments of a call; false where it is not of the recorded form.
bool ArrayProgram::arrays_of(const py::tuple& arguments, std::vector<py::object>& arrays) const {
  if (cleared_ || arguments.size() != rules_.size()) return false;
  for (size_t i = 0; i < rules_.size(); ++i) {
    PyObject* x = PyTuple_GET_ITEM(arguments.ptr(), i);
    const ArgumentRule& rule = rules_[i];
    if (rule.kind == ArgumentRule::value) {
      if (!same_value(x, rule.expected.ptr())) return false;
      continue;
    }
    if (rule.kind == ArgumentRule::tensor && std::binary_search(reached_.begin(), reached_.end(), x))
      return false;
    arrays.push_back(array_of(x, rule));
    if (!arrays.back() || arrays.size() > arguments_.size()) return false;
    const ArgumentForm& form = arguments_[arrays.size() - 1];
    if (!form.fits(arrays.back()) || !form.has_strides_of(arrays.back())) return false;
    for (size_t j = 0; j < i; ++j)  // one array given twice is another call
      if (PyTuple_GET_ITEM(arguments.ptr(), j) == x) return false;
  }
  return arrays.size() == arguments_.size();
}

py::object ArrayProgram::call(const py::tuple& arguments) {
  const Turn turn(*this);
  Lent lent(spare_arrays_);
  std::vector<py::object>& arrays = lent.objects;
  if (checks_left == 0 || !arrays_of(arguments, arrays) || !holds()) return py::none();
  for (const py::object& a : arrays)
    if (writes_into(a)) return py::none();
  const py::object results = run_on(arrays.data());
  checks_left -= !results.is_none();
  return results;
}

py::object ArrayProgram::operator()(const py::tuple& arrays) {
  bool fit = arrays.size() == arguments_.size();
  std::vector<py::object> held;
  for (size_t i = 0; fit && i < arguments_.size(); ++i) {
    held.push_back(arrays[i]);
    fit = arguments_[i].fits(arrays[i]);
  }
  if (!fit) fail_value("program", "got other arguments; expected the shapes and dtypes of the recording");
  if (active_isa() != settings_.isa)  // workspaces are made for the blocks of a level
    fail_value("program", std::string("got a call at level ") + isa_name(active_isa()) + "; expected " +
                              isa_name(settings_.isa) + ", that of the recording");
  const Turn turn(*this);
  return run_on(held.data());
}

py::object ArrayProgram::run_on(const py::handle* arrays) {
  Lent lent(spare_memory_);
  std::vector<py::object>& memory = lent.objects;
  release_held_gradients();
  const std::vector<py::object> gradients = find_gradients();
  if (gradients.size() != movable_.size()) return py::none();
  prepare(arrays, memory);
  watch();
  py::tuple results(settings_.results.size());  // what needs memory comes before anything is changed
  for (size_t i = 0; i < settings_.results.size(); ++i)
    results[i] = make_result(settings_.results[i], memory);
  // The arrays are held by the caller, and a run touches no Python except in a HostCall. To give up the GIL
  // for a short one would take longer than other threads wait for it.
  const bool keeps_gil = program_->is_brief() && sites_.empty();
  PyThreadState* state = keeps_gil ? nullptr : PyEval_SaveThread();
  const bool holds = run();
  if (state) PyEval_RestoreThread(state);
  if (PyErr_Occurred()) throw py::error_already_set();  // of a signal, in a HostCall
  if (!holds) return py::bool_(false);
  set_gradients();
  count_changes();
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

void ArrayProgram::prepare(const py::handle* arrays, std::vector<py::object>& memory) {
  for (size_t i = 0; i < arguments_.size(); ++i) {
    py::handle a = arrays[i];
    if (!arguments_[i].has_layout_of(a)) {
      if (PyArray_CopyInto(as_array(arguments_[i].sample), as_array(a)) < 0) throw py::error_already_set();
      a = arguments_[i].sample;
    }
    program_->set_argument(static_cast<int>(i), static_cast<char*>(PyArray_DATA(as_array(a))));
  }
  memory.reserve(settings_.outputs);
  for (int i = 0; i < settings_.outputs; ++i) {
    memory.push_back(new_output(i));
    program_->set_output(i, static_cast<char*>(PyArray_DATA(as_array(memory.back()))));
  }
}

// The first runs are measured, some on the team and then some on one thread: if these took turns, the team's
// workers would fall asleep in between. From then on each instruction runs where it was faster. While other
// threads that run for long leave no team, only one thread is measured; when there is a team again, all is
// measured anew. False where a check of values failed.
bool ArrayProgram::run() {
  const bool without_team = settings_.team > 1 && busy_others() >= settings_.team - 1;
  if (without_team_ && !without_team) forget_times();
  if (settings_.runs >= kMeasured) return !program_->run();
  without_team_ |= without_team;
  const bool solo = without_team || settings_.runs >= kTeam;
  if (program_->run_measured(solo)) return false;  // the rest was not measured
  if (++settings_.runs == kWarm) program_->forget_times();
  if (settings_.runs == kMeasured) {
    program_->choose_threads();
    if (shared_) shared_->take_times(*this);
  }
  return true;
}

ArrayCheck::ArrayCheck(ArrayProgram& program, ArrayRecording& eager, const py::tuple& arrays)
    : program_(program) {
  const ArrayProgram::Turn turn(program);
  for (py::handle a : arrays) held_.push_back(py::reinterpret_borrow<py::object>(a));
  program.find_gradients();
  check_.emplace(*program.program_, eager);
}

std::string ArrayCheck::finish() {
  const ArrayProgram::Turn turn(program_);
  std::vector<py::handle> arrays(held_.begin(), held_.end());
  std::vector<py::object> memory;
  program_.release_held_gradients();
  std::string found = check_->finish([&] { program_.prepare(arrays.data(), memory); });
  if (PyErr_Occurred()) throw py::error_already_set();  // of a signal, in a HostCall
  return found;
}

void ArrayProgram::forget_times() {
  settings_.runs = 0, without_team_ = false;
  program_->forget_times();
}

void ArrayProgram::set_threads(bool solo) {
  const Turn turn(*this);
  settings_.runs = INT_MAX, without_team_ = false;
  program_->set_threads(solo);
}

}  // namespace ranvier::bind
