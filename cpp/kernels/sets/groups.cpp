// Group and Mode (sets.h): by a table of the keys if these are close together, else by sorting them.
#include <algorithm>
#include <limits>

#include "base/carve.h"
#include "base/integers.h"
#include "kernels/sets/sets.h"
#include "kernels/sort/entries.h"

namespace ranvier {
namespace {

constexpr int64_t kTableShare = 2;  // a table has at most so many elements for each key
constexpr int64_t kMostCounted = std::numeric_limits<int32_t>::max();  // the keys that a table counts

// n keys of which none is less than `least` or greater than `greatest`.
template <class Key>
struct Line {
  const Key* keys;
  int64_t n;
  bool nans_apart;
  Key least, greatest;

  Line(const Key* keys_, int64_t n_, bool nans_apart_) : keys(keys_), n(n_), nans_apart(nans_apart_) {
    least = greatest = keys[0];
    for (int64_t i = 1; i < n; ++i) {
      least = std::min(least, keys[i]);
      greatest = std::max(greatest, keys[i]);
    }
  }

  Key span() const { return greatest - least; }
  bool fits_table() const {
    return !nans_apart && n > kShort && n <= kMostCounted && span() < static_cast<Key>(kTableShare * n);
  }
  bool has_short_entries() const {
    constexpr uint64_t most = std::numeric_limits<uint32_t>::max();
    return uint64_t{span()} <= most && static_cast<uint64_t>(n) <= most;
  }

  // Calls use(sorted, nan) with the entries in order, in which keys are less by `least`. nan: the key that
  // differs from itself, or a number that no key has. Short is the type of the entries.
  template <class Short, class Use>
  void sorted_as(const Team& team, void* scratch, const Use& use) const {
    const auto read = [&](int64_t i) { return Entry<Short>{Short(keys[i] - least), Short(i)}; };
    const Entry<Short>* entries = sort_all(team, static_cast<Entry<Short>*>(scratch), n, read);
    if (!entries) return;
    constexpr Key of_nan = std::numeric_limits<Key>::max();
    use(entries, nans_apart && greatest == of_nan, Short(greatest - least));
  }
  template <class Use>
  void sorted(const Team& team, void* scratch, const Use& use) const {
    if (has_short_entries())
      sorted_as<uint32_t>(team, scratch, use);
    else
      sorted_as<uint64_t>(team, scratch, use);
  }

