// How a program is made from a recording (the constructor lists the steps), and how it runs: one team of
// threads runs all instructions, with barriers in between.
#include "program/program.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <new>
#include <utility>

#include "base/caches.h"
#include "base/fork.h"
#include "base/parallel.h"
#include "kernels/index/range.h"
#include "program/fuse.h"
#include "program/host_call.h"

namespace ranvier {

using Clock = std::chrono::steady_clock;

// The address at which the instruction writes whether it failed, if it is a call of one of the classes; else
// null.
template <class... Calls>
static const int64_t* guard_among(const Instruction& i) {
  const int64_t* found = nullptr;
  const auto look = [&](const auto* check) { return check && (found = check->found.data, true); };
  (void)(look(i.as<Calls>()) || ...);
  return found;
}

const int64_t* guard_of(const Instruction& i) {
  return guard_among<IndexRange, ValueRange<float>, ValueRange<double>, HostCall>(i);
}

static double nanoseconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::nano>(to - from).count();
}

Program::Program(Recording&& recording, const Regions& regions, int team) {
  // fuse() marks the prepared instructions. prepared_first() and divide() order all of them for good, so the
  // lifetimes, which are places in this order, come later; and memory is placed by lifetimes.
  team_ = team;
  take(recording, regions);
  drop_unused();
  checks_first();
  fuse(instructions_, buffers_, team);
  prepared_first();
  sections_ = divide(instructions_, buffers_, prepared_, team);
  find_lifetimes();
  free_early();
  place_temporaries();
  place_prepared();
  complete();
  memory_.workspace += undo_->bytes();
}

// Allocates the program's own memory but for that of temporaries and prepared results (reserve), and sets all
// that points into it.
void Program::complete() {
  for (size_t n = 0; n < groups_.size(); ++n) blocks_.push_back(std::make_shared<PreparedBlock>(""));
  point_views();
  for (Instruction& i : instructions_) i.guard = guard_of(i);
  undo_.emplace(instructions_, buffers_, prepared_);
}

// Each persistent buffer moves with the block of `from` that has all bytes of the buffer that instructions
// use.
std::unique_ptr<Program> Program::moved(const ProgramParts& parts, const std::vector<Block>& from,
                                        const std::vector<char*>& to) {
  std::unique_ptr<Program> program(new Program(parts));
  // By buffer: the bytes that instructions use.
  std::vector<Extent> used(parts.buffers_.size(), {INT64_MAX, 0});
  for (const Instruction& i : parts.instructions_)
    for (const Use& use : i.uses) {
      Extent& all = used[use.region];
      all = {std::min(all.low, i.reach(use).low), std::max(all.high, i.reach(use).high)};
    }
  // By buffer: bytes from its old address to the start of the block.
  std::vector<int64_t> begins(used.size(), 0);
  for (size_t n = 0; n < used.size(); ++n) {
    Buffer& b = program->buffers_[n];
    if (b.role != Role::persistent || b.first < 0) continue;
    if (b.cell) {
      program->cells_.push_back(std::make_unique<int64_t>(0));
      b.address = reinterpret_cast<char*>(program->cells_.back().get());
      continue;
    }
    const auto block = std::find_if(from.begin(), from.end(), [&](const Block& block) {
      return block.begin <= b.address + used[n].low && b.address + used[n].high <= block.begin + block.bytes;
    });
    if (block == from.end()) return nullptr;
    begins[n] = block->begin - b.address;
    b.address = to[block - from.begin()];
    b.bytes = block->bytes;
  }
  for (Instruction& i : program->instructions_)
    for (Use& use : i.uses) use.offset -= begins[use.region];
  for (Buffer& b : program->buffers_)
    if (b.host >= 0) b.offset -= static_cast<size_t>(begins[b.host]);
  program->complete();
  return program;
}

