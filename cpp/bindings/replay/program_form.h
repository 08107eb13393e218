// ProgramForm: a checked program without its memory.
//
// Networks of the same form, such as those of a cross-validation, have programs that differ only in
// addresses. A ProgramForm has their common part, and the layout of each array that outlives a run:
// parameters, the optimizer's state, gradients. Python gives these arrays in an order that is the same for
// all steps of the form (python/ranvier/compile/shared_programs.py). `bound` makes a program of the form for
// another step.
#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "bindings/replay/array_program.h"

namespace ranvier::bind {

class ProgramForm {
 public:
  // arrays: those that outlive a run of the program, but for gradients that it leaves in memory of its own.
  // Null where it uses others, too, or where two of them share memory.
  static std::shared_ptr<ProgramForm> of(ArrayProgram& program, const py::list& arrays);
  // A program for other arrays: of equal shapes, strides and dtypes, none sharing memory with another. Null
  // where they are not. arguments: arrays as those of a call. gradients: memory for those that a run leaves.
  static std::unique_ptr<ArrayProgram> bound(const std::shared_ptr<ProgramForm>& form, const py::list& arrays,
                                             const py::list& arguments, const py::list& gradients);
  // Times that were measured in one program serve the next ones.
  void take_times(const ArrayProgram& program);

 private:
  friend class ArrayProgram;
  bool add_lasting(py::handle array);
  bool add_gradients(const ArrayProgram& program);
  void add_constants(const ArrayProgram& program);

  std::mutex mutex_;  // guards the times
  ProgramParts parts_;
  ProgramSettings settings_;
  std::vector<ArrayLayout> layouts_;   // the layouts of the arrays, then of the gradients
  std::vector<py::object> constants_;  // read-only arrays, which all programs of the form use
  std::vector<Block> blocks_;          // the places of arrays, gradients and constants when the form was made
};

}  // namespace ranvier::bind