  // How many keys have each value, from `least` on.
  uint32_t* counted(void* scratch) const {
    auto* table = static_cast<uint32_t*>(scratch);
    std::fill_n(table, static_cast<int64_t>(span()) + 1, 0);
    for (int64_t i = 0; i < n; ++i) ++table[keys[i] - least];
    return table;
  }
};

int64_t scratch_bytes(int64_t n) {  // for the entries of a line, or its table
  return round_up(2 * n * int64_t(sizeof(Entry<uint64_t>)), 64) + kApart;
}

// True if the next entry in order begins a group.
template <class Key>
bool begins_group(const Entry<Key>* sorted, int64_t k, bool has_nan, Key nan) {
  const Key key = sorted[k].key;
  return key != sorted[k - 1].key || (has_nan && key == nan);
}

}  // namespace

template <class Key>
size_t Group<Key>::workspace_bytes(int) const {
  return scratch_bytes(first.shape[0]);
}

namespace {

// The groups of a line whose keys have a table.
template <class Key>
void group_by_table(const Group<Key>& call, const Line<Key>& line, void* scratch) {
  uint32_t* table = line.counted(scratch);
  int64_t groups = 0;
  for (int64_t value = 0; value <= static_cast<int64_t>(line.span()); ++value) {
    const uint32_t count = table[value];
    if (count == 0) continue;
    if (call.counts.data) call.counts.data[groups] = count;
    table[value] = static_cast<uint32_t>(groups);
    ++groups;
  }
  for (int64_t i = line.n - 1; i >= 0; --i) {
    const int64_t group = table[line.keys[i] - line.least];
    call.first.data[group] = i;
    if (call.inverse.data) call.inverse.data[i] = group;
  }
  *call.found.data = groups;
}

// The groups of n entries in order; begins(k) says whether entry k begins a group. As in find_runs(), each
// entry is written as the beginning of the next group, and the next one overwrites it unless it is.
template <class Key, class Sorted, class Begins>
void group_in_order(const Group<Key>& call, int64_t n, const Sorted* sorted, const Begins& begins) {
  int64_t* const counts = call.counts.data;
  int64_t* const inverse = call.inverse.data;
  int64_t group = 0;
  call.first.data[0] = sorted[0].index;
  if (counts) counts[0] = 0;
  if (inverse) inverse[sorted[0].index] = 0;
  for (int64_t k = 1; k < n; ++k) {
    const int64_t index = sorted[k].index;
    call.first.data[group + 1] = index;
    if (counts) counts[group + 1] = k;
    group += begins(k);
    if (inverse) inverse[index] = group;
  }
  if (counts) {  // places in order become counts
    for (int64_t g = 0; g < group; ++g) counts[g] = counts[g + 1] - counts[g];
    counts[group] = n - counts[group];
  }
  *call.found.data = group + 1;
}

// The groups of rows: the first keys are sorted as a line, then rows whose first keys are equal.
template <class Key>
void group_rows(const Team& team, const Group<Key>& call, const Key* keys, int64_t n, void* scratch) {
  using Row = Entry<uint64_t>;
  const int64_t width = call.width;
  const auto read = [&](int64_t i) { return Row{keys[i * width], static_cast<uint64_t>(i)}; };
  Row* sorted = sort_all(team, static_cast<Row*>(scratch), n, read);
  if (!sorted) return;
  const auto row_of = [&](const Row& entry) { return keys + static_cast<int64_t>(entry.index) * width; };
  const auto comes_before = [&](const Row& a, const Row& b) {
    const Key* x = row_of(a);
    const Key* y = row_of(b);
    for (int64_t j = 1; j < width; ++j)
      if (x[j] != y[j]) return x[j] < y[j];
    return a.index < b.index;
  };
  for (int64_t begin = 0, end; begin < n; begin = end) {
    end = begin + 1;
    while (end < n && sorted[end].key == sorted[begin].key) ++end;
    if (interrupted(team)) return;
    std::sort(sorted + begin, sorted + end, comes_before);
  }
  const auto begins = [&](int64_t k) {
    const Key* x = row_of(sorted[k]);
    const Key* before = row_of(sorted[k - 1]);
    bool differs = false;
    for (int64_t j = 0; j < width && !differs; ++j) {
      const bool is_nan = call.nans_apart && x[j] == std::numeric_limits<Key>::max();
      differs = x[j] != before[j] || is_nan;
    }
    return differs;
  };
  group_in_order(call, n, sorted, begins);
}

}  // namespace

template <class Key>
void Group<Key>::run(const Team& team, void* workspace) const {
  const int64_t n = first.shape[0];
  *found.data = 0;
  if (n == 0) return;
  const auto* data = reinterpret_cast<const Key*>(keys.data);
  if (width > 1) return group_rows(team, *this, data, n, workspace);
  const Line<Key> line(data, n, nans_apart);
  if (line.fits_table()) return group_by_table(*this, line, workspace);
  line.sorted(team, workspace, [&](const auto* sorted, bool has_nan, auto nan) {
    const auto begins = [&](int64_t k) { return begins_group(sorted, k, has_nan, nan); };
    group_in_order(*this, n, sorted, begins);
  });
}

template <class Key>
size_t Mode<Key>::workspace_bytes(int threads) const {
  return threads * scratch_bytes(n);
}

namespace {

// The place of the last key of the largest group.
template <class Key>
int64_t mode_of(const Team& team, const Line<Key>& line, void* scratch) {
  if (line.fits_table()) {
    const uint32_t* table = line.counted(scratch);
    const Key best = std::max_element(table, table + line.span() + 1) - table;
    int64_t i = line.n - 1;
    while (line.keys[i] - line.least != best) --i;
    return i;
  }
  int64_t index = 0;
  line.sorted(team, scratch, [&](const auto* sorted, bool has_nan, auto nan) {
    int64_t start = 0;
    int64_t last = 0;
    int64_t longest = 1;
    for (int64_t k = 1; k < line.n; ++k) {
      start = begins_group(sorted, k, has_nan, nan) ? k : start;
      const int64_t length = k - start + 1;
      last = length > longest ? k : last;
      longest = std::max(longest, length);
    }
    index = sorted[last].index;
  });
  return index;
}

}  // namespace

template <class Key>
void Mode<Key>::run(const Team& team, void* workspace) const {
  const int64_t rows = index.shape[0];
  const double cost_ns = 10.0 * static_cast<double>(rows) * static_cast<double>(n);
  team.parallel_for(rows, cost_ns, [&](const OpenTeam& team, int64_t begin, int64_t end) {
    char* scratch = static_cast<char*>(workspace) + team.index() * scratch_bytes(n);
    for (int64_t row = begin; row < end; ++row) {
      const Line<Key> line(reinterpret_cast<const Key*>(keys.data) + row * n, n, nans_apart);
      index.data[row] = mode_of(team, line, scratch);
    }
  });
}

template struct Group<uint32_t>;
template struct Group<uint64_t>;
template struct Mode<uint32_t>;
template struct Mode<uint64_t>;

}  // namespace ranvier
