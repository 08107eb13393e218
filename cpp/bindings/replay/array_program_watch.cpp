// Tensors whose changes are counted, so that what a program has prepared from them is made again.
#include "bindings/replay/array_program.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {

// Only what a prepared instruction reads has to be looked at before each run.
void ArrayProgram::keep_watched(const std::vector<int>& regions) {
  std::vector<bool> read(program_->buffers().size(), false);
  for (size_t i = 0; i < program_->prepared(); ++i)
    for (const Use& use : program_->instructions()[i].uses) read[use.region] = true;
  std::vector<WatchedTensor> kept;
  for (size_t w = 0; w < regions.size(); ++w)
    if (read[regions[w]]) kept.push_back(std::move(watched_[w]));
  watched_.swap(kept);
}

// Computes what follows from watched Tensors again: after a change of one, and in each run where NumPy, or
// `.data`, has access to the memory, so that changes are not counted.
void ArrayProgram::watch() {
  for (WatchedTensor& w : watched_) {
    const int64_t changes = PyLong_AsLongLong(item_of(w.cell.ptr(), kChanges).ptr());
    const bool unwatched = PyLong_AsLongLong(item_of(w.cell.ptr(), kFlags).ptr()) & kUnwatched;
    if (changes != w.changes || unwatched) program_->renew();
    w.changes = changes;
  }
}

}  // namespace ranvier::bind
