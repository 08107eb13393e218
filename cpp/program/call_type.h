// CallType: the functions by which a recording can keep a kernel call as bytes, point it at other memory and
// run it again.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "base/views.h"

namespace ranvier {

struct CallType {
  const char* name;
  size_t size;
  size_t (*workspace_bytes)(const void* call, int threads);
  void (*run)(const void* call, const Team& team, void* workspace);
  void (*clear_padding)(void* call);                          // so that equal calls are equal bytes
  void (*views)(const void* call, std::vector<View>& found);  // those whose data is not null
  bool finishes;  // is never left half done: it writes to what the caller has
};

namespace detail {

template <class Call, class = void>
struct Finishes : std::false_type {};
template <class Call>
struct Finishes<Call, std::void_t<decltype(Call::finishes)>> : std::true_type {};

// Bytes of scratch; a kind of call without workspace_bytes() needs none.
template <class Call, class = void>
struct Scratch {
  static size_t bytes(const Call&, int) { return 0; }
};
template <class Call>
struct Scratch<Call, std::void_t<decltype(&Call::workspace_bytes)>> {
  static size_t bytes(const Call& call, int threads) { return call.workspace_bytes(threads); }
};

// Not known to every compiler; without it equal calls may not be found.
template <class Call>
void clear_padding([[maybe_unused]] Call* call) {
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
  __builtin_clear_padding(call);
#endif
#endif
}

}  // namespace detail

template <class Call>
const CallType& call_type() {
  static const CallType type{Call::name,
                             sizeof(Call),
                             [](const void* call, int threads) {
                               return detail::Scratch<Call>::bytes(*static_cast<const Call*>(call), threads);
                             },
                             [](const void* call, const Team& team, void* workspace) {
                               static_cast<const Call*>(call)->run(team, workspace);
                             },
                             [](void* call) { detail::clear_padding(static_cast<Call*>(call)); },
                             [](const void* call, std::vector<View>& found) {
                               ViewList list(call, sizeof(Call), found);
                               static_cast<const Call*>(call)->buffers(list);
                             },
                             detail::Finishes<Call>::value};
  return type;
}

// The bytes [low, high) that a view reaches, counted from its data; equal where it has no element.
struct Extent {
  int64_t low, high;
  bool meets(const Extent& other) const { return low < other.high && other.low < high; }
};
Extent extent(const AnyView& v, int64_t item);

// True if a call may be left half done: it does not write where it reads, nor into memory that the caller has
// filled before.
bool may_stop(const CallType& type, const void* call);

}  // namespace ranvier
