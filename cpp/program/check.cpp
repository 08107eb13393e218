// The functions of Check (see check.h), which runs a program on copies of the memory that it changes, and
// compares what it has written with what an eager run writes.
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

Check::Check(Program& program, const Around& around, bool late) : program_(program), isa_(active_isa()) {
  if (!late) updates_.emplace(program);
  place_changed();
  note_read();
  note_streams();
  if (!late) run(around);
}

// Copies the lasting memory that the program changes, and gives other memory to the gradients that it makes.
void Check::place_changed() {
  const std::vector<Instruction>& instructions = program_.instructions();
  const size_t count = updates_ ? updates_->first() : instructions.size();
  for (size_t n = 0; n < count; ++n)
    for (const Use& use : instructions[n].uses) {
      const Buffer& b = program_.buffers()[use.region];
      if (!use.view.write || b.role != Role::persistent || instructions[n].is_guard(use) ||
          places_.count(use.region))
        continue;
      Place& place = places_[use.region];
      place.block.reset(allocate(b.bytes));
      place.address = b.address;
      if (!place.block) throw std::bad_alloc();
      if (!is_made(use.region)) std::memcpy(place.block.get(), b.address, b.bytes);
    }
}

void Check::note_read() {
  std::vector<bool> changed(program_.buffers().size(), false);
  for (const Instruction& i : program_.instructions())
    for (const Use& use : i.uses)
      if (use.view.write && !i.is_guard(use)) changed[use.region] = true;
  for (const Instruction& i : program_.instructions())
    for (const Use& use : i.uses) {
      const Buffer& b = program_.buffers()[use.region];
      if (b.role != Role::persistent || changed[use.region] || i.is_guard(use)) continue;
      const Extent bytes = i.reach(use);
      const std::pair<const char*, size_t> range(b.address + bytes.low,
                                                 static_cast<size_t>(bytes.high - bytes.low));
      if (!read_.count(range)) read_[range] = checksum(range.first, range.second);
    }
}

void Check::note_streams() {
  for (const Instruction& i : program_.instructions()) {
    if (!i.as<NextKey>()) continue;
    for (const Use& use : i.uses) {
      if (!use.view.write || program_.buffers()[use.region].role != Role::persistent) continue;
      // A stream has given as many keys as its second word says.
      const char* const stream = program_.buffers()[use.region].address + use.offset;
      const int64_t* const given = reinterpret_cast<const int64_t*>(stream) + 1;
      const auto known =
          std::find_if(streams_.begin(), streams_.end(), [&](const Stream& s) { return s.given == given; });
      if (known != streams_.end())
        ++known->draws;
      else
        streams_.push_back({given, *given, 1});
    }
  }
}

// Points the program at the other memory, or back at its own. The copies include random streams: so the
// program draws from a copy, and takes no key from the stream itself, from which other threads may draw
// meanwhile.
void Check::exchange() {
  for (auto& [buffer, place] : places_) {
    char* const now = program_.buffers()[buffer].address;
    char* const other = static_cast<char*>(place.block.get());
    program_.place_at(buffer, now == other ? place.address : other);
  }
  program_.point_views();
}

// Runs the program, and keeps the fingerprints of what it has written.
void Check::run(const Around& around) {
  has_run_ = true;
  if (!program_.reserve()) throw std::bad_alloc();
  {
    const struct Exchanged {
      Check& check;
      explicit Exchanged(Check& c) : check(c) { check.exchange(); }
      ~Exchanged() { check.exchange(); }  // also if prepare() throws, as there is no memory for the results
    } exchanged(*this);
    around.prepare();
    failed_ = program_.run();
    if (!failed_) note_written();
    if (!failed_) around.made();
  }
  // In the cache, large blocks would count beside those that the eager run makes.
  constexpr size_t kLarge = size_t{1} << 20;
  for (auto& [buffer, place] : places_)
    if (program_.buffers()[buffer].bytes >= kLarge) give_to_system(place.block);
  places_.clear();
  updates_.reset();
  program_.release();
}

