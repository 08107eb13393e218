// What a recording must know of a kind of kernel call to keep it as bytes, point it at other memory and run
// it again.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "base/tensor_view.h"

namespace ranvier {

// One view of a call: its place in the call, and whether the call writes it. All views have the same members,
// whatever their element type, so that a program can read and redirect any of them.
struct View {
  uint32_t position;  // bytes from the start of the call to its TensorView
  uint16_t item;      // bytes of an element
  char type;          // f, d (floating), l (int64), B (uint8), ? (bool)
  bool write;
};
using AnyView = TensorView<char>;
constexpr uint32_t kNotInside = UINT32_MAX;  // the position of a view that is no part of the call

struct CallType {
  const char* name;
  size_t size;
  size_t (*workspace_bytes)(const void* call, int threads);
  void (*run)(const void* call, const Team& team, void* workspace);
  void (*views)(const void* call, std::vector<View>& found);  // those whose data is not null
  bool finishes;  // is never left half done: it writes to what the caller has
};

namespace detail {

template <class T>
constexpr char element_type() {
  if (std::is_same_v<T, float>) return 'f';
  if (std::is_same_v<T, double>) return 'd';
  if (std::is_same_v<T, bool>) return '?';
  if (std::is_same_v<T, uint8_t>) return 'B';
  if (std::is_same_v<T, int32_t>) return 'i';
  return 'l';
}

struct ViewFinder {
  const char* call;
  size_t size;
  std::vector<View>& found;

  template <class T>
  void read(const TensorView<T>& v) {
    add(v, false);
  }
  template <class T>
  void write(const TensorView<T>& v) {
    add(v, true);
  }
  template <class T>
  void add(const TensorView<T>& v, bool write) {
    static_assert(sizeof v == sizeof(AnyView));
    if (!v.data) return;
    const size_t position = reinterpret_cast<const char*>(&v) - call;
    const bool inside = position < size;  // not a copy that `buffers` made: that could not be redirected
    found.push_back({inside ? static_cast<uint32_t>(position) : kNotInside, sizeof(T),
                     element_type<std::remove_const_t<T>>(), write});
  }
};

template <class Call, class = void>
struct Finishes : std::false_type {};
template <class Call>
struct Finishes<Call, std::void_t<decltype(Call::finishes)>> : std::true_type {};

}  // namespace detail

template <class Call>
const CallType& call_type() {
  static const CallType type{
      Call::name,
      sizeof(Call),
      [](const void* call, int threads) { return static_cast<const Call*>(call)->workspace_bytes(threads); },
      [](const void* call, const Team& team, void* workspace) {
        static_cast<const Call*>(call)->run(team, workspace);
      },
      [](const void* call, std::vector<View>& found) {
        detail::ViewFinder finder{static_cast<const char*>(call), sizeof(Call), found};
        static_cast<const Call*>(call)->buffers(finder);
      },
      detail::Finishes<Call>::value};
  return type;
}

// The bytes [low, high) that a view reaches, counted from its data; equal where it has no element.
struct Extent {
  int64_t low, high;
};
Extent extent(const AnyView& v, int64_t item);

// Whether a call may be left half done: it does not write where it reads, nor into memory that the caller has
// filled before.
bool may_stop(const CallType& type, const void* call);

}  // namespace ranvier
