// Program: a recorded list of kernel calls with its own memory, all of which run() runs again.
//
// A Program is built from a Recording: unused calls are dropped, calls are merged (fuse.h), temporaries are
// placed in one block, the arena, and the views of the calls are pointed there. Arguments and outputs have
// other addresses in each run: their views are redirected before the run. reserve() allocates the arena; a
// run allocates nothing, and uses Python in a HostCall only.
//
// Watched memory is memory, such as parameters, whose owner calls renew() after each change. Results that
// depend on watched memory alone are prepared: they are computed once, and again only after renew(). Programs
// that prepare the same results share them (prepared.h).
#pragma once
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/allocator.h"
#include "base/fp_environment.h"
#include "base/parallel.h"
#include "program/pace.h"
#include "program/prepared.h"
#include "program/recording.h"
#include "program/sections.h"
#include "program/undo.h"

namespace ranvier {

// One call of a program. In its uses, Use::region is an index in Program::buffers().
struct Instruction : Record {
  // The number of the recorded call after which this instruction's results exist: that of the call itself, or
  // where calls were merged the last of them; -1 for a call that was not recorded.
  int record;
  // A check is a call that tests values, such as indices, and writes here 1 if one is out of range. Null: no
  // check.
  const int64_t* guard = nullptr;
  bool is_guard(const Use& use) const {
    return guard && view(use).data == reinterpret_cast<const char*>(guard);
  }
  std::vector<const char*> fused = {};  // names of the recorded calls that were merged into this one
  bool prepared = false;                // runs after renew() only; prepared instructions come first
  bool solo = false;                    // runs on one thread while the rest of the team waits
  size_t workspace = 0;                 // bytes from the start of the workspaces to that of this instruction
  double team_ns = 1e30;                // the shortest time so far with the whole team
  double solo_ns = 1e30;                // the shortest time so far on one thread
};

// The address at which a check writes whether it failed; null if the instruction is no check.
const int64_t* guard_of(const Instruction& i);

// True for kinds of call that run on one thread in any case: IndexRange and HostCall.
bool is_for_one(const Instruction& i);

// The kind of a buffer. persistent: memory that outlives a run, such as parameters; argument, output: memory
// given for each run; temporary: a place in the arena; prepared: memory for prepared results (prepared.h).
enum class Role { persistent, argument, output, temporary, prepared };

// A block of memory that instructions use, made from a region of the recording.
struct Buffer {
  Role role;
  size_t bytes;
  char* address;              // of persistent buffers; after reserve() of temporary and prepared ones, too
  int number;                 // the number of the argument, output or prepared buffer
  int first = -1, last = -1;  // the first and the last instruction that use it; -1: none
  size_t offset = 0;          // bytes from the start of the arena (temporary) or of the block (prepared)
  int host = -1;              // of a temporary outside the arena: the gradient in which `offset` is
  bool watched = false;       // its owner calls renew() after each change
  int kept = -1;              // the number for set_kept(), or -1 where the address never changes
  bool cell = false;          // one number that belongs to the program, such as the result of a check
};

size_t place(std::vector<Buffer*> temporaries);  // see arena.cpp
// Gives a block to the system, and not to the cache, where its pages would stay.
void give_to_system(OwnBlock& block);

// The memory of an array, for Program::moved().
struct Block {
  const char* begin;
  size_t bytes;
};

// How many bytes a program uses, by kind. workspace: 0 where workspaces are in the arena.
struct ProgramMemory {
  size_t arena, workspace, persistent, prepared;
  size_t made;  // outputs, and gradients that the step leaves (Regions::kept), which are in `persistent`, too
};

// What the constructor of Program has to know of some regions of the recording (indices in
// Recording::regions).
struct Regions {
  std::vector<int> outputs;  // the results
  std::vector<int> kept;     // temporaries that outlive the run (gradients): they become persistent buffers
  std::vector<int> watched;  // watched memory
};

// All of a program except the memory that it owns. Program::moved() makes other programs of it.
struct ProgramParts {
  // Takes over the measured times, and the choice of threads by them, from a program with the same
  // instructions.
  void take_times(const ProgramParts& of_same_form);

  // A buffer whose address may change between runs (argument, output or kept), and the views that point into
  // it.
  struct Slot {
    size_t bytes = 0;
    char* data = nullptr;
    // For each view the address of its data pointer, and the bytes from the start of the buffer to its data.
    std::vector<std::pair<char**, int64_t>> views;
  };
  static constexpr double kUnknown = 1e30;

  std::vector<Instruction> instructions_;
  std::vector<Section> sections_;  // in order
  size_t lane_workspace_ = 0;      // bytes for a thread that runs a lane of a section
  bool workspaces_in_arena_ = false;
  std::vector<PreparedGroup> groups_;
  std::vector<Buffer> buffers_;  // first one for each region of the recording, then those that fuse() adds
  std::vector<std::string> places_;
  std::vector<const CallType*> recorded_calls_;
  std::vector<RegionKind> recorded_kinds_;
  std::vector<Slot> arguments_, outputs_, kept_;  // by Buffer::number; kept_ by Buffer::kept
  std::vector<int> kept_regions_;                 // the buffer of each of kept_
  ProgramMemory memory_{};
  int team_;                  // threads
  size_t prepared_ = 0;       // the number of prepared instructions, which come first
  bool alone_ = false;        // every instruction runs on one thread
  Pace pace_;                 // where not: decides whether all run on one thread for a while
  double run_ns_ = kUnknown;  // the time of a run, estimated by choose_threads()
};

class Program : private ProgramParts {
 public:
  Program(Recording&& recording, const Regions& regions, int team);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ProgramParts parts() const { return *this; }
  // A copy of a program for other arrays: persistent memory that lay in the block from[i] is in the array at
  // to[i]. Null if some persistent memory is in none of the blocks. The copy has no prepared results yet.
  static std::unique_ptr<Program> moved(const ProgramParts& parts, const std::vector<Block>& from,
                                        const std::vector<char*>& to);