// Makes an instruction of each recorded call, and a buffer of each region.
void Program::take(Recording& recording, const Regions& regions) {
  const std::vector<int>& outputs = regions.outputs;
  int arguments = 0;
  for (const Region& r : recording.regions) {
    recorded_kinds_.push_back(r.kind);
    Buffer b{Role::persistent, r.bytes, r.begin, -1};
    if (r.kind == RegionKind::temporary) b.role = Role::temporary;
    if (r.kind == RegionKind::argument) {
      b.role = Role::argument;
      b.number = r.argument;
      arguments = std::max(arguments, r.argument + 1);
    }
    b.cell = std::any_of(recording.cells.begin(), recording.cells.end(),
                         [&](const auto& cell) { return reinterpret_cast<char*>(cell.get()) == r.begin; });
    buffers_.push_back(b);
  }
  for (int region : regions.watched) buffers_[region].watched = true;
  for (int region : regions.kept) {
    Buffer& b = buffers_[region];
    memory_.made += b.kept < 0 ? b.bytes : 0;
    b.role = Role::persistent;
    if (b.kept < 0) b.kept = static_cast<int>(kept_regions_.size());
    kept_regions_.push_back(region);
  }
  kept_.resize(kept_regions_.size());
  for (size_t i = 0; i < outputs.size(); ++i) {
    buffers_[outputs[i]].role = Role::output;
    buffers_[outputs[i]].number = static_cast<int>(i);
    memory_.made += buffers_[outputs[i]].bytes;
  }
  arguments_.resize(arguments);
  outputs_.resize(outputs.size());
  for (size_t i = 0; i < recording.records.size(); ++i) {
    Record& r = recording.records[i];
    recorded_calls_.push_back(r.type);
    instructions_.push_back({std::move(r), static_cast<int>(i)});
    instructions_.back().guard = guard_of(instructions_.back());
  }
  cells_ = std::move(recording.cells);
  places_ = std::move(recording.places);
}

// Drops instructions that write only temporaries which no later instruction uses.
void Program::drop_unused() {
  std::vector<bool> needed(buffers_.size(), false);
  std::vector<Instruction> kept;
  for (auto it = instructions_.rbegin(); it != instructions_.rend(); ++it) {
    const bool used = std::any_of(it->uses.begin(), it->uses.end(), [&](const Use& use) {
      return use.view.write && (needed[use.region] || buffers_[use.region].role != Role::temporary);
    });
    if (!used) continue;
    for (const Use& use : it->uses) needed[use.region] = true;
    kept.push_back(std::move(*it));
  }
  std::reverse(kept.begin(), kept.end());
  instructions_ = std::move(kept);
}

// For a check of indices, instruction i: returns i and the instructions on whose results i depends, from the
// last to the first. They may be moved to the front of the program together. Returns nothing if that is not
// allowed: i depends on an instruction that writes memory other than temporaries, or an instruction that
// would then run after them uses memory that they overwrite.
std::vector<size_t> Program::early_chain(size_t i) const {
  std::vector<size_t> chain{i};
  std::vector<bool> needed(buffers_.size(), false);
  std::vector<bool> written(buffers_.size(), false);
  for (const Use& use : instructions_[i].uses) needed[use.region] = true;
  for (size_t j = i; j-- > 0;) {
    const std::vector<Use>& uses = instructions_[j].uses;
    const auto any = [&](const auto& test) { return std::any_of(uses.begin(), uses.end(), test); };
    if (!any([&](const Use& use) { return use.view.write && needed[use.region]; })) {
      // Instruction j would then run after the chain, but uses memory that the chain overwrites.
      if (any([&](const Use& use) { return written[use.region]; })) return {};
      continue;
    }
    chain.push_back(j);
    for (const Use& use : uses) {
      needed[use.region] = true;
      if (!use.view.write) continue;
      if (buffers_[use.region].role != Role::temporary) return {};
      written[use.region] = true;
    }
  }
  return chain;
}

// Moves checks of indices to the front if they depend on arguments, persistent memory and temporaries that
// can be made first (early_chain). Where such a check fails, nothing has changed yet. Checks of other values
// (ValueRange, HostCall) stay in place, since mostly a whole forward pass makes these values.
void Program::checks_first() {
  std::vector<bool> early(instructions_.size(), false);
  for (size_t i = 0; i < instructions_.size(); ++i)
    if (instructions_[i].as<IndexRange>())
      for (size_t j : early_chain(i)) early[j] = true;
  std::vector<Instruction> ordered;
  for (const bool first : {true, false})
    for (size_t i = 0; i < instructions_.size(); ++i)
      if (early[i] == first) ordered.push_back(std::move(instructions_[i]));
  instructions_ = std::move(ordered);
}

// Moves prepared instructions to the front; the buffers that they write become prepared buffers. An
// instruction that made what fuse() has replaced, such as weights before packing, is dropped.
void Program::prepared_first() {
  std::stable_partition(instructions_.begin(), instructions_.end(),
                        [](const Instruction& i) { return i.prepared; });
  drop_unused();
  int number = 0;
  for (const Instruction& i : instructions_) {
    prepared_ += i.prepared;
    for (const Use& use : i.uses) {
      Buffer& b = buffers_[use.region];
      if (!i.prepared || !use.view.write) continue;
      b.role = Role::prepared;
      b.number = number++;
    }
  }
}

