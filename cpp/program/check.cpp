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

bool is_persistent(const Buffer& b) { return b.role == Role::persistent && b.first >= 0; }

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

}  // namespace

void Check::Discard::operator()(char* copy) const {
  pin(copy, true);
  deallocate(copy);
  unpin(copy);
}

// A copy of bytes; uninitialised where `from` is null.
static char* copy_of(const char* from, size_t bytes) {
  char* copy = static_cast<char*>(allocate(bytes));
  if (!copy) throw std::bad_alloc();
  return from ? static_cast<char*>(std::memcpy(copy, from, bytes)) : copy;
}

Snapshot::Snapshot(const Program& program) : bytes_(program.buffers().size()) {
  for (size_t i = 0; i < bytes_.size(); ++i) {
    const Buffer& b = program.buffers()[i];
    if (is_persistent(b)) bytes_[i].assign(b.address, b.address + b.bytes);
  }
}

void Snapshot::restore(const Program& program) const {
  for (size_t i = 0; i < bytes_.size(); ++i) {
    const Buffer& b = program.buffers()[i];
    if (is_persistent(b)) std::copy(bytes_[i].begin(), bytes_[i].end(), b.address);
  }
}

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
  const std::vector<Buffer>& buffers = program.buffers();
  const std::vector<Instruction>& code = program.instructions();
  numbers_.resize(buffers.size(), -1);
  last_.resize(buffers.size(), -1);
  lasting_.resize(buffers.size());
  sums_.resize(buffers.size());
  for (size_t b = 0; b < program.recorded_kinds().size(); ++b)
    if (program.recorded_kinds()[b] == RegionKind::temporary) {
      numbers_[b] = static_cast<int>(buffers_.size());
      buffers_.push_back(static_cast<int>(b));
    }
  find_last();
  // In the program's order, each at the latest when the call is done whose work it does.
  start_.resize(code.size());
  int start = static_cast<int>(program.recorded_calls().size()) - 1;
  for (size_t i = code.size(); i-- > 0;) start_[i] = start = std::min(start, code[i].record);
  find_lasting();
  program.renew();
}

