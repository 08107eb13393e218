// The functions of LastUpdates (see check.h): which updates of parameters a check runs on copies of pieces,
// and how.
#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "kernels/optimizer/optimizer.h"
#include "program/check.h"
#include "program/invoke.h"

namespace ranvier {
namespace {

constexpr size_t kMuch = size_t{1} << 20;     // bytes: less is copied as a whole
constexpr int64_t kPiece = int64_t{1} << 16;  // elements

// The number of segments of an update, or null if the instruction is no update.
int* segments_of(const Instruction& i) {
  if (auto* step = i.as<OptimizerStep<float>>()) return &step->count;
  if (auto* step = i.as<OptimizerStep<double>>()) return &step->count;
  return nullptr;
}

template <class T>
bool all_contiguous(const OptimizerStep<T>& step) {
  return std::all_of(step.segments, step.segments + step.count, [](const OptimizerSegment<T>& s) {
    return is_contiguous(s.parameter) && is_contiguous(s.gradient);
  });
}

bool is_contiguous_update(const Instruction& i) {
  if (const auto* step = i.as<OptimizerStep<float>>()) return all_contiguous(*step);
  return all_contiguous(*i.as<OptimizerStep<double>>());
}

// True if no two views that the instruction writes share memory.
bool writes_apart(const Instruction& i) {
  std::vector<std::pair<int, Extent>> written;
  for (const Use& use : i.uses)
    if (use.view.write) written.emplace_back(use.region, i.reach(use));
  const auto is_lower = [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second.low) < std::pair(b.first, b.second.low);
  };
  std::sort(written.begin(), written.end(), is_lower);
  for (size_t n = 1; n < written.size(); ++n)
    if (written[n].first == written[n - 1].first && written[n].second.meets(written[n - 1].second))
      return false;
  return true;
}

// The bytes that the last instructions change, as far as they are updates.
size_t bytes_of_updates(const std::vector<Instruction>& instructions) {
  size_t bytes = 0;
  for (size_t n = instructions.size(); n-- > 0 && segments_of(instructions[n]);)
    for (const Use& use : instructions[n].uses) {
      const Extent reach = instructions[n].reach(use);
      if (use.view.write) bytes += static_cast<size_t>(reach.high - reach.low);
    }
  return bytes;
}

// Elements of one array, and a copy of some of them. A view of `copied` is one of the copy.
struct Piece {
  char type;
  int item;  // bytes of an element
  const char* from;
  char* copy;
  Fingerprint fingerprint;
};

template <class T>
Piece piece_of(const TensorView<T>& v, char* copy) {
  char type = sizeof(T) == sizeof(double) ? 'd' : 'f';
  if (v.stored != Stored::whole) type = 'e';
  return {type, item_of(v), reinterpret_cast<const char*>(v.data), copy, {}};
}

template <class T>
void point(TensorView<T>& v, const char* data, int64_t count) {
  v.data = reinterpret_cast<T*>(const_cast<char*>(data));
  v.ndim = 1;
  v.shape[0] = count;
  v.strides[0] = 1;
}

// Runs the update of one segment on copies of one piece after another.
template <class T>
void update(OptimizerStep<T>& part, const OptimizerSegment<T>& s, char* memory,
            std::map<const AnyView*, uint64_t>& found) {
  const int64_t count = numel(s.parameter);
  const int item = item_of(s.parameter);
  OptimizerSegment<T>& now = part.segments[0];
  now = s;
  double step = 0;
  double number = 0;
  float single = 0;
  std::vector<std::pair<const AnyView*, Piece>> pieces;
  const auto key = [](const auto& view) { return reinterpret_cast<const AnyView*>(&view); };
  const auto add = [&](const TensorView<T>& view) {
    pieces.emplace_back(key(view), piece_of(view, memory + pieces.size() * kPiece * sizeof(T)));
  };
  add(s.parameter);
  for (const TensorView<T>& state : s.states)
    if (state.data) add(state);
  int64_t begin = 0;
  do {
    const int64_t n = std::min(kPiece, count - begin);
    for (auto& [view, piece] : pieces)
      std::memcpy(piece.copy, piece.from + begin * piece.item, static_cast<size_t>(n * piece.item));
    auto next = pieces.begin();
    point(now.parameter, (next++)->second.copy, n);
    for (TensorView<T>& state : now.states)
      if (state.data) point(state, (next++)->second.copy, n);
    point(now.gradient, reinterpret_cast<const char*>(s.gradient.data) + begin * item, n);
    step = *s.step.data;
    now.step.data = &step;
    if (s.number.data) number = *s.number.data;
    if (s.number.data) now.number.data = &number;
    if (s.single.data) single = *s.single.data;
    if (s.single.data) now.single.data = &single;
    invoke(part);
    for (auto& [view, piece] : pieces) piece.fingerprint.add(piece.type, piece.copy, n);
    begin += n;
  } while (begin < count);
  for (auto& [view, piece] : pieces) found[view] = piece.fingerprint.value();
  const auto note = [&](const auto& view, char type, const void* value) {
    if (!view.data) return;
    Fingerprint fingerprint;
    fingerprint.add(type, value, 1);
    found[key(view)] = fingerprint.value();
  };
  note(s.step, 'd', &step);
  note(s.number, 'd', &number);
  note(s.single, 'f', &single);
}

template <class T>
void update_all(const OptimizerStep<T>& call, int count, std::map<const AnyView*, uint64_t>& found) {
  const OwnBlock memory(allocate((1 + kMaxStates) * kPiece * sizeof(T)));
  if (!memory) throw std::bad_alloc();
  const auto part = std::make_unique<OptimizerStep<T>>(call);
  part->count = 1;
  for (int n = 0; n < count; ++n) update(*part, call.segments[n], static_cast<char*>(memory.get()), found);
}

}  // namespace

