#include "program/check.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/allocator.h"
#include "kernels/conv2d_pool/conv2d_pool.h"
#include "kernels/dropout/dropout.h"
#include "kernels/norm/batch_norm.h"

namespace ranvier {
namespace {

// The offsets of maxima that a ReLU cuts off: no gradient passes there, and they may be others.
bool is_free(const Instruction& i, const View& view) {
  const auto* pooled = i.as<Conv2dPoolForward<float>>();
  const auto* norm = i.as<BatchNormForward<float>>();
  const bool relu = (pooled && pooled->activation == Conv2dActivation::relu) || (norm && norm->relu);
  return relu && view.type == 'B';
}

// What a program has for itself, and what is not compared: the number that a check of values writes, a key
// of the random stream, and the stream.
bool is_apart(const Instruction& i, const Use& use) { return i.is_guard(use) || i.as<NextKey>(); }

const std::string kUnseen = "memory that the step changes without a call of the core";

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

Check::Check(Program& program, Recording& eager) : program_(program), eager_(eager), isa_(active_isa()) {
  const size_t buffers = program.buffers().size();
  numbers_.resize(buffers, -1), last_.resize(buffers, -1), left_.resize(buffers), complete_.resize(buffers),
      lasting_.resize(buffers);
  for (size_t b = 0; b < program.recorded_kinds().size(); ++b)
    if (program.recorded_kinds()[b] == RegionKind::temporary) {
      numbers_[b] = static_cast<int>(buffers_.size());
      buffers_.push_back(static_cast<int>(b));
    }
  find_last();
  int start = -1;
  for (const Instruction& i : program.instructions()) start_.push_back(start = std::max(start, i.record));
  find_lasting();
  program.renew();
}

// A buffer may have several parts, such as the losses of many networks, each with its last write.
void Check::find_last() {
  const std::vector<Instruction>& code = program_.instructions();
  std::vector<std::vector<Extent>> later(last_.size());  // bytes written, by buffer
  final_.resize(code.size());
  for (size_t i = code.size(); i-- > 0;) {
    for (const Use& use : code[i].uses) {
      const Extent bytes = code[i].reach(use);
      std::vector<Extent>& others = later[use.region];
      const bool over =
          std::any_of(others.begin(), others.end(), [&](const Extent& e) { return e.meets(bytes); });
      if (use.view.write && last_[use.region] < 0) last_[use.region] = static_cast<int>(i);
      final_[i].push_back(use.view.write && (!over || last_[use.region] == static_cast<int>(i)));
      if (use.view.write) others.push_back(bytes);
      if (!final_[i].back() || is_apart(code[i], use)) continue;
      ++left_[use.region];
      complete_[use.region] = std::max(complete_[use.region], code[i].record);
    }
  }
}

void Check::find_lasting() {
  for (const Instruction& i : program_.instructions())
    for (const Use& use : i.uses) {
      if (!is_lasting(i, use) || numbers_[use.region] >= 0) continue;  // the step makes that first
      const Buffer& b = buffer(use);
      Lasting& l = lasting_[use.region];
      if (last_[use.region] < 0) {
        const Range range = read_from(i, use);
        if (!read_.count(range)) read_[range] = checksum(range.first, range.second);
      } else if (!l.at) {
        l.sum = checksum(b.address, b.bytes);
      }
      l.at = b.address;
      at_[l.at] = use.region;
    }
}

// Of memory that the program does not write.
Check::Range Check::read_from(const Instruction& i, const Use& use) const {
  const Extent bytes = i.reach(use);
  return {buffer(use).address + bytes.low, static_cast<size_t>(bytes.high - bytes.low)};
}

// Whether something else than a call of the core has changed what the instruction is about to read.
bool Check::is_changed(const Instruction& i, const Use& use) const {
  const Lasting& l = lasting_[use.region];
  if (l.own) return false;
  if (last_[use.region] >= 0) return checksum(l.at, buffer(use).bytes) != l.sum;
  const Range range = read_from(i, use);
  return checksum(range.first, range.second) != read_.at(range);
}

Check::~Check() {
  stop();
  program_.renew();
}

void Check::stop() {
  stopped_ = true;
  for (Lasting& l : lasting_) l.own.reset();
  kept_.clear();
}

bool Check::compares(size_t number) const {
  return !stopped_ && number < buffers_.size() && last_[buffers_[number]] >= 0;
}

bool Check::is_lasting(const Instruction& i, const Use& use) const {
  return buffer(use).role == Role::persistent && !is_apart(i, use);
}

// Takes the key that the eager run has drawn. Other Python threads draw from the stream too, also during a
// check: it is neither read nor set back, so that no key is given twice.
void Check::take_key(size_t number, const NextKey& call) {
  const Instruction& i = program_.instructions()[number];
  for (const Use& use : i.uses)
    if (numbers_[use.region] >= 0)
      if (const char* theirs = expected(number, use))
        std::memcpy(call.key.data, theirs + use.offset, 2 * sizeof(int64_t));
}

// Where the eager run has written what instruction i writes there; null: nowhere.
const char* Check::expected(size_t i, const Use& use) {
  const Buffer& b = buffer(use);
  const int number = numbers_[use.region];
  if (number < 0) {
    const int region = b.role == Role::persistent ? eager_.find(b.address) : -1;
    return region >= 0 && eager_.regions[region].kind == RegionKind::persistent ? b.address : nullptr;
  }
  const bool made = static_cast<size_t>(number) < made_.size();
  const Region* region = made ? &eager_.regions[made_[number]] : nullptr;
  const auto kept = kept_.find(use.region);
  if (region && region->bytes == b.bytes)
    return kept == kept_.end() ? region->begin : static_cast<const char*>(kept->second.get());
  blame(i, "makes " + std::to_string(b.bytes) + " bytes where the step made " +
               std::to_string(region ? region->bytes : 0));
  return nullptr;
}

// From now on the program has a copy, since the eager run or the program is about to change this memory.
void Check::take(int number) {
  Lasting& l = lasting_[number];
  if (l.own) return;
  const size_t bytes = program_.buffers()[number].bytes;
  l.own.reset(allocate(bytes));
  if (!l.own) throw std::bad_alloc();
  if (l.at) {
    at_.erase(l.at);
    if (checksum(l.at, bytes) != l.sum) return blame(next_, "reads " + kUnseen);
    std::memcpy(l.own.get(), l.at, bytes);
  }
  l.at = static_cast<char*>(l.own.get());
}

// Ends what take() began where the eager run has the same bytes.
void Check::share(int number, const char* theirs) {
  Lasting& l = lasting_[number];
  const size_t bytes = program_.buffers()[number].bytes;
  if (!l.own || std::memcmp(l.own.get(), theirs, bytes) != 0) return;
  l = {const_cast<char*>(theirs), nullptr, checksum(theirs, bytes)};
  at_[theirs] = number;
}

bool Check::is_same_path(const CallType* type) const {
  const std::vector<const CallType*>& recorded = program_.recorded_calls();
  const size_t number = eager_.records.size();
  return (number < recorded.size() ? recorded[number] : nullptr) == type && active_isa() == isa_;
}

void Check::before(const Record& call) {
  if (stopped_) return;
  if (!is_same_path(call.type)) return stop();
  advance(static_cast<int>(eager_.records.size()) - 1);
  for (const Use& use : call.uses) {
    if (stopped_ || !use.view.write) continue;
    const auto found = at_.find(eager_.regions[use.region].begin);
    if (found != at_.end() && last_[found->second] >= 0) take(found->second);
    keep_result(use.region);
  }
}

// A call that the program leaves out, as nothing reads what it writes, changes a result that is not compared
// yet.
void Check::keep_result(int region) {
  const auto made = std::lower_bound(made_.begin(), made_.end(), region);
  if (made == made_.end() || *made != region || static_cast<size_t>(made - made_.begin()) >= buffers_.size())
    return;
  const int b = buffers_[made - made_.begin()];
  if (left_[b] == 0 || static_cast<size_t>(complete_[b]) >= eager_.records.size() || kept_.count(b)) return;
  const Region& r = eager_.regions[region];
  kept_[b].reset(allocate(r.bytes));
  if (!kept_[b]) throw std::bad_alloc();
  std::memcpy(kept_[b].get(), r.begin, r.bytes);
}

std::string Check::finish() {
  if (!stopped_ && is_same_path(nullptr)) {
    advance(static_cast<int>(eager_.records.size()) - 1);
    if (!stopped_) see_the_end();
  }
  stop();
  return fault_;
}

// The eager run has made its calls up to number `done`.
void Check::advance(int done) {
  for (; scanned_ < eager_.regions.size(); ++scanned_)
    if (eager_.regions[scanned_].kind == RegionKind::temporary) made_.push_back(static_cast<int>(scanned_));
  for (; !stopped_ && next_ < start_.size() && start_[next_] <= done; ++next_) {
    run(next_);
    if (!stopped_) compare_results(next_);
  }
}

void Check::run(size_t number) {
  const Instruction& i = program_.instructions()[number];
  for (const Use& use : i.uses) {
    if (!is_lasting(i, use)) continue;
    if (use.view.write || !lasting_[use.region].at) take(use.region);
    if (!stopped_ && !use.view.write && is_changed(i, use)) blame(number, "reads " + kUnseen);
    if (stopped_) return;
  }
  for (const Use& use : i.uses)
    if (is_lasting(i, use)) i.view(use).data = lasting_[use.region].at + use.offset;
  if (const NextKey* call = i.as<NextKey>())
    take_key(number, *call);
  else
    program_.run_one(number);
  for (const Use& use : i.uses)
    if (is_lasting(i, use)) i.view(use).data = buffer(use).address + use.offset;
  if (i.guard && *i.guard) blame(number, "finds a value that is out of range");
}

void Check::compare_results(size_t number) {
  const Instruction& i = program_.instructions()[number];
  for (size_t u = 0; u < i.uses.size() && !stopped_; ++u) {
    const Use& use = i.uses[u];
    if (!use.view.write || is_apart(i, use)) continue;
    const char* theirs = expected(number, use);
    if (!theirs) continue;
    const AnyView& view = i.view(use);
    const char* ours = is_lasting(i, use) ? lasting_[use.region].at + use.offset : view.data;
    if (final_[number][u] && !is_free(i, use.view) && differ(use.view.type, view, ours, theirs + use.offset))
      blame(number, "differs");
    else
      settle(use, final_[number][u] && --left_[use.region] == 0, theirs);
  }
}

// What an instruction has written is as `theirs`: what is not needed any more is let go.
void Check::settle(const Use& use, bool last, const char* theirs) {
  const Buffer& b = buffer(use);
  if (b.role == Role::persistent)
    share(use.region, theirs);
  else if (last && b.role == Role::output)
    lasting_[use.region] = {const_cast<char*>(theirs), nullptr, checksum(theirs, b.bytes)};
  else if (last)
    allow_discard(eager_.regions[made_[numbers_[use.region]]].begin), kept_.erase(use.region);
}

// Results, and state that the program writes, are still what they were when they were compared.
void Check::see_the_end() {
  for (size_t b = 0; b < last_.size() && !stopped_; ++b) {
    const Lasting& l = lasting_[b];
    if (last_[b] >= 0 && l.at && !l.own && checksum(l.at, program_.buffers()[b].bytes) != l.sum)
      blame(static_cast<size_t>(last_[b]), "has a result that the step changes without a call of the core");
  }
}

void Check::blame(size_t number, const std::string& what) {
  const Instruction& i = program_.instructions()[number];
  fault_ = "instruction " + std::to_string(number) + ", " + i.type->name + ", " + what;
  if (i.place >= 0) fault_ += " (" + program_.places()[i.place] + ")";
  stop();
}

}  // namespace ranvier
