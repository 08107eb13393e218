// The functions of Check (see check.h), which runs a program on copies of the memory that it changes, and
// compares it with an eager run.
#include "program/check.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/allocator.h"
#include "kernels/dropout/dropout.h"

namespace ranvier {
namespace {

// True for memory that is not compared: the number that a check of values writes (Instruction::guard), and
// the key and the stream of a draw (NextKey), which differ if another thread draws from the stream during the
// eager run.
bool is_apart(const Instruction& i, const Use& use) { return i.is_guard(use) || i.as<NextKey>(); }

}  // namespace

std::string other_path(const Program& program, const Recording& eager) {
  const std::vector<const CallType*>& recorded = program.recorded_calls();
  const size_t n = std::min(recorded.size(), eager.records.size());
  for (size_t i = 0; i < n; ++i)
    if (recorded[i] != eager.records[i].type)
      return std::string("call ") + std::to_string(i) + " is now " + eager.records[i].type->name + ", was " +
             recorded[i]->name;
  if (recorded.size() != eager.records.size())
    return "it now makes " + std::to_string(eager.records.size()) + " calls, made " +
           std::to_string(recorded.size());
  return "";
}

// Copies the lasting memory that the program changes, and notes checksums of the memory that it only reads.
Check::Check(Program& program, const Recording* eager)
    : program_(program), eager_(eager), isa_(active_isa()) {
  for (const Instruction& i : program.instructions())
    for (const Use& use : i.uses) {
      const Buffer& b = program.buffers()[use.region];
      if (!use.view.write || b.role != Role::persistent || i.is_guard(use) || is_made(use.region) ||
          changed_.count(use.region))
        continue;
      Place& place = changed_[use.region];
      place.copy.reset(allocate(b.bytes));
      place.address = b.address;
      if (!place.copy) throw std::bad_alloc();
      std::memcpy(place.copy.get(), b.address, b.bytes);
    }
  for (const Instruction& i : program.instructions())
    for (const Use& use : i.uses) {
      const Buffer& b = program.buffers()[use.region];
      if (b.role != Role::persistent || changed_.count(use.region) || i.is_guard(use) || is_made(use.region))
        continue;
      const Extent bytes = i.reach(use);
      const std::pair<const char*, size_t> range(b.address + bytes.low,
                                                 static_cast<size_t>(bytes.high - bytes.low));
      if (!read_.count(range)) read_[range] = checksum(range.first, range.second);
    }
}

// Points the program at the copies, or back at its own memory. The copies include random streams: so the
// program draws from a copy, and takes no key from the stream itself, from which other threads may draw
// meanwhile.
void Check::exchange() {
  for (auto& [buffer, place] : changed_) {
    char* const now = program_.buffers()[buffer].address;
    char* const copy = static_cast<char*>(place.copy.get());
    char* const other = now == copy ? place.address : copy;
    program_.place_at(buffer, other);
  }
  program_.point_views();
  program_.renew();  // the prepared results, too, are computed from this memory
}

std::string Check::finish(const std::function<void()>& prepare) {
  if (active_isa() != isa_) return "";
  if (eager_ && !other_path(program_, *eager_).empty()) return "";
  for (const Instruction& i : program_.instructions())
    for (const Use& use : i.uses) {
      const Extent bytes = i.reach(use);
      const auto sum = read_.find(
          {program_.buffers()[use.region].address + bytes.low, static_cast<size_t>(bytes.high - bytes.low)});
      if (sum != read_.end() && checksum(sum->first.first, sum->first.second) != sum->second)
        return fault(i, "reads memory that the step changes without a call of the core");
    }
  const struct Exchanged {
    Check& check;
    explicit Exchanged(Check& c) : check(c) { check.exchange(); }
    ~Exchanged() { check.exchange(); }  // also if prepare() throws, since there is no memory for the results
  } exchanged(*this);
  prepare();
  const Instruction* failed = program_.run();
  return failed ? fault(*failed, "finds a value that is out of range") : difference();
}

bool Check::disturbed() const {
  for (const auto& [buffer, place] : changed_) {
    int64_t draws = 0;  // the keys that one run takes from the stream in this buffer
    int64_t begin = 0;  // bytes from the start of the buffer to the stream
    for (const Instruction& i : program_.instructions())
      for (const Use& use : i.uses)
        if (i.as<NextKey>() && use.region == buffer && use.view.write) {
          ++draws;
          begin = use.offset;
        }
    const auto given = [&](const char* stream) {  // how many keys the stream has given: its second word
      return reinterpret_cast<const int64_t*>(stream + begin)[1];
    };
    const char* const before = static_cast<const char*>(place.copy.get());
    if (draws && given(place.address) - given(before) != draws) return true;
  }
  return false;
}

// True if the step allocates the memory of the buffer, as that of a gradient that outlives the step.
bool Check::is_made(int buffer) const {
  const std::vector<RegionKind>& kinds = program_.recorded_kinds();
  return static_cast<size_t>(buffer) < kinds.size() && kinds[buffer] == RegionKind::temporary;
}

// By buffer: the region of the eager run that corresponds to it, for buffers that the step allocates; else
// null. The n-th temporary of the program's recording corresponds to the n-th temporary of the eager run.
std::vector<const Region*> Check::made() const {
  std::vector<const Region*> regions(program_.recorded_kinds().size(), nullptr);
  if (!eager_) return regions;
  auto next = eager_->regions.begin();
  for (size_t buffer = 0; buffer < regions.size(); ++buffer) {
    if (program_.recorded_kinds()[buffer] != RegionKind::temporary) continue;
    while (next != eager_->regions.end() && next->kind != RegionKind::temporary) ++next;
    if (next != eager_->regions.end()) regions[buffer] = &*next++;
  }
  return regions;
}

std::string Check::difference() {
  const std::vector<const Region*> regions = made();
  // Where the eager run has the values of a buffer; null if it has no memory that corresponds to it.
  const auto expected = [&](int buffer) -> const char* {
    if (is_made(buffer)) {
      const Region* r = regions[buffer];
      return r && r->bytes == program_.buffers()[buffer].bytes ? r->begin : nullptr;
    }
    // The results are temporaries of the recording, so all others are persistent buffers.
    const char* address = changed_.at(buffer).address;
    if (!eager_) return address;
    const int region = eager_->find(address);
    return region >= 0 && eager_->regions[region].kind == RegionKind::persistent ? address : nullptr;
  };
  complete_ = true;
  for (const Instruction& i : program_.instructions())
    for (const Use& use : i.uses) {
      const Role role = program_.buffers()[use.region].role;
      if (!use.view.write || is_apart(i, use) || (role != Role::persistent && role != Role::output)) continue;
      const char* theirs = expected(use.region);
      if (!theirs) complete_ = false;
      if (role == Role::output && !theirs && eager_) return fault(i, "makes a result of another size");
      if (theirs && differ(use.view.type, i.view(use), i.view(use).data, theirs + use.offset))
        return fault(i, "differs");
    }
  return "";
}

std::string Check::fault(const Instruction& i, const char* what) const {
  const auto number = &i - program_.instructions().data();
  std::string text = "instruction " + std::to_string(number) + ", " + i.type->name + ", " + what;
  return i.place < 0 ? text : text + " (" + program_.places()[i.place] + ")";
}

}  // namespace ranvier
