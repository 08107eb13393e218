// RANVIER_CALL, which every kernel call has, and the list of the views of a call: which arrays it reads and
// writes. Programs (cpp/program), which keep calls for later, find the arrays by this list and can redirect
// them.
#pragma once
#include <cstddef>
#include <type_traits>
#include <vector>

#include "base/half.h"
#include "base/tensor_view.h"

// Instantiates a kind of call for both floating dtypes.
#define RANVIER_INSTANTIATE(Call) \
  template struct Call<float>;    \
  template struct Call<double>

// Declares what every kernel call has: its name, run(), and buffers(), which lists the views in the
// arguments. Views of constant elements are read, others are written; in_place() marks a view that is both,
// views() an array of views.
//
//   struct Copy {
//     RANVIER_CALL("copy", x, y);  // run() is defined in a .cpp file
//     TensorView<const T> x;       // read
//     TensorView<T> y;             // written
//   };
#define RANVIER_CALL(call_name, ...)                      \
  static constexpr const char* name = call_name;          \
  void buffers(ViewList& v) const { v.add(__VA_ARGS__); } \
  void run(const Team& team, void* workspace) const

namespace ranvier {

// One view of a call: where it is in the struct of the call, and whether the call writes it. All views have
// the same layout, whatever the type of the elements, so that a program can read and redirect any of them.
struct View {
  uint32_t position;  // bytes from the start of the call to its TensorView
  uint16_t item;      // bytes of an element
  char type;          // f, d (floating), e, E (float16, bfloat16), l (int64), i (int32), B (uint8), ? (bool)
  bool write;
};
using AnyView = TensorView<char>;
constexpr uint32_t kNotInside = UINT32_MAX;  // the position of a view that is not in the struct of the call

// Views of a call: whether it reads them, writes them, or both.
template <class V>
struct InPlace {
  const V& views;
  bool reads, writes;
};
template <class V>
InPlace<V> in_place(const V& views, bool reads = true, bool writes = true) {
  return {views, reads, writes};
}

// The first `count` views of an array.
template <class T>
struct Views {
  const TensorView<T>* first;
  int count;
};
template <class T>
Views<T> views(const TensorView<T>* first, int count) {
  return {first, count};
}

// The argument of buffers() of a call, which adds each view that the call reads or writes; views without data
// are left out. call: the struct of the call, of `size` bytes; the views found are appended to `found`.
// Kernels are compiled without exceptions, so `found` must have room for all of them (program/recording.cpp).
class ViewList {
 public:
  ViewList(const void* call, size_t size, std::vector<View>& found)
      : call_(static_cast<const char*>(call)), size_(size), found_(found) {}
  template <class... V>
  void add(const V&... views) {
    (add_one(views), ...);
  }

  void note(const void* view, uint16_t item, char type, bool reads, bool writes);

 private:
  template <class T>
  void add_one(const TensorView<T>& v, bool reads = std::is_const_v<T>, bool writes = !std::is_const_v<T>) {
    static_assert(sizeof v == sizeof(AnyView));
    char type = type_of<std::remove_const_t<T>>();
    if (v.stored == Stored::float16) type = type_of<Float16>();
    if (v.stored == Stored::bfloat16) type = type_of<BFloat16>();
    note(&v, uint16_t(item_of(v)), type, reads, writes);
  }
  template <class T, class... Uses>
  void add_one(const Views<T>& list, Uses... uses) {
    for (int i = 0; i < list.count; ++i) add_one(list.first[i], uses...);
  }
  template <class T, int count, class... Uses>
  void add_one(const TensorView<T> (&array)[count], Uses... uses) {
    add_one(Views<T>{array, count}, uses...);
  }
  template <class V>
  void add_one(const InPlace<V>& v) {
    add_one(v.views, v.reads, v.writes);
  }
  template <class T>
  static constexpr char type_of() {  // the letter of View::type
    if constexpr (std::is_same_v<T, float>) return 'f';
    if constexpr (std::is_same_v<T, double>) return 'd';
    if constexpr (std::is_same_v<T, bool>) return '?';
    if constexpr (std::is_same_v<T, uint8_t>) return 'B';
    if constexpr (std::is_same_v<T, int32_t>) return 'i';
    if constexpr (std::is_same_v<T, Float16>) return 'e';
    if constexpr (std::is_same_v<T, BFloat16>) return 'E';
    return 'l';
  }

  const char* call_;
  size_t size_;
  std::vector<View>& found_;
};

}  // namespace ranvier
