// sort (sort.h): sorts lines, or finds their first elements in order, with the indices. sort_line() chooses
// the way: by ranks (sort.isa.cpp), by insertion into a sorted list, by the bytes of the keys (radix sort),
// or by selection if few elements of a long line are wanted.
#include "kernels/sort/sort.h"

#include <algorithm>

#include "base/carve.h"
#include "base/integers.h"
#include "base/without_axis.h"
#include "kernels/sort/entries.h"

namespace ranvier {
namespace {

constexpr int64_t kInsertion = 48;  // lines of up to this length are sorted by insertion, if not by ranks
constexpr int64_t kFew = 32;        // up to this many first elements are kept in a sorted list
constexpr int64_t kSelect = 8;      // elements are selected if at most 1 / kSelect of a line is wanted

template <class T>
using EntryOf = Entry<KeyOf<T>>;

// True if none of kCount elements comes before `last`. If one of them or `last` is NaN, the result is false.
template <int kCount, class T>
bool none_before(const T* x, T last, bool descending) {
  int after = 0;
  if (descending)
    for (int j = 0; j < kCount; ++j) after += x[j] <= last;
  else
    for (int j = 0; j < kCount; ++j) after += x[j] >= last;
  return after == kCount;
}

// Calls use(i) for each index from i to n - 1, in order, for which x[i] may come before last(), the last of
// the wanted elements so far. Ends early if use() returns false. kLook elements are tested at a time, then
// kPart of them.
template <class T, class Last, class Use>
void each_candidate(const T* x, int64_t i, int64_t n, bool descending, const Last& last, const Use& use) {
  constexpr int kLook = 32;
  constexpr int kPart = 8;
  while (i < n) {
    const int64_t end = std::min<int64_t>(i + kLook, n);
    if (i + kLook <= n && none_before<kLook>(x + i, last(), descending)) {
      i = end;
      continue;
    }
    for (; i < end; i += kPart) {
      if (i + kPart <= n && none_before<kPart>(x + i, last(), descending)) continue;
      for (int64_t j = i; j < std::min<int64_t>(i + kPart, n); ++j)
        if (!use(j)) return;
    }
  }
}

// The first `kept` elements of a line in order. scratch begins with the best elements so far. Elements that
// come before the last of these are appended; when there is no more room, all are sorted, and the first
// `kept` remain. Equal elements stay in order, since the sort is stable. Returns null after an interrupt.
template <class T, class EntryAt>
const EntryOf<T>* select_first(const Team& team, const T* x, int64_t step, int64_t n, int64_t kept,
                               bool descending, EntryOf<T>* scratch, const EntryAt& entry) {
  const int64_t room = std::min(n, std::max<int64_t>(4 * kept, 256));
  int64_t used = 0;  // entries of scratch
  int64_t i = 0;
  bool full = false;     // scratch[kept - 1] is the last of the best
  bool stopped = false;  // by an interrupt
  const auto sort_in = [&] {
    const auto same = [&](int64_t i) { return scratch[i]; };
    const EntryOf<T>* sorted = radix_sort(team, scratch, scratch + n, used, same);
    stopped = sorted == nullptr || interrupted(team);
    if (stopped) return;
    if (sorted != scratch) std::copy_n(sorted, std::min(used, kept), scratch);
    used = std::min(used, kept);
    full = used == kept;
  };
  const auto take = [&](int64_t i) {
    const EntryOf<T> found = entry(i);
    if (full && !(found.key < scratch[kept - 1].key)) return true;
    scratch[used] = found;
    ++used;
    if (used == room) sort_in();
    return !stopped;
  };
  for (; i < n && !stopped && !(full && step == 1); ++i) take(i);
  if (!stopped) each_candidate(x, i, n, descending, [&] { return x[scratch[kept - 1].index]; }, take);
  if (stopped) return nullptr;
  if (used > kept || !full) sort_in();
  return stopped ? nullptr : scratch;
}

// The first `kept` of the n elements of a line, in order; null after an interrupt. scratch has room for 2 n
// entries. Only the indices of the entries that are returned are valid.
template <class T>
const EntryOf<T>* sort_line(const Team& team, const T* x, int64_t step, int64_t n, int64_t kept,
                            bool descending, EntryOf<T>* scratch) {
  const auto entry = [&](int64_t i) { return EntryOf<T>{key_of(x[i * step], descending), KeyOf<T>(i)}; };
  if (kept == n) return sort_all(team, scratch, n, entry);
  if (n <= kInsertion || (kept < n && kept <= kFew)) {
    const int64_t first = std::min(kept, n);
    for (int64_t i = 0; i < first; ++i) insert(scratch, i, kept, entry(i));
    const auto take = [&](int64_t i) {
      const EntryOf<T> found = entry(i);
      if (found.key < scratch[kept - 1].key) insert(scratch, i, kept, found);
      return true;
    };
    if (step == 1 && n > kInsertion)
      each_candidate(x, kept, n, descending, [&] { return x[scratch[kept - 1].index]; }, take);
    else
      for (int64_t i = kept; i < n; ++i) take(i);
    return scratch;
  }
  if (kept * kSelect <= n) return select_first(team, x, step, n, kept, descending, scratch, entry);
  return radix_sort(team, scratch, scratch + n, n, entry);  // the first `kept` of all
}

template <class T>
int64_t scratch_bytes(int64_t n) {  // the scratch memory of one thread
  return round_up(2 * n * int64_t(sizeof(EntryOf<T>)), 64) + kApart;
}

}  // namespace

template <class T>
size_t Sort<T>::workspace_bytes(int threads) const {
  return threads * scratch_bytes<T>(x.shape[axis]);
}

template <class T>
void Sort<T>::run(const Team& team, void* workspace) const {
  const int64_t n = x.shape[axis];
  const int64_t kept = values.shape[axis];
  if (kept == 0) return;
  const auto sort = [&](const OpenTeam& team, int64_t count, const Lines<T>& value,
                        const Lines<int64_t>& index, const Lines<const T>& from) {
    char* const own = static_cast<char*>(workspace) + team.index() * scratch_bytes<T>(n);
    auto* scratch = reinterpret_cast<EntryOf<T>*>(own);
    for (int64_t i = 0; i < count; ++i) {
      const T* line = from.data + i * from.line;
      const EntryOf<T>* sorted = sort_line(team, line, from.step, n, kept, descending, scratch);
      if (!sorted) return;
      in_pieces(team, kept, [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k) {
          const auto place = int64_t(sorted[k].index);
          value.data[i * value.line + k * value.step] = line[place * from.step];
          index.data[i * index.line + k * index.step] = place;
        }
      });
    }
  };
  for_lines(team, 10.0 * static_cast<double>(n), axis, sort, values, indices, x);
}

RANVIER_INSTANTIATE(Sort);

}  // namespace ranvier
