// Finds the memory that a failed run has to put back, copies it before a run and copies it back: see undo.h.
#include "program/undo.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/parallel.h"
#include "kernels/attention/attention.h"
#include "kernels/dropout/dropout.h"
#include "program/program.h"

namespace ranvier {

// True for the keys and values that attention with a cache writes (type 'l' is the cache's length). They lie
// beyond the length that was valid before the run, where nothing has to be preserved. Only the length is put
// back.
static bool is_spare(const Instruction& i, const View& view) {
  return view.type != 'l' && (i.as<AttentionCached<float>>() || i.as<AttentionCached<double>>());
}

Undo::Undo(const std::vector<Instruction>& instructions, const std::vector<Buffer>& buffers, size_t first) {
  size_t last = instructions.size();  // one more than the index of the last check
  while (last > first && !instructions[last - 1].guard) --last;
  std::vector<bool> copied(buffers.size(), false);
  for (size_t i = first; i + 1 < last; ++i) {
    if (const auto* next = instructions[i].as<NextKey>()) {
      int64_t* drawn = next->state.data + 1;
      const auto known = std::find_if(streams_.begin(), streams_.end(),
                                      [&](const Stream& stream) { return stream.drawn == drawn; });
      if (known != streams_.end())
        known->draws.push_back(i);
      else
        streams_.push_back({drawn, {i}});
      continue;
    }
    for (const Use& use : instructions[i].uses) {
      const Buffer& b = buffers[use.region];
      if (!use.view.write || b.role != Role::persistent || copied[use.region]) continue;
      if (instructions[i].is_guard(use) || is_spare(instructions[i], use.view)) continue;
      copied[use.region] = true;
      copies_.push_back({use.region, bytes_, b.bytes});
      bytes_ += (b.bytes + 63) / 64 * 64;
    }
  }
  memory_.reset(allocate(bytes_));
  if (!memory_) throw std::bad_alloc();
}

void Undo::keep(const Team& team, const std::vector<Buffer>& buffers) {
  constexpr size_t kPiece = 1 << 16;  // bytes that a thread copies at a time
  constexpr double kNsPerByte = 0.1;  // of a copy on one thread, roughly
  for (Stream& stream : streams_) stream.before = __atomic_load_n(stream.drawn, __ATOMIC_RELAXED);
  for (const Copy& copy : copies_) {
    const char* from = buffers[copy.buffer].address;
    const auto pieces = static_cast<int64_t>((copy.bytes + kPiece - 1) / kPiece);
    team.parallel_for(pieces, kNsPerByte * static_cast<double>(copy.bytes), [&](int64_t piece) {
      const size_t at = static_cast<size_t>(piece) * kPiece;
      std::memcpy(memory() + copy.offset + at, from + at, std::min(kPiece, copy.bytes - at));
    });
  }
}

void Undo::put_back(size_t failed, const std::vector<Buffer>& buffers) {
  for (const Stream& stream : streams_) {
    // Draws that have run.
    const auto drawn = std::lower_bound(stream.draws.begin(), stream.draws.end(), failed);
    int64_t now = stream.before + (drawn - stream.draws.begin());
    __atomic_compare_exchange_n(stream.drawn, &now, stream.before, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  }
  for (const Copy& copy : copies_)
    std::memcpy(buffers[copy.buffer].address, memory() + copy.offset, copy.bytes);
}

}  // namespace ranvier
