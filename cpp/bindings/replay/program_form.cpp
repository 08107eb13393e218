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
  // A site is a place where the program calls a Python function, which belongs to one step only.
  if (!program.sites_.empty()) return nullptr;
  auto form = std::make_shared<ProgramForm>();
  for (py::handle a : arrays)
    if (!form->add_lasting(a)) return nullptr;
  if (!form->add_gradients(program)) return nullptr;
  form->add_constants(program);
  if (share_memory(form->blocks_)) return nullptr;
  form->parts_ = program.program_->parts();
  form->settings_ = program.settings_;
  // moved() gives null where the program uses memory outside of blocks_, or keeps what it computed from
  // watched arrays. Whether it does is all that is asked here: the new addresses are the old ones, and the
  // program that is made is dropped.
  if (!Program::moved(form->parts_, form->blocks_, addresses(form->blocks_))) return nullptr;
  program.shared_ = form;
  return form;
}

// Adds an array that outlives a run. False where a program cannot read it where it lies.
bool ProgramForm::add_lasting(py::handle array) {
  if (!is_usable(array)) return false;
  layouts_.emplace_back(array, PyArray_BYTES(as_array(array)));
  blocks_.push_back(block_of(array));
  return true;
}

// Adds the arrays of the gradients. `kept` is the number of the memory that a run leaves a gradient in:
// `bound` gets this memory as a list, so gradient i must have number i. It is -1 for a gradient whose memory
// cannot be exchanged, as one that the run adds to: false then.
bool ProgramForm::add_gradients(const ArrayProgram& program) {
  for (size_t i = 0; i < program.gradients_.size(); ++i) {
    const Gradient& g = program.gradients_[i];
    if (g.kept != static_cast<int>(i)) return false;
    const py::object array = g.tensor.attr("_array");
    if (!add_lasting(array)) return false;
  }
  return true;
}

// Adds the read-only arrays that the program holds, except those that are among the arrays added before.
void ProgramForm::add_constants(const ArrayProgram& program) {
  for (const py::object& owner : program.owners_) {
    if (!PyArray_Check(owner.ptr()) || PyArray_ISWRITEABLE(as_array(owner))) continue;
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
                                                 const py::list& gradients) {
  std::vector<py::handle> lasting(arrays.begin(), arrays.end());
  lasting.insert(lasting.end(), gradients.begin(), gradients.end());
  if (lasting.size() != form->layouts_.size()) return nullptr;
  std::vector<Block> blocks;
  for (size_t i = 0; i < lasting.size(); ++i) {
    if (!is_usable(lasting[i]) || !form->layouts_[i].fits(lasting[i])) return nullptr;
    blocks.push_back(block_of(lasting[i]));
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
  return std::make_unique<ArrayProgram>(form, settings, std::move(program), lasting, arguments);
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