LastUpdates::LastUpdates(const Program& program) : program_(program), first_(program.instructions().size()) {
  const std::vector<Instruction>& instructions = program.instructions();
  if (bytes_of_updates(instructions) < kMuch) return;
  std::vector<int> writers(program.buffers().size(), 0);
  for (const Instruction& i : instructions) {
    std::vector<int> written;
    for (const Use& use : i.uses)
      if (use.view.write) written.push_back(use.region);
    std::sort(written.begin(), written.end());
    written.erase(std::unique(written.begin(), written.end()), written.end());
    for (int buffer : written) ++writers[buffer];
  }
  // True if nothing else writes the memory of the use, or uses it after instruction n.
  const auto is_last = [&](size_t n, const Use& use) {
    const Buffer& b = program.buffers()[use.region];
    return b.role == Role::persistent && b.kept < 0 && writers[use.region] == 1 &&
           b.last == static_cast<int>(n);
  };
  while (first_ > 0) {
    const size_t n = first_ - 1;
    const Instruction& i = instructions[n];
    if (!segments_of(i) || program.is_in_section(n) || !is_contiguous_update(i) || !writes_apart(i)) break;
    const bool all_last = std::all_of(i.uses.begin(), i.uses.end(),
                                      [&](const Use& use) { return !use.view.write || is_last(n, use); });
    if (!all_last) break;
    first_ = n;
  }
  for (size_t n = first_; n < instructions.size(); ++n)
    counts_.push_back(std::exchange(*segments_of(instructions[n]), 0));
}

LastUpdates::~LastUpdates() {
  for (size_t n = 0; n < counts_.size(); ++n) *segments_of(program_.instructions()[first_ + n]) = counts_[n];
}

std::map<const AnyView*, uint64_t> LastUpdates::run() {
  std::map<const AnyView*, uint64_t> found;
  for (size_t n = 0; n < counts_.size(); ++n) {
    const Instruction& i = program_.instructions()[first_ + n];
    if (const auto* step = i.as<OptimizerStep<float>>())
      update_all(*step, counts_[n], found);
    else
      update_all(*i.as<OptimizerStep<double>>(), counts_[n], found);
  }
  return found;
}

}  // namespace ranvier
