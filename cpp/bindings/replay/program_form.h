// ProgramForm: a program without its memory, from which programs for other arrays are made without a
// recording.
//
// Networks of the same form, such as those of a cross-validation, have programs that differ only in
// addresses. A ProgramForm has their common part, and the layout of each array that outlives a run:
// parameters, the optimizer's state, gradients. Python gives these arrays in an order that is the same for
// all steps of the form (python/ranvier/compile/shared_programs.py); it may give arrays that the program does
// not use. bound() makes a program of the form for the arrays of another step.
#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "bindings/replay/array_program.h"

namespace ranvier::bind {

class ProgramForm {
 public:
  // The form of a program. arrays: all arrays that outlive a run, except the gradients that it leaves in
  // memory of its own. Null if the program uses other arrays, too, or if two that it uses share memory.
  static std::shared_ptr<ProgramForm> of(ArrayProgram& program, const py::list& arrays);
  // A program for other arrays of the same shapes, strides and dtypes, in the same order. Null if they differ
  // in these, or if two share memory. arguments: arrays like those of a call. gradients: memory for the
  // gradients that a run leaves. watched: Tensors in the order of ArrayProgram::watched_.
  static std::unique_ptr<ArrayProgram> bound(const std::shared_ptr<ProgramForm>& form, const py::list& arrays,
                                             const py::list& arguments, const py::list& gradients,
                                             const py::list& watched);
  // Takes over the times that a program has measured, for programs that are made later.
  void take_times(const ArrayProgram& program);

 private:
  friend class ArrayProgram;
  bool add_lasting(const ArrayProgram& program, py::handle array);
  bool add_gradients(const ArrayProgram& program);
  void add_constants(const ArrayProgram& program);
  bool add_sites(const ArrayProgram& program);

  std::mutex mutex_;             // guards the times
  uint64_t recorded_calls_ = 0;  // ArrayProgram::recorded_calls_
  ProgramParts parts_;
  ProgramSettings settings_;
  // The arrays, then the gradients: the layout of each; null for an array that the program does not use.
  std::vector<std::unique_ptr<ArrayLayout>> layouts_;
  std::vector<int> watched_;                      // the buffers of ArrayProgram::watched_
  std::vector<py::object> constants_;             // read-only arrays, which all programs of the form use
  std::vector<std::shared_ptr<HostSite>> sites_;  // of the Python functions that all programs call
  std::vector<Block> blocks_;  // the places of arrays, gradients and constants when the form was made
};

}  // namespace ranvier::bind
