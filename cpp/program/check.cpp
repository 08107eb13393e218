#include "program/check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "base/loop_nest.h"
#include "kernels/conv2d_pool/conv2d_pool.h"
#include "kernels/dropout/dropout.h"
#include "kernels/norm/batch_norm.h"

namespace ranvier {
namespace {

bool is_persistent(const Buffer& b) { return b.role == Role::persistent && b.first >= 0; }

// The buffers that are random streams. Other Python threads draw from them too, also during a check, so they
// are never set back: that would give a key twice.
std::vector<bool> streams_of(const Program& program) {
  std::vector<bool> streams(program.buffers().size());
  for (const Instruction& i : program.instructions())
    if (i.as<NextKey>())
      for (const Use& use : i.uses)
        if (is_persistent(program.buffers()[use.region])) streams[use.region] = true;
  return streams;
}

// The eager run's region for each of the program's buffers, or -1: persistent memory by address, temporaries
// by their number.
std::vector<int> regions_of(const Program& program, const Recording& eager) {
  std::vector<int> made;
  std::map<const char*, int> lasting;
  for (size_t i = 0; i < eager.regions.size(); ++i) {
    if (eager.regions[i].kind == RegionKind::temporary) made.push_back(static_cast<int>(i));
    if (eager.regions[i].kind == RegionKind::persistent)
      lasting[eager.regions[i].begin] = static_cast<int>(i);
  }
  std::vector<int> regions(program.buffers().size(), -1);
  size_t next = 0;
  for (size_t i = 0; i < program.recorded_kinds().size(); ++i) {
    const Buffer& b = program.buffers()[i];
    if (program.recorded_kinds()[i] == RegionKind::temporary) {
      if (next < made.size()) regions[i] = made[next++];
    } else if (b.role == Role::persistent) {
      const auto found = lasting.find(b.address);
      if (found != lasting.end()) regions[i] = found->second;
    }
  }
  return regions;
}

// Takes the key that the eager run drew, in place of the stream's next one; false where there is none.
bool takes_key(const Instruction& i, const std::vector<int>& regions, const Recording& eager) {
  const NextKey* call = i.as<NextKey>();
  if (call == nullptr) return false;
  for (const Use& use : i.uses) {
    const int region = regions[use.region];
    if (region < 0 || eager.regions[region].kind != RegionKind::temporary) continue;
    std::memcpy(call->key.data, eager.regions[region].begin + use.offset, 2 * sizeof(int64_t));
    return true;
  }
  return false;
}

// The last recorded call that writes each of the eager run's regions.
std::vector<int> last_writes(const Recording& eager) {
  std::vector<int> last(eager.regions.size(), -1);
  for (size_t i = 0; i < eager.records.size(); ++i)
    for (const Use& use : eager.records[i].uses)
      if (use.view.write) last[use.region] = static_cast<int>(i);
  return last;
}

// The offsets of maxima that a ReLU cuts off: no gradient passes there, and they may be others.
bool is_free(const Instruction& i, const View& view) {
  const auto* pooled = i.as<Conv2dPoolForward<float>>();
  const auto* norm = i.as<BatchNormForward<float>>();
  const bool relu = (pooled && pooled->activation == Conv2dActivation::relu) || (norm && norm->relu);
  return relu && view.type == 'B';
}

// The largest difference, and the largest element, of all that one instruction writes; two NaN are equal.
struct Difference {
  double largest = 0, size = 0;
  bool found = false;  // also where it is 0 and -0
  double relative() const { return largest == 0 ? 0 : largest / std::max(size, 1e-30); }

  template <class T>
  void see(const char* a, const char* b) {
    T x, y;
    std::memcpy(&x, a, sizeof x);
    std::memcpy(&y, b, sizeof y);
    if (std::memcmp(a, b, sizeof x) == 0) {
      if (std::isfinite(static_cast<double>(y))) size = std::max(size, std::fabs(static_cast<double>(y)));
      return;
    }
    const double d = std::fabs(static_cast<double>(x) - static_cast<double>(y));
    size = std::max(size, std::fabs(static_cast<double>(y)));
    if (x != x && y != y) return;
    found = true;
    largest = std::max(largest, d == d ? d : HUGE_VAL);
  }
};

template <class T>
void compare(const AnyView& v, const char* a, const char* b, Difference& difference) {
  const LoopNest<1> nest(v.ndim, v.shape, {v.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  nest.walk(0, nest.size, [&](int64_t n, const int64_t* offsets) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = (offsets[0] + i * step) * static_cast<int64_t>(sizeof(T));
      difference.see<T>(a + at, b + at);
    }
  });
}

void compare(char type, const AnyView& v, const char* a, const char* b, Difference& difference) {
  if (type == 'f') return compare<float>(v, a, b, difference);
  if (type == 'd') return compare<double>(v, a, b, difference);
  if (type == 'l') return compare<int64_t>(v, a, b, difference);
  if (type == 'i') return compare<int32_t>(v, a, b, difference);
  compare<uint8_t>(v, a, b, difference);
}

}  // namespace

Snapshot::Snapshot(const Program& program) : bytes_(program.buffers().size()), streams_(streams_of(program)) {
  for (size_t i = 0; i < bytes_.size(); ++i) {
    const Buffer& b = program.buffers()[i];
    if (is_persistent(b)) bytes_[i].assign(b.address, b.address + b.bytes);
  }
}

void Snapshot::restore(const Program& program, bool streams) const {
  for (size_t i = 0; i < bytes_.size(); ++i) {
    const Buffer& b = program.buffers()[i];
    if (is_persistent(b) && (streams || !streams_[i]))
      std::copy(bytes_[i].begin(), bytes_[i].end(), b.address);
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

std::string check(Program& program, const Snapshot& before, const Recording& eager) {
  const std::vector<int> regions = regions_of(program, eager), eager_last = last_writes(eager);
  const Snapshot after(program);
  const std::vector<Instruction>& code = program.instructions();
  std::map<int, size_t> last;  // instruction that writes a buffer last
  for (size_t i = 0; i < code.size(); ++i)
    for (const Use& use : code[i].uses)
      if (use.view.write) last[use.region] = i;
  std::string fault;
  before.restore(program, false);
  program.renew();
  for (size_t i = 0; i < code.size() && fault.empty(); ++i) {
    if (takes_key(code[i], regions, eager)) continue;
    program.run_one(i);
    Difference difference;
    for (const Use& use : code[i].uses) {
      if (!use.view.write) continue;
      const int region = regions[use.region];
      if (last[use.region] != i || region < 0 || is_free(code[i], use.view)) continue;
      // the eager run changed it once more, by a call that was dropped as unused
      if (code[i].record < eager_last[region]) continue;
      const bool made = eager.regions[region].kind == RegionKind::temporary;
      const char* expected = made ? eager.regions[region].begin : after.of(use.region);
      const AnyView& v = *reinterpret_cast<const AnyView*>(code[i].call.get() + use.view.position);
      compare(use.view.type, v, v.data, expected + use.offset, difference);
    }
    if (!difference.found) continue;
    fault = "instruction " + std::to_string(i) + ", " + code[i].type->name + ", differs by " +
            std::to_string(difference.relative()) + " of the largest element";
    if (code[i].place >= 0) fault += " (" + program.places()[code[i].place] + ")";
  }
  after.restore(program, false);
  program.renew();
  return fault;
}

}  // namespace ranvier
