// The Graph of a program's instructions (see fuse.h), the two passes over checks, and the order of all
// passes. Here Use::region (recording.h) is the index of a buffer in Graph::buffers_.
#include "program/fuse.h"

#include <algorithm>
#include <iterator>
#include <tuple>

#include "kernels/copy/copy.h"
#include "kernels/index/range.h"

namespace ranvier {

Graph::Graph(std::vector<Instruction>& code, std::vector<Buffer>& buffers) : code_(code), buffers_(buffers) {
  for (size_t i = 0; i < buffers.size(); ++i) by_address_[buffers[i].address] = static_cast<int>(i);
  find_fixed();
}

Graph::~Graph() {
  code_.erase(std::remove_if(code_.begin(), code_.end(), [](const Instruction& i) { return !i.type; }),
              code_.end());
  std::move(ahead_.begin(), ahead_.end(), std::back_inserter(code_));
}

// The index of the buffer that holds p, or -1.
int Graph::find(const void* p) const {
  const char* address = static_cast<const char*>(p);
  auto it = by_address_.upper_bound(address);
  if (it == by_address_.begin()) return -1;
  --it;  // the last buffer that begins at p or before
  const int index = it->second;
  const char* const end = buffers_[index].address + buffers_[index].bytes;
  return address < end ? index : -1;
}

// True for a Fill of few elements, such as the gradient 1 of a loss. It counts as fixed and is made once. A
// larger one would occupy memory for as long as the program lives.
static bool is_small_fill(const Instruction& in) {
  constexpr int64_t kSmall = 16;
  const auto small = [](const auto* fill) { return fill && numel(fill->y) <= kSmall; };
  return small(in.as<Fill<float>>()) || small(in.as<Fill<double>>());
}

// Finds the fixed buffers: watched ones that no instruction writes, and temporaries that are written by one
// instruction which reads fixed buffers alone.
void Graph::find_fixed() {
  std::vector<int> writers(buffers_.size(), 0);
  for (const Instruction& in : code_)
    for (const Use& use : in.uses) writers[use.region] += use.view.write;
  fixed_.assign(buffers_.size(), false);
  for (size_t i = 0; i < buffers_.size(); ++i) fixed_[i] = buffers_[i].watched && !writers[i];
  for (const Instruction& in : code_) {
    bool reads = false;
    bool all = !in.guard;  // all that it reads is fixed, and what it writes is written by it alone
    for (const Use& use : in.uses) {
      if (use.view.write) {
        all = all && is_temporary_buffer(use.region) && writers[use.region] == 1;
      } else {
        reads = true;
        all = all && fixed_[use.region];
      }
    }
    if (!all || !(reads || is_small_fill(in))) continue;
    for (const Use& use : in.uses) fixed_[use.region] = true;
  }
}

bool Graph::makes_fixed(int i) const {
  const Instruction& in = code_[i];
  return in.type && !in.uses.empty() && std::all_of(in.uses.begin(), in.uses.end(), [&](const Use& use) {
           return fixed_[use.region] && (!use.view.write || is_temporary_buffer(use.region));
         });
}

void Graph::mark_prepared() {
  for (int i = 0; i < size(); ++i) code_[i].prepared = makes_fixed(i);
}

template <class Test>
std::vector<int> Graph::users(int buffer, int begin, int end, Test test) const {
  std::vector<int> found;
  for (int i = begin; i < end; ++i)
    if (code_[i].type)
      for (const Use& use : code_[i].uses)
        if (use.region == buffer && test(use.view)) found.push_back(i);
  return found;
}

int Graph::writer(int buffer) const {
  const std::vector<int> found = users(buffer, 0, size(), [](const View& v) { return v.write; });
  return found.size() == 1 ? found[0] : -1;
}

std::vector<int> Graph::readers(int buffer) const {
  std::vector<int> found = users(buffer, 0, size(), [](const View& v) { return !v.write; });
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

bool Graph::written_between(int buffer, int i, int end) const {
  return !users(buffer, i + 1, end, [](const View& v) { return v.write; }).empty();
}

int Graph::producer_of_buffer(int buffer, int i) const {
  if (!is_temporary_buffer(buffer) || readers(buffer) != std::vector<int>{i}) return -1;
  for (const Use& use : code_[i].uses)
    if (use.view.write && !users(use.region, 0, i, [](const View&) { return true; }).empty()) return -1;
  return writer(buffer);
}

bool Graph::is_untouched(const AnyView& v, int64_t item, int first, int end) const {
  const Extent reach = extent(v, item);
  for (int i = first; i < end; ++i) {
    if (!code_[i].type) continue;
    if (code_[i].guard && i > first) return false;
    for (const Use& use : code_[i].uses) {
      const AnyView& other = code_[i].view(use);
      const Extent of_other = extent(other, use.view.item);
      if (other.data + of_other.low < v.data + reach.high && v.data + reach.low < other.data + of_other.high)
        return false;
    }
  }
  return true;
}

char* Graph::new_temporary(size_t bytes) {
  char* address = next_;
  // A multiple of 64, and at least 64 bytes more than the buffer has: even an empty one has its own address.
  next_ += (bytes + 127) / 64 * 64;
  by_address_[address] = static_cast<int>(buffers_.size());
  buffers_.push_back({Role::temporary, bytes, address, -1});
  fixed_.push_back(false);
  return address;
}

void Graph::merged(int i, int with, bool later) {
  code_[i].fused.push_back(code_[with].type->name);
  if (later) code_[i].record = std::max(code_[i].record, code_[with].record);
  code_[with].type = nullptr;
  find_uses(i);
}

void Graph::redirect(int buffer, const void* data) {
  for (int i : readers(buffer)) {
    for (const Use& use : code_[i].uses) {
      if (use.region != buffer || use.view.write) continue;
      code_[i].view(use).data = static_cast<char*>(const_cast<void*>(data)) + use.offset;
    }
    find_uses(i);
  }
}

void Graph::find_uses(Instruction& in) const {
  std::vector<View> views;
  in.uses.clear();
  in.type->views(in.call.data(), views);
  for (const View& view : views) {
    const AnyView& v = in.view({view, 0, 0});
    const Extent reach = extent(v, view.item);
    if (reach.low == reach.high) continue;
    const int region = find(v.data + reach.low);
    in.uses.push_back({view, region, v.data - buffers_[region].address});
  }
}

// Of a check: the view of the values that it tests, and the range in which they have to be.
static auto& checked(const IndexRange& c) { return c.index; }
static auto range(const IndexRange& c) {
  return std::make_tuple(c.low, c.high, c.has_also, c.has_also ? c.also : 0);
}
template <class T>
static auto& checked(const ValueRange<T>& c) {
  return c.x;
}
template <class T>
static auto range(const ValueRange<T>& c) {
  return std::make_tuple(c.low, c.high);
}

// Drops a check if an earlier one has tested the same values for the same range, and nothing has written them
// since. A loss and its gradient, for instance, test the same labels.
static void drop_repeated_checks(Graph& graph) {
  graph.each<IndexRange, ValueRange<float>, ValueRange<double>>([&](int i, auto& check) {
    const auto& values = checked(check);
    for (int j = 0; j < i; ++j) {
      const auto* before = graph.as<std::decay_t<decltype(check)>>(j);
      if (!before || range(*before) != range(check)) continue;
      if (checked(*before).data != values.data || !same_layout(checked(*before), values)) continue;
      if (!graph.written_between(graph.buffer(values), j, i)) return graph.merged(j, i, /*later=*/false);
    }
  });
}

// Joins two checks of the same range into one if the values of the second lie in memory just behind those of
// the first, as the labels of many networks do. Only a check and the check before it are compared.
static void join_checks(Graph& graph) {
  graph.each<IndexRange>([&](int i, IndexRange& check) {
    const auto& values = check.index;
    for (int j = i; j-- > 0;) {
      IndexRange* before = graph.as<IndexRange>(j);
      if (!before) continue;
      auto& theirs = before->index;
      const bool rows =
          values.ndim == 1 && theirs.ndim == 1 && values.strides[0] == 1 && theirs.strides[0] == 1;
      if (rows && range(*before) == range(check) && theirs.data + theirs.shape[0] == values.data &&
          graph.buffer(theirs) == graph.buffer(values) &&
          !graph.written_between(graph.buffer(values), j, i)) {
        theirs.shape[0] += values.shape[0];
        graph.merged(j, i, /*later=*/false);
      }
      return;
    }
  });
}

void fuse(std::vector<Instruction>& instructions, std::vector<Buffer>& buffers, int team) {
  Graph graph(instructions, buffers);
  drop_repeated_checks(graph);
  join_checks(graph);
  fuse_patterns(graph);
  pack_weights(graph, team);
  graph.drop_copies();
  graph.mark_prepared();
}

}  // namespace ranvier
