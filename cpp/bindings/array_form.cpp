#include "bindings/array_form.h"

#include <algorithm>

#include "base/allocator.h"
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

}  // namespace

ArrayForm::Like::Like(py::handle array)
    : dtype(py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(PyArray_DESCR(as_array(array))))),
      shape(PyArray_DIMS(as_array(array)), PyArray_DIMS(as_array(array)) + PyArray_NDIM(as_array(array))),
      strides(PyArray_STRIDES(as_array(array)),
              PyArray_STRIDES(as_array(array)) + PyArray_NDIM(as_array(array))) {}

bool ArrayForm::Like::fits(py::handle array) const {
  if (!PyArray_CheckExact(array.ptr()) || !PyArray_ISBEHAVED_RO(as_array(array))) return false;
  const Like other(array);
  return PyArray_EquivTypes(reinterpret_cast<PyArray_Descr*>(dtype.ptr()), PyArray_DESCR(as_array(array))) &&
         shape == other.shape && strides == other.strides;
}

std::shared_ptr<ArrayForm> ArrayForm::of(ArrayProgram& program, const py::list& arrays) {
  const ArrayProgram::Turn turn(program);
  if (!program.sites_.empty()) return nullptr;
  auto form = std::make_shared<ArrayForm>();
  std::vector<Block> blocks;
  for (py::handle a : arrays) {
    if (!PyArray_CheckExact(a.ptr()) || !PyArray_ISBEHAVED_RO(as_array(a))) return nullptr;
    blocks.push_back(block_of(a));
    form->arrays_.emplace_back(a);
  }
  for (const py::object& owner : program.owners_)
    if (PyArray_Check(owner.ptr()) && !PyArray_ISWRITEABLE(as_array(owner))) {
      const Block block = block_of(owner);
      const bool known = std::any_of(blocks.begin(), blocks.end(), [&](const Block& b) {
        return b.begin < block.begin + block.bytes && block.begin < b.begin + b.bytes;
      });
      if (known) continue;
      blocks.push_back(block);
      form->constants_.push_back(owner);
    }
  if (share_memory(blocks)) return nullptr;
  for (const Gradient& g : program.gradients_) {
    if (g.kept < 0 || g.kept != static_cast<int>(form->kept_.size())) return nullptr;
    form->kept_.emplace_back(py::object(g.tensor.attr("_array")));
  }
  for (const ResultForm& r : program.results_)
    if (r.output < 0) return nullptr;
  form->program_ = program.program_->form(blocks);
  if (!form->program_) return nullptr;
  form->results_ = program.results_;
  form->runs_ = program.runs_, form->outputs_ = program.outputs_, form->team_ = program.team_;
  form->conv_algorithms_ = program.conv_algorithms_, form->isa_ = program.isa_;
  program.shared_ = form;
  return form;
}

std::unique_ptr<ArrayProgram> ArrayForm::bound(const std::shared_ptr<ArrayForm>& form, const py::list& arrays,
                                               const py::list& arguments, const py::list& kept) {
  if (arrays.size() != form->arrays_.size() || kept.size() != form->kept_.size()) return nullptr;
  std::vector<Block> blocks;
  std::vector<char*> at[2];
  const auto take = [&](const py::list& list, const std::vector<Like>& likes, std::vector<char*>& to) {
    for (size_t i = 0; i < likes.size(); ++i) {
      if (!likes[i].fits(list[i])) return false;
      blocks.push_back(block_of(list[i]));
      to.push_back(const_cast<char*>(blocks.back().begin));
    }
    return true;
  };
  if (!take(arrays, form->arrays_, at[0]) || !take(kept, form->kept_, at[1])) return nullptr;
  for (const py::object& constant : form->constants_) {
    blocks.push_back(block_of(constant));
    at[0].push_back(const_cast<char*>(blocks.back().begin));
  }
  if (share_memory(blocks)) return nullptr;
  const std::lock_guard<std::mutex> lock(form->mutex_);
  return std::make_unique<ArrayProgram>(form, form->program_->bound(at[0], at[1]), arrays, arguments, kept);
}

void ArrayForm::take_times(const ArrayProgram& program) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (program.runs_ <= runs_) return;
  runs_ = program.runs_;
  program_->take_times(*program.program_);
}

ArrayProgram::ArrayProgram(const std::shared_ptr<ArrayForm>& form, std::unique_ptr<Program> program,
                           const py::list& arrays, const py::list& arguments, const py::list& kept)
    : runs_(form->runs_),
      outputs_(form->outputs_),
      team_(form->team_),
      conv_algorithms_(form->conv_algorithms_),
      isa_(form->isa_),
      results_(form->results_),
      owners_(form->constants_),
      shared_(form),
      program_(std::move(program)) {
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

// Times that were measured serve other programs of the form, too.
void ArrayProgram::share_times() {
  if (!shared_ || without_team_ || runs_ == shared_runs_) return;
  shared_runs_ = runs_;
  shared_->take_times(*this);
}

}  // namespace ranvier::bind
