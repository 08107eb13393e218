// The views of a kernel call, as whoever keeps the call for later finds them.
#pragma once
#include <cstddef>
#include <type_traits>
#include <vector>

#include "base/tensor_view.h"

// Instantiates a kind of call for both floating dtypes.
#define RANVIER_INSTANTIATE(Call) \
  template struct Call<float>;    \
  template struct Call<double>

namespace ranvier {

// One view of a call: where it is in the call, and whether the call writes it. All views have the same
// layout, whatever their element type, so that a program can read and redirect any of them.
struct View {
  uint32_t position;  // bytes from the start of the call to its TensorView
  uint16_t item;      // bytes of an element
  char type;          // f, d (floating), l (int64), i (int32), B (uint8), ? (bool)
  bool write;
};
using AnyView = TensorView<char>;
constexpr uint32_t kNotInside = UINT32_MAX;  // the position of a view that is no part of the call

// Given to a call's buffers(), which names each view that it reads or writes; those without data are left
// out.
class ViewList {
 public:
  ViewList(const void* call, size_t size, std::vector<View>& found)
      : call_(static_cast<const char*>(call)), size_(size), found_(found) {}
  template <class T>
  void read(const TensorView<T>& v) {
    add(v, sizeof(T), type_of<std::remove_const_t<T>>(), false);
  }
  template <class T>
  void write(const TensorView<T>& v) {
    add(v, sizeof(T), type_of<T>(), true);
  }

 private:
  template <class T>
  static constexpr char type_of() {
    if constexpr (std::is_same_v<T, float>) return 'f';
    if constexpr (std::is_same_v<T, double>) return 'd';
    if constexpr (std::is_same_v<T, bool>) return '?';
    if constexpr (std::is_same_v<T, uint8_t>) return 'B';
    if constexpr (std::is_same_v<T, int32_t>) return 'i';
    return 'l';
  }
  template <class T>
  void add(const TensorView<T>& v, uint16_t item, char type, bool write) {
    static_assert(sizeof v == sizeof(AnyView));
    if (!v.data) return;
    const size_t position = reinterpret_cast<const char*>(&v) - call_;
    const bool inside = position < size_;  // not a copy that buffers() made: that could not be redirected
    found_.push_back({inside ? static_cast<uint32_t>(position) : kNotInside, item, type, write});
  }

  const char* call_;
  size_t size_;
  std::vector<View>& found_;
};

}  // namespace ranvier