// Notes the first and the last instruction that use each buffer.
void Program::find_lifetimes() {
  for (size_t i = 0; i < instructions_.size(); ++i)
    for (const Use& use : instructions_[i].uses) {
      Buffer& b = buffers_[use.region];
      if (b.first < 0) b.first = static_cast<int>(i);
      b.last = static_cast<int>(i);
    }
}

// Places temporaries in gradients (arena.cpp) and in the arena (place_lanes in sections.cpp), and sets the
// sizes in memory_.
void Program::place_temporaries() {
  for (const Buffer& b : buffers_)
    if (b.role == Role::persistent && b.first >= 0) memory_.persistent += b.bytes;
  place_in_gradients();
  std::vector<Buffer> in_arena = workspaces();
  place_lanes(in_arena);
  for (const Buffer& b : in_arena) instructions_[b.first].workspace = b.offset;
  memory_.workspace = std::max(memory_.workspace, lane_workspace_ * static_cast<size_t>(team_));
}

// Small workspaces share one block, which stays in the processor's cache, and the list is empty. Large ones
// are temporaries of one instruction each, in the arena.
std::vector<Buffer> Program::workspaces() {
  constexpr size_t kLarge = size_t{1} << 20;
  std::vector<Buffer> all;
  for (size_t i = 0; i < instructions_.size(); ++i) {
    const Instruction& instruction = instructions_[i];
    const size_t bytes = instruction.type->workspace_bytes(instruction.call.data(), team_);
    memory_.workspace = std::max(memory_.workspace, bytes);
    Buffer b{Role::temporary, bytes, nullptr, -1};
    b.first = b.last = static_cast<int>(i);
    if (bytes) all.push_back(b);
  }
  if (memory_.workspace < kLarge || !sections_.empty()) return {};
  memory_.workspace = 0;
  workspaces_in_arena_ = true;
  return all;
}

char* Program::workspace_of(const Instruction& i) const {
  const OwnBlock& block = workspaces_in_arena_ ? arena_ : workspace_;
  return static_cast<char*>(block.get()) + i.workspace;
}

bool Program::reserve() {
  if (arena_ && has_blocks_) return true;
  if (!reserve_prepared()) return false;
  if (!arena_) {
    OwnBlock arena(allocate(memory_.arena));
    OwnBlock workspace(allocate(memory_.workspace));
    if (!arena || !workspace) return false;
    arena_ = std::move(arena);
    workspace_ = std::move(workspace);
  }
  has_blocks_ = true;
  for (Buffer& b : buffers_)
    if (b.role == Role::temporary && b.host < 0) b.address = static_cast<char*>(arena_.get()) + b.offset;
  point_views();
  return true;
}

void give_to_system(OwnBlock& block) {
  void* const memory = block.get();
  pin(memory, /*discard=*/true);
  block.reset();
  unpin(memory);
}

void Program::release() {
  constexpr size_t kLarge = size_t{1} << 20;
  if (!arena_ || memory_.arena + memory_.workspace < kLarge) return;
  give_to_system(arena_);
  give_to_system(workspace_);
}

bool Program::is_in_section(size_t instruction) const {
  return std::any_of(sections_.begin(), sections_.end(), [&](const Section& section) {
    return section.first <= instruction && instruction < section.last;
  });
}

// The slot of a buffer whose address may change between runs; null for any other buffer.
Program::Slot* Program::slot_of(const Buffer& b) {
  if (b.role == Role::argument) return &arguments_[b.number];
  if (b.role == Role::output) return &outputs_[b.number];
  return b.kept >= 0 ? &kept_[b.kept] : nullptr;
}

// Points the views of all instructions at their buffers, and lists for each slot the views that follow it.
void Program::point_views() {
  for (std::vector<Slot>* slots : {&arguments_, &outputs_, &kept_})
    for (Slot& slot : *slots) {
      slot.views.clear();
      slot.data = nullptr;
    }
  for (Instruction& i : instructions_)
    for (const Use& use : i.uses) {
      const Buffer& b = buffers_[use.region];
      const bool hosted = b.host >= 0;
      const Buffer& memory = hosted ? buffers_[b.host] : b;
      int64_t offset = use.offset;
      if (hosted) offset += static_cast<int64_t>(b.offset);
      char** data = &i.view(use).data;
      if (memory.address) *data = memory.address + offset;
      if (Slot* slot = slot_of(memory)) {
        slot->bytes = memory.bytes;
        slot->views.emplace_back(data, offset);
      }
    }
  share_calls();
}

void Program::set_kept(int number, char* data) {
  buffers_[kept_regions_[number]].address = data;
  redirect(kept_[number], data);
}