// A buffer may have several parts, such as the losses of many networks, each with its last write.
void Check::find_last() {
  const std::vector<Instruction>& code = program_.instructions();
  std::vector<std::vector<std::pair<int64_t, int64_t>>> later(last_.size());  // bytes written, by buffer
  final_.resize(code.size()), left_.resize(last_.size());
  for (size_t i = code.size(); i-- > 0;) {
    final_[i].resize(code[i].uses.size());
    for (size_t u = 0; u < code[i].uses.size(); ++u) {
      const Use& use = code[i].uses[u];
      if (!use.view.write) continue;
      const Extent e = extent(code[i].view(use), use.view.item);
      const int64_t low = use.offset + e.low, high = use.offset + e.high;
      const bool over = std::any_of(later[use.region].begin(), later[use.region].end(),
                                    [&](const auto& w) { return w.first < high && low < w.second; });
      if (last_[use.region] < 0) last_[use.region] = static_cast<int>(i);
      final_[i][u] = !over || last_[use.region] == static_cast<int>(i);
      later[use.region].emplace_back(low, high);
      left_[use.region] += final_[i][u] && !is_apart(code[i], use);
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
  const Extent reach = extent(i.view(use), use.view.item);
  return {buffer(use).address + use.offset + reach.low, static_cast<size_t>(reach.high - reach.low)};
}

// Whether something else than a call of the core has changed what the instruction is about to read.
bool Check::is_changed(const Instruction& i, const Use& use) const {
  const Lasting& l = lasting_[use.region];
  if (l.own) return l.changed;
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
  waiting_.clear();
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

char* Check::memory(const Instruction& i, const Use& use) const {
  return is_lasting(i, use) ? lasting_[use.region].at : i.view(use).data - use.offset;
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
  if (region && region->bytes == b.bytes) return region->begin;
  blame(i, "makes " + std::to_string(b.bytes) + " bytes where the step made " +
               std::to_string(region ? region->bytes : 0));
  return nullptr;
}

// From now on the program has a copy, since the eager run or the program is about to change this memory.
void Check::take(int number) {
  Lasting& l = lasting_[number];
  if (l.own) return;
  const size_t bytes = program_.buffers()[number].bytes;
  l.own.reset(copy_of(l.at, bytes));
  if (l.at) {
    at_.erase(l.at);
    l.changed = checksum(l.own.get(), bytes) != l.sum;
  }
  l.at = l.own.get();
}

// Ends what take() began where the eager run has the same bytes.
void Check::share(int number, const char* theirs) {
  Lasting& l = lasting_[number];
  const size_t bytes = program_.buffers()[number].bytes;
  if (!l.own || std::memcmp(l.own.get(), theirs, bytes) != 0) return;
  l = {const_cast<char*>(theirs), nullptr, checksum(theirs, bytes), false};
  at_[theirs] = number;
}

void Check::before(const Record& call) {
  if (stopped_) return;
  const size_t number = eager_.records.size();
  const std::vector<const CallType*>& recorded = program_.recorded_calls();
  if (number >= recorded.size() || recorded[number] != call.type || active_isa() != isa_) return stop();
  advance(static_cast<int>(number) - 1);
  for (const Use& use : call.uses) {
    if (stopped_ || !use.view.write) continue;
    const auto found = at_.find(eager_.regions[use.region].begin);
    if (found != at_.end() && last_[found->second] >= 0) take(found->second);
  }
}

std::string Check::finish() {
  if (!stopped_ && eager_.records.size() == program_.recorded_calls().size() && active_isa() == isa_) {
    advance(static_cast<int>(eager_.records.size()) - 1);
    if (!stopped_) see_the_end();
  }
  stop();
  return fault_;
}

// The eager run has made its calls up to number `done`.
void Check::advance(int done) {
  done_ = done;
  for (; scanned_ < eager_.regions.size(); ++scanned_)
    if (eager_.regions[scanned_].kind == RegionKind::temporary) made_.push_back(static_cast<int>(scanned_));
  std::vector<Waiting> all;
  all.swap(waiting_);  // stop() releases those that wait
  for (Waiting& w : all) {
    if (!stopped_ && program_.instructions()[w.instruction].record > done) {
      waiting_.push_back(std::move(w));
      continue;
    }
    if (!stopped_) compare_results(w.instruction, w.copies);
    w.copies.clear();
  }
  for (; !stopped_ && next_ < start_.size() && start_[next_] <= done; ++next_) {
    run(next_);
    if (!stopped_ && program_.instructions()[next_].record > done)
      wait(next_);
    else if (!stopped_)
      compare_results(next_, {});
  }
}

void Check::run(size_t number) {
  const Instruction& i = program_.instructions()[number];
  for (const Use& use : i.uses)
    if (is_lasting(i, use) && (use.view.write || !lasting_[use.region].at)) take(use.region);
  for (const Use& use : i.uses) {
    if (use.view.write || !is_lasting(i, use) || !is_changed(i, use)) continue;
    return blame(number, "reads memory that the step changes without a call of the core");
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

void Check::wait(size_t number) {
  const Instruction& i = program_.instructions()[number];
  Waiting w{number, std::vector<Copy>(i.uses.size())};
  for (size_t u = 0; u < i.uses.size(); ++u) {
    const Use& use = i.uses[u];
    const Buffer& b = buffer(use);
    if (!final_[number][u] || b.role != Role::temporary) continue;
    const Extent e = extent(i.view(use), use.view.item);
    w.copies[u].reset(copy_of(memory(i, use) + use.offset + e.low, e.high - e.low));
  }
  waiting_.push_back(std::move(w));
}

void Check::compare_results(size_t number, const std::vector<Copy>& copies) {
  const Instruction& i = program_.instructions()[number];
  Difference difference;
  for (size_t u = 0; u < i.uses.size() && !stopped_; ++u) {
    const Use& use = i.uses[u];
    if (!final_[number][u] || is_apart(i, use)) continue;
    const char* theirs = expected(number, use);
    if (!theirs || is_free(i, use.view)) continue;
    const AnyView& view = i.view(use);
    const char* ours = memory(i, use) + use.offset;
    if (u < copies.size() && copies[u]) ours = copies[u].get() - extent(view, use.view.item).low;
    compare(use.view.type, view, ours, theirs + use.offset, difference);
  }
  if (difference.found)
    blame(number, "differs by " + std::to_string(difference.relative()) + " of the largest element");
  if (!stopped_) settle(number);
}

// After its results have been compared: memory of the eager run that is not needed any more is let go.
void Check::settle(size_t number) {
  const Instruction& i = program_.instructions()[number];
  for (size_t u = 0; u < i.uses.size(); ++u) {
    const Use& use = i.uses[u];
    if (!use.view.write || is_apart(i, use)) continue;
    const char* theirs = expected(number, use);
    const Buffer& b = buffer(use);
    const bool last = final_[number][u] && --left_[use.region] == 0;
    if (!theirs) continue;
    if (b.role == Role::persistent) {
      if (last || numbers_[use.region] >= 0) share(use.region, theirs);
    } else if (last) {
      if (b.role == Role::output)
        sums_[use.region] = checksum(theirs, b.bytes);
      else
        allow_discard(const_cast<char*>(theirs));
    }
  }
}

// Results, and state that the program writes, are still what they were when they were compared.
void Check::see_the_end() {
  for (size_t b = 0; b < last_.size() && !stopped_; ++b) {
    if (last_[b] < 0) continue;
    const Buffer& buffer = program_.buffers()[b];
    const Lasting& l = lasting_[b];
    bool same = true;
    if (buffer.role == Role::output && numbers_[b] >= 0)
      same = checksum(eager_.regions[made_[numbers_[b]]].begin, buffer.bytes) == sums_[b];
    else if (buffer.role == Role::persistent && l.at && !l.own)
      same = checksum(l.at, buffer.bytes) == l.sum;
    if (!same)
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
