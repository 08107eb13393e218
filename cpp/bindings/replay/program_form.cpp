// Makes a ProgramForm (program_form.h) from a program, and programs for other arrays from a form.
#include "bindings/replay/program_form.h"

#include <algorithm>

#include "base/fork.h"
#include "bindings/binder/numpy_api.h"

namespace ranvier::bind {
namespace {

// The bytes that the array's elements lie in, from the first to the last.
Block block_of(py::handle array) {
  const auto [first, last] = reach_of(as_array(array));
  const bool empty = PyArray_SIZE(as_array(array)) == 0;
  const size_t bytes = empty ? 0 : static_cast<size_t>(last - first);
  return {first, bytes};
}

// True if two of the blocks have bytes in common.
bool share_memory(std::vector<Block> blocks) {
  const auto begins_before = [](const Block& a, const Block& b) { return a.begin < b.begin; };
  std::sort(blocks.begin(), blocks.end(), begins_before);
  for (size_t i = 0; i + 1 < blocks.size(); ++i) {
    const char* const end = blocks[i].begin + blocks[i].bytes;
    if (end > blocks[i + 1].begin) return true;
  }
  return false;
}

std::vector<char*> addresses(const std::vector<Block>& blocks) {
  std::vector<char*> found;
  for (const Block& b : blocks) found.push_back(const_cast<char*>(b.begin));
  return found;
}

// True if a program can read the array in place: exactly NumPy's class, aligned, in native byte order.
bool is_usable(py::handle array) {
  return PyArray_CheckExact(array.ptr()) && PyArray_ISBEHAVED_RO(as_array(array));
}

}  // namespace

// --- How a form is made from a program. Each `return nullptr` says that the program cannot have one.

std::shared_ptr<ProgramForm> ProgramForm::of(ArrayProgram& program, const py::list& arrays) {
  const ArrayProgram::Turn turn(program);
  for (const ResultForm& r : program.settings_.results)
    if (r.output < 0) return nullptr;  // this result is also a gradient: it has no output memory of its own
  // A movable gradient is one of an earlier step.
  if (!program.movable_.empty()) return nullptr;
  auto form = std::make_shared<ProgramForm>();
  if (!form->add_sites(program)) return nullptr;
  for (py::handle a : arrays)
    if (!form->add_lasting(program, a)) return nullptr;
  if (!form->add_gradients(program)) return nullptr;
  form->add_constants(program);
  if (share_memory(form->blocks_)) return nullptr;
  form->parts_ = program.program_->parts();
  form->settings_ = program.settings_;
  form->recorded_calls_ = program.recorded_calls_;
  for (const WatchedTensor& w : program.watched_) form->watched_.push_back(w.buffer);
  // moved() gives null where the program uses memory outside of blocks_. Whether it does is all that is asked
  // here: the new addresses are the old ones, and the program that is made is dropped.
  if (!Program::moved(form->parts_, form->blocks_, addresses(form->blocks_))) return nullptr;
  program.shared_ = form;
  return form;
}

// Adds an array that outlives a run. False where the program uses it, but cannot read it where it lies.
bool ProgramForm::add_lasting(const ArrayProgram& program, py::handle array) {
  const Block block = block_of(array);
  const std::vector<Buffer>& buffers = program.program_->buffers();
  const bool used = std::any_of(buffers.begin(), buffers.end(), [&](const Buffer& b) {
    return b.role == Role::persistent && b.first >= 0 && b.address < block.begin + block.bytes &&
           block.begin < b.address + b.bytes;
  });
  layouts_.emplace_back();
  if (!used) return true;
  if (!is_usable(array)) return false;
  layouts_.back() = std::make_unique<ArrayLayout>(array, PyArray_BYTES(as_array(array)));
  blocks_.push_back(block);
  return true;
}

// Adds the arrays of the gradients that a run leaves. `kept` is the number of the memory that it leaves one
// in: `bound` gets this memory as a list, so gradient i must have number i. False for a gradient whose memory
// cannot be exchanged, as one that the run adds to.
bool ProgramForm::add_gradients(const ArrayProgram& program) {
  int count = 0;
  for (const Gradient& g : program.gradients_) {
    if (g.tensor.is_none()) continue;  // the run removes it
    if (g.kept != count) return false;
    ++count;
    const py::object array = g.tensor.attr("_array");
    if (!add_lasting(program, array)) return false;
  }
  return true;
}

// Adds what the program needs to call Python. False if it calls a function that may depend on more than the
// arrays which it gets: that belongs to one step only.
bool ProgramForm::add_sites(const ArrayProgram& program) {
  for (const Instruction& i : program.program_->instructions()) {
    const HostCall* const call = i.as<HostCall>();
    if (!call) continue;
    const auto is_called = [=](const std::shared_ptr<HostSite>& site) { return site.get() == call->site; };
    const auto site = std::find_if(program.sites_.begin(), program.sites_.end(), is_called);
    if (site == program.sites_.end()) return false;
    const py::object is_function = (*site)->callable.attr("is_function");
    if (is_function.ptr() != Py_True) return false;
    sites_.push_back(*site);
  }
  return true;
}

// Adds the arrays that the program holds and that nobody can change, except those that are among the arrays
// added before: read-only ones, and those that NumPy made in the step, to which nothing else refers.
void ProgramForm::add_constants(const ArrayProgram& program) {
  for (const py::object& owner : program.owners_) {
    if (!PyArray_Check(owner.ptr())) continue;
    const auto is_same = [&](const py::object& other) { return other.ptr() == owner.ptr(); };
    const auto references = std::count_if(program.owners_.begin(), program.owners_.end(), is_same);
    const bool private_constant = Py_REFCNT(owner.ptr()) == references && !program.writes_into(owner);
    if (PyArray_ISWRITEABLE(as_array(owner)) && !private_constant) continue;
    blocks_.push_back(block_of(owner));
    const bool added_before = share_memory(blocks_);
    if (added_before) {
      blocks_.pop_back();
    } else {
      constants_.push_back(owner);
    }
  }
}

// --- How a program for other arrays is made from a form.

std::unique_ptr<ArrayProgram> ProgramForm::bound(const std::shared_ptr<ProgramForm>& form,
                                                 const py::list& arrays, const py::list& arguments,
                                                 const py::list& gradients, const py::list& watched) {
  std::vector<py::handle> given(arrays.begin(), arrays.end());
  given.insert(given.end(), gradients.begin(), gradients.end());
  if (given.size() != form->layouts_.size()) return nullptr;
  std::vector<py::handle> lasting;
  std::vector<Block> blocks;
  for (size_t i = 0; i < given.size(); ++i) {
    if (!form->layouts_[i]) continue;
    if (!is_usable(given[i]) || !form->layouts_[i]->fits(given[i])) return nullptr;
    lasting.push_back(given[i]);
    blocks.push_back(block_of(given[i]));
  }
  for (const py::object& constant : form->constants_) blocks.push_back(block_of(constant));
  if (share_memory(blocks)) return nullptr;
  ProgramSettings settings;
  std::unique_ptr<Program> program;
  {  // no Python in here: a garbage collection may free a program of this form, which takes the lock
    const std::lock_guard<std::mutex> lock(form->mutex_);
    settings = form->settings_;
    program = Program::moved(form->parts_, form->blocks_, addresses(blocks));
  }
  auto made = std::make_unique<ArrayProgram>(form, settings, std::move(program), lasting, arguments);
  made->sites_ = form->sites_;
  made->recorded_calls_ = form->recorded_calls_;
  for (size_t i = 0; i < watched.size(); ++i)
    made->watched_.push_back({watched[i].attr("_cell"), -1, form->watched_[i]});
  return made;
}

ArrayProgram::ArrayProgram(const std::shared_ptr<ProgramForm>& form, const ProgramSettings& settings,
                           std::unique_ptr<Program> program, const std::vector<py::handle>& lasting,
                           const py::list& arguments)
    : settings_(settings), owners_(form->constants_), shared_(form), program_(std::move(program)) {
  for (py::handle a : arguments) arguments_.emplace_back(a);
  for (py::handle a : lasting) hold(OwnedMemory::of(a));
  find_written();     // fills written_: the memory that a run changes and that outlives it
  add_to_programs();  // enters this program in the list of all programs, which fork() goes through
}

// Keeps memory from being freed while the program lives: a block of ranvier's allocator by a pin, any other
// by a reference to its owner.
void ArrayProgram::hold(const OwnedMemory& memory) {
  if (!memory.ours) {
    owners_.push_back(py::reinterpret_borrow<py::object>(memory.owner));
    return;
  }
  pins_.emplace_back();  // before pin(), as it may throw
  pin(memory.begin, /*discard=*/false);
  pins_.back().reset(memory.begin);
}

// Takes the program's times if it has measured more runs than the form knows of. without_team_: times were
// measured while other threads of the process left it no team; they would mislead other programs.
void ProgramForm::take_times(const ArrayProgram& program) {
  const NoFork whole;  // the GIL may be free: a child that is forked now would find the lock taken for ever
  const std::lock_guard<std::mutex> lock(mutex_);
  if (program.settings_.runs <= settings_.runs || program.without_team_) return;
  settings_.runs = program.settings_.runs;
  parts_.take_times(program.program_->parts());
}

}  // namespace ranvier::bind