  void set_argument(int number, char* data) { redirect(arguments_[number], data); }
  void set_output(int number, char* data) { redirect(outputs_[number], data); }
  size_t output_bytes(int number) const { return outputs_[number].bytes; }
  // Gives a kept buffer other memory, if the caller still holds the gradient that the last run left in it.
  void set_kept(int number, char* data);
  char* kept_address(int number) const { return buffers_[kept_regions_[number]].address; }
  // Lets the address of a persistent buffer change, too. Returns its number for set_kept().
  int let_move(int buffer);
  // Runs all instructions once. Returns the check that failed, or null. Nothing after a failed check has run,
  // and memory that outlives a run is put back as it was before the run.
  const Instruction* run();
  // The same, with all instructions on one thread or all on the team, and with their times noted.
  const Instruction* run_measured(bool solo) { return run_as(solo ? Threads::solo : Threads::team); }
  bool is_measured() const { return run_ns_ < kUnknown; }  // choose_threads() has been called
  // Takes less than 20 us: the caller keeps the GIL.
  bool is_brief() const { return alone_ && run_ns_ < 2e4; }
  // Sets another address of a buffer. The views follow at the next call of point_views(), after which
  // arguments and outputs must be set again.
  void place_at(int buffer, char* address) { buffers_[buffer].address = address; }
  void point_views();
  // Allocates the memory of temporaries, workspaces and prepared results unless the program has it; false if
  // there is none. To be called before runs, after renew(), and before arguments and outputs are set.
  bool reserve();
  // Gives the memory of temporaries and workspaces to the system until the next run, unless it is small.
  void release();
  bool is_in_section(size_t instruction) const;
  // To be called before the first run, and when watched memory has changed: the next run computes the
  // prepared results that are out of date, unless another program has them. watched: all that prepared
  // instructions read. settings: of the kernels, as bytes.
  void renew(const WatchedBuffers& watched, const std::string& settings);
  size_t prepared() const { return prepared_; }
  // Bytes of the prepared results; a block counts in equal parts for the programs that share it. May be
  // called while the program runs.
  size_t prepared_share() const;
  // From now on each instruction runs in the way, on the team or on one thread, that run_measured() found
  // faster.
  void choose_threads();
  void set_threads(bool solo);  // all instructions in the same way; for tests
  void forget_times();

  const std::vector<Instruction>& instructions() const { return instructions_; }
  const std::vector<Buffer>& buffers() const { return buffers_; }
  const std::vector<std::string>& places() const { return places_; }
  // Of the recording from which the program was made: its calls in order, and the kinds of its regions.
  const std::vector<const CallType*>& recorded_calls() const { return recorded_calls_; }
  const std::vector<RegionKind>& recorded_kinds() const { return recorded_kinds_; }
  ProgramMemory memory() const { return memory_; }

 private:
  explicit Program(const ProgramParts& parts) : ProgramParts(parts) {}
  void complete();
  enum class Threads { chosen, team, solo };  // chosen: for each instruction
  const Instruction* run_as(Threads threads);
  const Instruction* run_all(const OpenTeam& team, Threads threads);
  void run_alone(const Instruction& i, const Team& team) const;
  char* workspace_of(const Instruction& i) const;
  const Instruction* first_failed(size_t last) const;
  void run_lanes(const Section& section, const OpenTeam& team) const;
  double lanes_ns(const Section& section) const;
  double measured_ns() const;
  double moved_ns(const Instruction& i) const;
  static void redirect(Slot& slot, char* data);
  void take(Recording& recording, const Regions& regions);
  void drop_unused();
  void checks_first();
  std::vector<size_t> early_chain(size_t i) const;
  void prepared_first();
  void find_lifetimes();
  void place_temporaries();
  void free_early();
  void place_in_gradients();
  std::vector<Buffer> workspaces();
  void place_lanes(std::vector<Buffer>& workspaces);
  void place_prepared();
  std::string key_of(const PreparedGroup& group, const WatchedBuffers& watched,
                     const std::string& settings) const;
  bool reserve_prepared();
  void compute_prepared(const Team& team);
  void share_calls();
  Slot* slot_of(const Buffer& b);

  std::vector<std::unique_ptr<int64_t>> cells_;
  std::vector<std::shared_ptr<PreparedBlock>> blocks_;  // by group
  mutable std::mutex blocks_mutex_;                     // for prepared_share()
  bool has_blocks_ = false;  // the instructions point into the memory of these blocks
  std::optional<Undo> undo_;
  // The caller's floating-point settings, for a HostCall.
  FpEnvironment::Control callers_ = FpEnvironment::kKeeps;
  OwnBlock arena_, workspace_;
};

}  // namespace ranvier