void Check::note_written() {
  std::map<const AnyView*, uint64_t> updated;
  if (updates_) updated = updates_->run();
  const std::vector<Instruction>& instructions = program_.instructions();
  for (size_t n = 0; n < instructions.size(); ++n)
    for (size_t k = 0; k < instructions[n].uses.size(); ++k) {
      const Instruction& i = instructions[n];
      const Use& use = i.uses[k];
      const Buffer& b = program_.buffers()[use.region];
      if (!use.view.write || is_apart(i, use) || (b.role != Role::persistent && b.role != Role::output))
        continue;
      const AnyView& view = i.view(use);
      const auto update = updated.find(&view);
      if (update != updated.end()) {
        written_.push_back({n, k, update->second, b.address});
        continue;
      }
      Fingerprint fingerprint;
      fingerprint.add(use.view.type, view, view.data);
      const auto place = places_.find(use.region);
      const char* const address = place == places_.end() ? nullptr : place->second.address;
      written_.push_back({n, k, fingerprint.value(), address});
    }
}

std::string Check::finish(const Recording* eager, const Around& around) {
  if (active_isa() != isa_) return "";
  if (eager && !other_path(program_, *eager).empty()) return "";
  for (const Instruction& i : program_.instructions())
    for (const Use& use : i.uses) {
      const Extent bytes = i.reach(use);
      const auto sum = read_.find(
          {program_.buffers()[use.region].address + bytes.low, static_cast<size_t>(bytes.high - bytes.low)});
      if (sum != read_.end() && checksum(sum->first.first, sum->first.second) != sum->second)
        return fault(i, "reads memory that the step changes without a call of the core");
    }
  if (!has_run_) run(around);
  return failed_ ? fault(*failed_, "finds a value that is out of range") : difference(eager);
}

bool Check::disturbed() const {
  return std::any_of(streams_.begin(), streams_.end(),
                     [](const Stream& stream) { return *stream.given - stream.before != stream.draws; });
}

// True if the step allocates the memory of the buffer, as that of a gradient that outlives the step.
bool Check::is_made(int buffer) const {
  const std::vector<RegionKind>& kinds = program_.recorded_kinds();
  return static_cast<size_t>(buffer) < kinds.size() && kinds[buffer] == RegionKind::temporary;
}

// By buffer: the region of the eager run that corresponds to it, for buffers that the step allocates; else
// null. The n-th temporary of the program's recording corresponds to the n-th temporary of the eager run.
std::vector<const Region*> Check::made(const Recording* eager) const {
  std::vector<const Region*> regions(program_.recorded_kinds().size(), nullptr);
  if (!eager) return regions;
  auto next = eager->regions.begin();
  for (size_t buffer = 0; buffer < regions.size(); ++buffer) {
    if (program_.recorded_kinds()[buffer] != RegionKind::temporary) continue;
    while (next != eager->regions.end() && next->kind != RegionKind::temporary) ++next;
    if (next != eager->regions.end()) regions[buffer] = &*next++;
  }
  return regions;
}

std::string Check::difference(const Recording* eager) {
  const std::vector<const Region*> regions = made(eager);
  // Where the eager run has the values of a buffer; null if it has no memory that corresponds to it.
  const auto expected = [&](int buffer, const char* address) -> const char* {
    if (is_made(buffer)) {
      const Region* r = regions[buffer];
      return r && r->bytes == program_.buffers()[buffer].bytes ? r->begin : nullptr;
    }
    // The results are temporaries of the recording, so all others are persistent buffers.
    if (!eager) return address;
    const int region = eager->find(address);
    return region >= 0 && eager->regions[region].kind == RegionKind::persistent ? address : nullptr;
  };
  complete_ = true;
  for (const Written& written : written_) {
    const Instruction& i = program_.instructions()[written.instruction];
    const Use& use = i.uses[written.use];
    const char* theirs = expected(use.region, written.address);
    if (!theirs) complete_ = false;
    if (!theirs && eager && program_.buffers()[use.region].role == Role::output)
      return fault(i, "makes a result of another size");
    if (!theirs) continue;
    Fingerprint fingerprint;
    fingerprint.add(use.view.type, i.view(use), theirs + use.offset);
    if (fingerprint.value() != written.fingerprint) return fault(i, "differs");
  }
  return "";
}

std::string Check::fault(const Instruction& i, const char* what) const {
  const auto number = &i - program_.instructions().data();
  std::string text = "instruction " + std::to_string(number) + ", " + i.type->name + ", " + what;
  return i.place < 0 ? text : text + " (" + program_.places()[i.place] + ")";
}

}  // namespace ranvier
