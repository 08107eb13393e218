// Places the temporaries of a program in one block of memory, the arena, and in the gradients that the step
// leaves. Temporaries whose lifetimes (in instructions, Buffer::first to last) do not overlap may share
// bytes. Program does that once, when it is made.
#include <algorithm>
#include <utility>

#include "program/program.h"

namespace ranvier {

// Sets the offset of each temporary, a multiple of a cache line, and returns the bytes of the block. The
// largest temporary is placed first. Each is placed at the lowest offset at which the bytes are free during
// its lifetime.
size_t place(std::vector<Buffer*> temporaries) {
  constexpr size_t kLine = 64;
  std::stable_sort(temporaries.begin(), temporaries.end(),
                   [](const Buffer* a, const Buffer* b) { return a->bytes > b->bytes; });
  std::vector<const Buffer*> placed;  // sorted by offset
  size_t total = 0;
  for (Buffer* buffer : temporaries) {
    size_t offset = 0;
    for (const Buffer* other : placed) {
      const bool at_other_times = other->last < buffer->first || buffer->last < other->first;
      if (at_other_times) continue;
      if (other->offset >= offset + buffer->bytes) break;  // it fits into the gap before `other`
      const size_t end = other->offset + other->bytes;
      offset = std::max(offset, (end + kLine - 1) / kLine * kLine);
    }
    buffer->offset = offset;
    total = std::max(total, offset + buffer->bytes);
    const auto is_lower = [](const Buffer* a, const Buffer* b) { return a->offset < b->offset; };
    const auto place = std::upper_bound(placed.begin(), placed.end(), buffer, is_lower);
    placed.insert(place, buffer);
  }
  return total;
}

// True if two instructions may change places.
static bool are_apart(const Instruction& a, const Instruction& b) {
  if (a.guard || b.guard) return false;
  for (const Use& one : a.uses)
    for (const Use& other : b.uses)
      if (one.region == other.region && (one.view.write || other.view.write)) return false;
  return true;
}

// Exchanges neighbouring instructions where that saves much memory: the second lets go of a temporary before
// the first makes one. So in the backward pass of a layer, the gradient of the weights comes before that of
// the input.
void Program::free_early() {
  constexpr int64_t kMuch = int64_t{1} << 20;  // bytes
  if (!sections_.empty()) return;
  // The bytes of the temporaries of an instruction for which is_counted(buffer).
  const auto bytes = [&](const Instruction& i, const auto& is_counted) {
    int64_t sum = 0;
    std::vector<int> seen;
    for (const Use& use : i.uses) {
      const Buffer& b = buffers_[use.region];
      if (b.role != Role::temporary || !is_counted(b)) continue;
      if (std::find(seen.begin(), seen.end(), use.region) != seen.end()) continue;
      seen.push_back(use.region);
      sum += static_cast<int64_t>(b.bytes);
    }
    return sum;
  };
  const auto uses = [&](const Instruction& i, const Buffer& b) {
    const auto is_of = [&](const Use& use) { return &buffers_[use.region] == &b; };
    return std::any_of(i.uses.begin(), i.uses.end(), is_of);
  };
  for (size_t n = prepared_; n + 1 < instructions_.size(); ++n) {
    Instruction& a = instructions_[n];
    Instruction& b = instructions_[n + 1];
    const int first = static_cast<int>(n);
    const int second = first + 1;
    const int64_t made_by_a = bytes(a, [&](const Buffer& x) { return x.first == first; });
    const int64_t freed_by_b = bytes(b, [&](const Buffer& x) { return x.last == second && !uses(a, x); });
    if (made_by_a < kMuch || freed_by_b < kMuch || !are_apart(a, b)) continue;
    const int64_t made_by_b = bytes(b, [&](const Buffer& x) { return x.first == second; });
    const int64_t freed_by_a = bytes(a, [&](const Buffer& x) { return x.last == first; });
    const int64_t most = std::max(made_by_a, made_by_a - freed_by_a + made_by_b);
    const int64_t exchanged = std::max(made_by_b, made_by_b - freed_by_b + made_by_a);
    if (most - exchanged < kMuch) continue;
    const auto move = [&](const Instruction& i, const Instruction& other, int from, int to) {
      for (const Use& use : i.uses) {
        Buffer& x = buffers_[use.region];
        if (uses(other, x)) continue;
        if (x.first == from) x.first = to;
        if (x.last == from) x.last = to;
      }
    };
    move(a, b, first, second);
    move(b, a, second, first);
    std::swap(a, b);
  }
}

// Places large temporaries in gradients that the step leaves: nobody needs the values of the last step
// (Gradient::is_held in bindings/replay/array_program.h) until an instruction writes the new ones. But they
// stay until the last check of values, since a run that ends at a check has changed nothing (undo.h).
void Program::place_in_gradients() {
  constexpr size_t kLarge = size_t{1} << 18;  // bytes
  if (!sections_.empty()) return;
  auto earliest = static_cast<int>(prepared_);
  for (size_t i = prepared_; i < instructions_.size(); ++i)
    if (instructions_[i].guard) earliest = static_cast<int>(i) + 1;
  // By gradient: the bytes that instructions use, and the temporaries in them.
  struct Host {
    int buffer;
    Extent used;
    std::vector<Buffer*> guests;
  };
  std::vector<Host> hosts;
  std::vector<int> gradients = kept_regions_;
  std::sort(gradients.begin(), gradients.end());
  gradients.erase(std::unique(gradients.begin(), gradients.end()), gradients.end());
  // Those that are written first come first: the others serve temporaries that live longer.
  std::stable_sort(gradients.begin(), gradients.end(),
                   [&](int a, int b) { return buffers_[a].first < buffers_[b].first; });
  std::vector<int> host_of(buffers_.size(), -1);
  for (int buffer : gradients) {
    const Buffer& b = buffers_[buffer];
    if (b.first < earliest || b.bytes < kLarge) continue;
    host_of[buffer] = static_cast<int>(hosts.size());
    hosts.push_back({buffer, {INT64_MAX, 0}, {}});
  }
  for (const Instruction& i : instructions_)
    for (const Use& use : i.uses) {
      if (host_of[use.region] < 0) continue;
      Extent& used = hosts[host_of[use.region]].used;
      used = {std::min(used.low, i.reach(use).low), std::max(used.high, i.reach(use).high)};
    }
  std::vector<Buffer*> temporaries;
  for (Buffer& b : buffers_)
    if (b.role == Role::temporary && b.first >= earliest && b.bytes >= kLarge) temporaries.push_back(&b);
  // With the largest first, a temporary that does not fit leaves the places of the others as they are.
  std::stable_sort(temporaries.begin(), temporaries.end(),
                   [](const Buffer* a, const Buffer* b) { return a->bytes > b->bytes; });
  for (Buffer* b : temporaries)
    for (Host& host : hosts) {
      if (host.used.low != 0 || host.used.high < static_cast<int64_t>(b->bytes)) continue;
      if (b->last >= buffers_[host.buffer].first) continue;
      host.guests.push_back(b);
      if (static_cast<int64_t>(place(host.guests)) <= host.used.high) {
        b->host = host.buffer;
        break;
      }
      host.guests.pop_back();
    }
}

}  // namespace ranvier
