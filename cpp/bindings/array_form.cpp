#include "bindings/array_form.h"

#include <algorithm>

#include "bindings/numpy_api.h"

namespace ranvier::bind {
namespace {

Block block_of(py::handle array) {
  const auto [first, last] = reach_of(as_array(array));
  return {first, PyArray_SIZE(as_array(array)) ? static_cast<size_t>(last - first) : 0};
}

bool share_memory(std::vector<Block> blocks) {
  std::sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) { return a.begin < b.begin; });
  for (size_t i = 0; i + 1 < blocks.size(); ++i)
    if (blocks[i].begin + blocks[i].bytes > blocks[i + 1].begin) return true;
  return false;
}

std::vector<char*> addresses(const std::vector<Block>& blocks) {
  std::vector<char*> found;
  for (const Block& b : blocks) found.push_back(const_cast<char*>(b.begin));
  return found;
}

}  // namespace

bool ArrayForm::add(py::handle array) {
  if (!PyArray_CheckExact(array.ptr()) || !PyArray_ISBEHAVED_RO(as_array(array))) return false;
  blocks_.push_back(block_of(array));
  layouts_.emplace_back(array, PyArray_BYTES(as_array(array)));
  return true;
}

std::shared_ptr<ArrayForm> ArrayForm::of(ArrayProgram& program, const py::list& arrays) {
  const ArrayProgram::Turn turn(program);
  auto form = std::make_shared<ArrayForm>();
  for (const ResultForm& r : program.settings_.results)
    if (r.output < 0) return nullptr;
  for (py::handle a : arrays)
    if (!form->add(a)) return nullptr;
  for (size_t i = 0; i < program.gradients_.size(); ++i) {
    const Gradient& g = program.gradients_[i];
    if (g.kept != static_cast<int>(i) || !form->add(py::object(g.tensor.attr("_array")))) return nullptr;
  }
  for (const py::object& owner : program.owners_) {
    if (!PyArray_Check(owner.ptr()) || PyArray_ISWRITEABLE(as_array(owner))) continue;
    form->blocks_.push_back(block_of(owner));
    if (share_memory(form->blocks_))  // it is one of the arrays
      form->blocks_.pop_back();
    else
      form->constants_.push_back(owner);
  }
  const bool is_whole = program.sites_.empty() && !share_memory(form->blocks_);
  form->parts_ = program.program_->parts(), form->settings_ = program.settings_;
  if (!is_whole || !Program::moved(form->parts_, form->blocks_, addresses(form->blocks_))) return nullptr;
  program.shared_ = form;
  return form;
}

std::unique_ptr<ArrayProgram> ArrayForm::bound(const std::shared_ptr<ArrayForm>& form, const py::list& arrays,
                                               const py::list& arguments, const py::list& kept) {
  if (arrays.size() + kept.size() != form->layouts_.size()) return nullptr;
  std::vector<Block> blocks;
  for (const py::list* list : {&arrays, &kept})
    for (py::handle a : *list) {
      if (!form->layouts_[blocks.size()].fits(a)) return nullptr;
      blocks.push_back(block_of(a));
    }
  for (const py::object& constant : form->constants_) blocks.push_back(block_of(constant));
  if (share_memory(blocks)) return nullptr;
  const std::lock_guard<std::mutex> lock(form->mutex_);
  auto program = Program::moved(form->parts_, form->blocks_, addresses(blocks));
  return std::make_unique<ArrayProgram>(form, std::move(program), arrays, arguments, kept);
}

void ArrayForm::take_times(const ArrayProgram& program) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (program.settings_.runs <= settings_.runs || program.without_team_) return;
  settings_.runs = program.settings_.runs;
  parts_.take_times(program.program_->parts());
}

ArrayProgram::ArrayProgram(const std::shared_ptr<ArrayForm>& form, std::unique_ptr<Program> program,
                           const py::list& arrays, const py::list& arguments, const py::list& kept)
    : settings_(form->settings_), owners_(form->constants_), shared_(form), program_(std::move(program)) {
  for (py::handle a : arguments) arguments_.push_back({py::reinterpret_borrow<py::object>(a)});
  for (const py::list* list : {&arrays, &kept})
    for (py::handle a : *list) {
      const Memory memory = Memory::of(a);
      if (memory.ours)
        pins_.emplace_back(), pin(memory.begin, false), pins_.back().reset(memory.begin);
      else
        owners_.push_back(py::reinterpret_borrow<py::object>(memory.owner));
    }
  find_written();
  add_to_programs();
}

}  // namespace ranvier::bind