int Program::let_move(int buffer) {
  kept_regions_.push_back(buffer);
  kept_.emplace_back();
  buffers_[buffer].kept = static_cast<int>(kept_.size()) - 1;
  point_views();
  return buffers_[buffer].kept;
}

// Points all views of a slot at other memory.
void Program::redirect(Slot& slot, char* data) {
  if (slot.data == data) return;
  slot.data = data;
  for (const auto& [view, offset] : slot.views) *view = data + offset;
}

bool is_for_one(const Instruction& i) { return i.as<IndexRange>() || i.as<HostCall>(); }

// Runs an instruction on one thread; a HostCall in the floating-point environment of the caller.
void Program::run_alone(const Instruction& i, const Team& team) const {
  if (!i.as<HostCall>()) return i.type->run(i.call.data(), team, workspace_of(i));
  const FpEnvironment environment(callers_);
  i.type->run(i.call.data(), team, workspace_of(i));
}

const Instruction* Program::run() {
  if (alone_) return run_as(Threads::chosen);
  const auto before = Clock::now();
  const Instruction* failed = run_as(Threads::chosen);
  if (!failed) pace_.note(nanoseconds(before, Clock::now()));
  return failed;
}

// Runs all instructions once. If a check fails, the memory that outlives the run is put back as it was.
const Instruction* Program::run_as(Threads threads) {
  const bool alone = threads == Threads::solo || (threads == Threads::chosen && (alone_ || pace_.alone()));
  const int threads_of_team = alone ? 1 : team_;
  const Team team(threads_of_team);
  const NoFork whole;  // a fork() in another thread waits until the run has ended
  FpEnvironment environment;
  callers_ = environment.callers();
  compute_prepared(team);
  const Instruction* failed = nullptr;
  undo_->keep(team, buffers_);
  // One region for all instructions, so that threads are started and joined once. The given cost is above
  // kParallelPays, so that the region does open a team.
  team.region(2 * kParallelPays, [&](const OpenTeam& team) {
    const Instruction* found = run_all(team, threads);
    if (team.leads()) failed = found;
  });
  if (failed) undo_->put_back(static_cast<size_t>(failed - instructions_.data()), buffers_);
  return failed;
}

// Several checks of indices in a row share one barrier, after the last of them, instruction `last`. Returns
// the first of these checks that failed, or null.
const Instruction* Program::first_failed(size_t last) const {
  const Instruction* failed = nullptr;
  for (size_t i = last + 1; i-- > prepared_ && instructions_[i].as<IndexRange>();)
    if (*instructions_[i].guard) failed = &instructions_[i];
  return failed;
}

// The loop over the instructions, which every thread of the team runs. A section that was chosen runs by
// lanes (see sections.h); every other instruction runs on one thread or on all. Returns the check that
// failed, or null.
const Instruction* Program::run_all(const OpenTeam& team, Threads threads) {
  const bool measured = threads != Threads::chosen;
  const bool leads = team.leads();
  bool shared = true;  // a barrier has followed the last instruction, so that all threads see what it wrote
  auto before = measured ? Clock::now() : Clock::time_point();
  const OpenTeam solo = team.alone();
  auto section = sections_.begin();  // the next section
  for (size_t number = prepared_; number < instructions_.size(); ++number) {
    Instruction& i = instructions_[number];
    if (!measured && section != sections_.end() && section->first == number) {
      const Section& now = *section++;
      if (now.chosen) {
        if (!shared) team.barrier();
        run_lanes(now, team);
        team.barrier();
        shared = true;
        number = now.last - 1;
        continue;
      }
    }
    const bool solo_run = measured ? threads == Threads::solo : i.solo;
    if (solo_run || is_for_one(i)) {
      if (leads) run_alone(i, solo);
      shared = false;
      const bool more = number + 1 < instructions_.size() && instructions_[number + 1].as<IndexRange>();
      if (i.as<IndexRange>() && more && !measured) continue;  // one barrier, after the last of these checks
      if (i.guard) {
        team.barrier();
        shared = true;
      }
      if (const Instruction* failed = first_failed(number)) return failed;
    } else {
      if (!shared) team.barrier();
      i.type->run(i.call.data(), team, workspace_of(i));
      team.barrier();
      shared = true;
    }
    if (i.guard && *i.guard) return &i;
    if (!measured || !leads) continue;
    const auto after = Clock::now();
    double& best = threads == Threads::solo ? i.solo_ns : i.team_ns;
    best = std::min(best, nanoseconds(before, after));
    before = after;
  }
  return nullptr;
}

}  // namespace ranvier
