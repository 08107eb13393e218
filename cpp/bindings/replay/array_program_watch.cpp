// The watched Tensors of an ArrayProgram (array_program.h). Results that depend on them only are "prepared"
// (see program/program.h): computed once, and again only after one of these Tensors has changed.
#include "bindings/replay/array_program.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {

// Keeps of watched_ only the Tensors that a prepared instruction reads: the others need not be compared
// before each run.
void ArrayProgram::keep_watched() {
  std::vector<bool> read(program_->buffers().size(), false);
  for (size_t i = 0; i < program_->prepared(); ++i)
    for (const Use& use : program_->instructions()[i].uses) read[use.region] = true;
  std::vector<WatchedTensor> kept;
  for (WatchedTensor& w : watched_)
    if (read[w.buffer]) kept.push_back(std::move(w));
  watched_.swap(kept);
}

// Before the first run, and if a watched Tensor has changed since the last one, lets the next run compute the
// prepared results that are out of date. The same if NumPy or `.data` has access to the memory (`unwatched`):
// such changes are not counted.
void ArrayProgram::watch() {
  bool changed = !has_watched_;
  for (WatchedTensor& w : watched_) {
    const int64_t changes = counted_changes(w.cell.ptr());
    changed |= changes != w.changes || cell_at(w.cell.ptr()).unwatched;
    w.changes = changes;
  }
  if (!changed) return;
  WatchedBuffers buffers;
  for (const WatchedTensor& w : watched_) {
    const bool counted = !cell_at(w.cell.ptr()).unwatched;
    const auto [known, is_new] = buffers.insert({w.buffer, {w.cell.ptr(), w.changes, counted}});
    if (!is_new && known->second.counter != w.cell.ptr()) known->second.counted = false;
  }
  const KernelSettings& kernels = settings_.kernels;
  program_->renew(buffers, {reinterpret_cast<const char*>(kernels.data()), sizeof kernels});
  has_watched_ = true;
}

py::list ArrayProgram::watched() const {
  py::list cells;
  for (const WatchedTensor& w : watched_) cells.append(w.cell);
  return cells;
}

}  // namespace ranvier::bind
