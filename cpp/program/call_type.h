// CallType describes one kind of kernel call (one struct, such as Matmul<float>) by its size and a few
// functions. With it a recording can keep a call as bytes, point its views at other memory and run it again,
// without knowing the struct.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "base/views.h"

namespace ranvier {

struct CallType {
  const char* name;
  size_t size;                                               // bytes of the struct
  size_t (*workspace_bytes)(const void* call, int threads);  // scratch memory that run() needs
  void (*run)(const void* call, const Team& team, void* workspace);
  void (*clear_padding)(void* call);  // sets padding to 0: equal calls are equal bytes
  void (*views)(const void* call, std::vector<View>& found);  // appends each view whose data is not null
  bool finishes;  // an interrupt never ends this call early, since it may write into an array of the caller's
};

namespace detail {

// The value of CallType::finishes: true for a struct that declares a member `finishes`, as those of copies
// do.
template <class Call, class = void>
struct Finishes : std::false_type {};
template <class Call>
struct Finishes<Call, std::void_t<decltype(Call::finishes)>> : std::true_type {};

// Bytes of the workspace: those of Call::workspace_bytes(), or 0 if the struct has no such function.
template <class Call, class = void>
struct Scratch {
  static size_t bytes(const Call&, int) { return 0; }
};
template <class Call>
struct Scratch<Call, std::void_t<decltype(&Call::workspace_bytes)>> {
  static size_t bytes(const Call& call, int threads) { return call.workspace_bytes(threads); }
};

// Some compilers lack this builtin. Without it two equal calls may have unequal bytes, so that a program does
// not find them equal (same_form in sections.cpp); it then only runs slower.
template <class Call>
void clear_padding([[maybe_unused]] Call* call) {
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
  __builtin_clear_padding(call);
#endif
#endif
}

}  // namespace detail

// The one CallType of a struct; its address identifies the kind of call.
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

// The bytes [low, high) that a view reaches, counted from its `data`; low is below 0 where a stride is
// negative. A view without elements has low == high.
struct Extent {
  int64_t low, high;
  bool meets(const Extent& other) const { return low < other.high && other.low < high; }
};
Extent extent(const AnyView& v, int64_t item);  // item: bytes of an element

// True if an interrupt may end the call early, with its outputs half written: it writes no memory that it
// reads, and CallType::finishes is false.
bool may_stop(const CallType& type, const void* call);

}  // namespace ranvier
