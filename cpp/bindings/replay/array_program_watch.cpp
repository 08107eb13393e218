// The watched Tensors of an ArrayProgram (array_program.h). Results that depend on them only are "prepared"
// (see program/program.h): computed once, and again only after one of these Tensors has changed.
#include "bindings/replay/array_program.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {

// Keeps of watched_, whose regions are `regions`, only the Tensors that a prepared instruction reads: the
// others need not be compared before each run.
void ArrayProgram::keep_watched(const std::vector<int>& regions) {
  std::vector<bool> read(program_->buffers().size(), false);
  for (size_t i = 0; i < program_->prepared(); ++i)
    for (const Use& use : program_->instructions()[i].uses) read[use.region] = true;
  std::vector<WatchedTensor> kept;
  for (size_t w = 0; w < regions.size(); ++w)
    if (read[regions[w]]) kept.push_back(std::move(watched_[w]));
  watched_.swap(kept);
}

// Makes the next run compute the prepared results again if a watched Tensor has changed, or if NumPy or
// `.data` has access to its memory (`unwatched`): such changes are not counted.
void ArrayProgram::watch() {
  for (WatchedTensor& w : watched_) {
    const int64_t changes = counted_changes(w.cell.ptr());
    if (changes != w.changes || cell_at(w.cell.ptr()).unwatched) program_->renew();
    w.changes = changes;
  }
}

py::list ArrayProgram::watched() const {
  py::list cells;
  for (const WatchedTensor& w : watched_) cells.append(w.cell);
  return cells;
}

}  // namespace ranvier::bind
