// ArrayForm: what programs of steps of the same form have in common, without their memory.
#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "bindings/array_program.h"

namespace ranvier::bind {

class ArrayForm {
 public:
  // arrays: what outlives a run, in an order that is the same for all steps of the form. Null where the
  // program uses other memory, too, or where two of the arrays share memory.
  static std::shared_ptr<ArrayForm> of(ArrayProgram& program, const py::list& arrays);
  // A program for arrays that are like those: of equal shapes, strides and dtypes, none sharing memory with
  // another. Null where they are not. arguments: as of ArrayProgram. kept: the arrays of the gradients that a
  // run leaves.
  static std::unique_ptr<ArrayProgram> bound(const std::shared_ptr<ArrayForm>& form, const py::list& arrays,
                                             const py::list& arguments, const py::list& kept);
  // Times that were measured in a program serve the next ones.
  void take_times(const ArrayProgram& program);

 private:
  friend class ArrayProgram;
  bool add(py::handle array);

  std::mutex mutex_;  // guards times
  ProgramParts parts_;
  ProgramSettings settings_;
  std::vector<ArrayLayout> layouts_;   // of the arrays, then of the kept ones
  std::vector<Block> blocks_;          // where they were
  std::vector<py::object> constants_;  // read-only arrays, the same for all, whose blocks come last
};

}  // namespace ranvier::bind
