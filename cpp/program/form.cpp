// Copies of a program for other memory: Program::form() and Program::bound().
#include <algorithm>
#include <cstring>
#include <new>

#include "base/allocator.h"
#include "program/program.h"

namespace ranvier {

// Without memory: neither arena nor workspace, and views that point nowhere.
Program::Program(const Program& p)
    : sections_(p.sections_),
      lane_workspace_(p.lane_workspace_),
      buffers_(p.buffers_),
      places_(p.places_),
      recorded_calls_(p.recorded_calls_),
      recorded_kinds_(p.recorded_kinds_),
      arguments_(p.arguments_.size()),
      outputs_(p.outputs_.size()),
      kept_(p.kept_.size()),
      kept_regions_(p.kept_regions_),
      memory_(p.memory_),
      team_(p.team_),
      may_stop_(p.may_stop_),
      prepared_(p.prepared_) {
  for (const Instruction& i : p.instructions_) {
    auto call = std::make_unique<char[]>(i.type->size);
    std::memcpy(call.get(), i.call.get(), i.type->size);
    instructions_.push_back(
        {{i.type, std::move(call), i.uses, i.place}, i.record, i.guard, i.fused, i.prepared});
  }
  take_times(p);
}

void Program::take_times(const Program& p) {
  for (size_t i = 0; i < instructions_.size(); ++i) {
    instructions_[i].solo = p.instructions_[i].solo;
    instructions_[i].team_ns = p.instructions_[i].team_ns;
    instructions_[i].solo_ns = p.instructions_[i].solo_ns;
  }
  sections_ = p.sections_;
  alone_ = p.alone_, pace_ = p.pace_, run_ns_ = p.run_ns_;
}

// Finds for each buffer that outlives a run the array that has all bytes used of it. Offsets of views are
// then from the begin of that array.
std::unique_ptr<Program> Program::form(const std::vector<Block>& arrays) const {
  for (const Buffer& b : buffers_)
    if (b.watched) return nullptr;  // what is prepared follows from the values of an array
  // The bytes of a buffer that its views use.
  struct Reach {
    const char *first = nullptr, *last = nullptr;
  };
  std::vector<Reach> reach(buffers_.size());
  for (const Instruction& i : instructions_)
    for (const Use& use : i.uses) {
      const Extent e = i.reach(use);
      const char* at = buffers_[use.region].address;
      Reach& r = reach[use.region];
      r.first = r.first ? std::min(r.first, at + e.low) : at + e.low;
      r.last = std::max(r.last, at + e.high);
    }
  std::vector<int64_t> moved(buffers_.size(), 0);  // from a buffer's address to its array's begin
  std::unique_ptr<Program> copy(new Program(*this));
  for (size_t b = 0; b < buffers_.size(); ++b) {
    Buffer& to = copy->buffers_[b];
    const Buffer& from = buffers_[b];
    to.address = nullptr;
    // bound() places those that are kept
    if (from.role != Role::persistent || from.first < 0 || from.kept >= 0) continue;
    const auto cell = std::find_if(cells_.begin(), cells_.end(), [&](const auto& c) {
      return reinterpret_cast<const char*>(c.get()) == from.address;
    });
    to.cell = cell != cells_.end();
    if (to.cell) continue;
    const auto array = std::find_if(arrays.begin(), arrays.end(), [&](const Block& a) {
      return reach[b].first >= a.begin && reach[b].last <= a.begin + a.bytes;
    });
    if (array == arrays.end()) return nullptr;
    to.array = static_cast<int>(array - arrays.begin());
    to.bytes = array->bytes;
    moved[b] = array->begin - from.address;
  }
  for (Instruction& i : copy->instructions_)
    for (Use& use : i.uses) use.offset -= moved[use.region];
  return copy;
}

// What points into memory is made anew: addresses of buffers, cells, views, guards, the copies for undo.
std::unique_ptr<Program> Program::bound(const std::vector<char*>& arrays,
                                        const std::vector<char*>& kept) const {
  std::unique_ptr<Program> copy(new Program(*this));
  copy->allocate_memory();
  for (Buffer& b : copy->buffers_) {
    if (b.array >= 0) b.address = arrays[b.array];
    if (b.kept >= 0) b.address = kept[b.kept];
    if (!b.cell) continue;
    copy->cells_.push_back(std::make_unique<int64_t>(0));
    b.address = reinterpret_cast<char*>(copy->cells_.back().get());
  }
  copy->point_views();
  for (Instruction& i : copy->instructions_)
    if (i.guard) i.guard = guard_of(i);
  copy->undo_.emplace(copy->instructions_, copy->buffers_, copy->prepared_);
  return copy;
}

}  // namespace ranvier
