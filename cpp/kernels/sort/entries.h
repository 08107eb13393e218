// Elements in order by their keys: unsigned integers with the order of the elements, each beside the index of
// its element. sort (sort.cpp) and the functions of sets (kernels/sets) share this.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/sort/sort.h"

namespace ranvier {

constexpr int64_t kShort = 128;      // lines of up to this length are sorted by ranks
constexpr int64_t kAlone = 4;        // lines of at most this many elements are too short for ranks
constexpr int kDigits = 256;         // values of a byte of a key
constexpr int64_t kPiece = 1 << 16;  // elements of a line between two tests for an interrupt

// The key of an element, uint32_t or uint64_t, and the index of the element in its line.
template <class Key>
struct Entry {
  Key key, index;
};

// The type of the keys of floats: an unsigned integer of the size of T.
template <class T>
using KeyOf = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

// The key of x: an unsigned integer with the order of the elements. The sign bit of x is flipped, and if x is
// negative all other bits, too. NaN gets the greatest key; with `descending` the order is reversed.
template <class T>
KeyOf<T> key_of(T x, bool descending) {
  using Key = KeyOf<T>;
  constexpr Key sign = Key(1) << (8 * sizeof(Key) - 1);
  x += T(0);  // -0 becomes 0
  Key bits;
  std::memcpy(&bits, &x, sizeof bits);
  const bool negative = (bits & sign) != 0;
  bits = negative ? ~bits : bits | sign;
  if (x != x) bits = ~Key(0);
  return descending ? ~bits : bits;
}

// Inserts `entry` into e[0, n), which is sorted. Entries beyond the first `kept` are dropped. Equal keys stay
// in order.
template <class Key>
void insert(Entry<Key>* e, int64_t n, int64_t kept, Entry<Key> entry) {
  int64_t i = std::min(n, kept - 1);
  for (; i > 0 && entry.key < e[i - 1].key; --i) e[i] = e[i - 1];
  e[i] = entry;
}

// Calls body(begin, end) on pieces of [0, n), in order. Returns false if an interrupt has ended the loop.
template <class Body>
bool in_pieces(const Team& team, int64_t n, const Body& body) {
  for (int64_t at = 0; at < n; at += kPiece) {
    if (at > 0 && interrupted(team)) return false;
    body(at, std::min(n, at + kPiece));
  }
  return true;
}

// Byte p of a key.
template <class Key>
int byte_of(Key key, int p) {
  return static_cast<int>(key >> (8 * p) & 255);
}

// Sorts n entries, read(0) ... read(n - 1), by one byte of the key after another, from the lowest to the
// highest. e and `other` are buffers of n entries. Returns the one that holds the result, or null after an
// interrupt.
template <class Key, class Read>
Entry<Key>* radix_sort(const Team& team, Entry<Key>* e, Entry<Key>* other, int64_t n, const Read& read) {
  constexpr int passes = sizeof(Key);
  int64_t counts[passes][kDigits] = {};
  const bool counted = in_pieces(team, n, [&, to = e](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Entry<Key> entry = read(i);
      to[i] = entry;
      for (int p = 0; p < passes; ++p) ++counts[p][byte_of(entry.key, p)];
    }
  });
  if (!counted) return nullptr;
  for (int p = 0; p < passes; ++p) {
    if (counts[p][byte_of(e[0].key, p)] == n) continue;  // all keys have the same byte
    int64_t start = 0;  // counts[p][byte] becomes the place of the next entry with this byte
    for (int64_t& count : counts[p]) {
      const int64_t size = count;
      count = start;
      start += size;
    }
    const bool moved =
        in_pieces(team, n, [from = e, to = other, at = counts[p], p](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            int64_t& place = at[byte_of(from[i].key, p)];
            to[place] = from[i];
            ++place;
          }
        });
    if (!moved) return nullptr;
    std::swap(e, other);
  }
  return e;
}

// Sorts n entries, read(0) ... read(n - 1), of a short line: each is stored at the place that its rank names.
template <class Key, class Read>
Entry<Key>* sort_by_ranks(Entry<Key>* e, int64_t n, const Read& read) {
  using T = std::conditional_t<sizeof(Key) == 4, float, double>;
  using Signed = typename SortKeys<T>::Key;
  constexpr Key sign = Key(1) << (8 * sizeof(Key) - 1);
  alignas(64) Signed keys[kShort], ranks[kShort];
  const int64_t whole = round_up(n, kRanked);
  for (int64_t i = 0; i < n; ++i) keys[i] = Signed(read(i).key ^ sign);
  for (int64_t i = n; i < whole; ++i) keys[i] = std::numeric_limits<Signed>::max();
  sort_kernels<T>().rank(whole, keys, ranks);
  for (int64_t i = 0; i < n; ++i) e[ranks[i]] = {Key(keys[i]) ^ sign, Key(i)};
  return e;
}

// Sorts all n entries, read(0) ... read(n - 1), of a line. scratch has room for 2 n entries; the result is in
// it. Returns null after an interrupt.
template <class Key, class Read>
Entry<Key>* sort_all(const Team& team, Entry<Key>* scratch, int64_t n, const Read& read) {
  if (n > kShort) return radix_sort(team, scratch, scratch + n, n, read);
  if (n > kAlone) return sort_by_ranks(scratch, n, read);
  for (int64_t i = 0; i < n; ++i) insert(scratch, i, n, read(i));
  return scratch;
}

}  // namespace ranvier
