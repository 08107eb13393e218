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

 private:
  friend class ArrayProgram;
  struct Like {
    py::object dtype;
    std::vector<int64_t> shape, strides;

    explicit Like(py::handle array);
    bool fits(py::handle array) const;
  };
  void take_times(const ArrayProgram& program);

  std::mutex mutex_;  // guards times
  std::unique_ptr<Program> program_;
  std::vector<Like> arrays_, kept_;
  std::vector<py::object> constants_;  // read-only arrays, the same for all
  std::vector<ResultForm> results_;
  int runs_ = 0, outputs_ = 0, team_ = 1;
  uint32_t conv_algorithms_ = ~0u;
  Isa isa_{};
};

}  // namespace ranvier::bind
