// cast (copy.h), divided among threads. Contiguous arrays of the most common dtypes take one loop
// (cast.isa.cpp). In all other cases blocks of x are converted to a wide type, which can hold all values of
// x, and then to the dtype of y. So one function for each dtype is enough, instead of one for each pair.
#include "kernels/copy/copy.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

constexpr int64_t kBlock = 256;     // elements of a block
constexpr double kNsPerCast = 0.3;  // on one thread, roughly

// n elements of an array, `step` apart, to a contiguous block of a wide type, and back.
using Load = void (*)(const void*, int64_t step, int64_t n, void* block);
using Store = void (*)(const void* block, int64_t n, void*, int64_t step);

template <class T, class Wide>
void load(const void* x, int64_t step, int64_t n, void* block) {
  const T* p = static_cast<const T*>(x);
  Wide* wide = static_cast<Wide*>(block);
  if (step == 1)
    for (int64_t i = 0; i < n; ++i) wide[i] = static_cast<Wide>(p[i]);
  else
    for (int64_t i = 0; i < n; ++i) wide[i] = static_cast<Wide>(p[i * step]);
}

template <class Wide, class To>
void store(const void* block, int64_t n, void* y, int64_t step) {
  const Wide* wide = static_cast<const Wide*>(block);
  To* p = static_cast<To*>(y);
  if (step == 1)
    for (int64_t i = 0; i < n; ++i) p[i] = static_cast<To>(wide[i]);
  else
    for (int64_t i = 0; i < n; ++i) p[i * step] = static_cast<To>(wide[i]);
}

// The wide types. A dtype takes the smallest of them that has all of its values.
enum class Wide { int32, int64, float64 };

bool is_float(DType x) {
  return x == DType::float32 || x == DType::float64 || x == DType::float16 || x == DType::bfloat16;
}

// The wide type of a dtype.
Wide wide_of(DType from) {
  if (is_float(from)) return Wide::float64;
  if (from == DType::int64 || from == DType::uint32) return Wide::int64;
  return Wide::int32;
}

constexpr Load kLoads[] = {  // by DType
    load<float, double>,    load<double, double>,    load<int64_t, int64_t>, load<uint8_t, int32_t>,
    load<uint8_t, int32_t>, load<int8_t, int32_t>,   load<int16_t, int32_t>, load<uint16_t, int32_t>,
    load<int32_t, int32_t>, load<uint32_t, int64_t>, load<Float16, double>,  load<BFloat16, double>};
static_assert(std::size(kLoads) == static_cast<size_t>(DType::bfloat16) + 1);

template <class To>
Store store_of(Wide wide) {
  if (wide == Wide::float64) return store<double, To>;
  if (wide == Wide::int64) return store<int64_t, To>;
  return store<int32_t, To>;
}

using Dense = void (*)(const void* x, int64_t n, void* y);

// The loop of cast.isa.cpp for these dtypes, or null.
Dense dense_of(DType from, DType to) {
  if (from == DType::boolean) from = DType::uint8;  // a byte that is 0 or 1
  const auto* const row = std::find(std::begin(kCastFrom), std::end(kCastFrom), from);
  if (row == std::end(kCastFrom)) return nullptr;
  const auto* const column = std::find(std::begin(kCastTo), std::end(kCastTo), to);
  return cast_kernels().dense[row - std::begin(kCastFrom)][column - std::begin(kCastTo)];
}

void copy_of_16(const void* x, int64_t n, void* y) { std::memcpy(y, x, 2 * static_cast<size_t>(n)); }

// One of the two arrays of a cast.
struct Side {
  const void* data;
  int64_t item;  // bytes
  const int64_t* strides;
};

// Runs of elements that are contiguous in x and y go to `dense`, if it is not null; all others go block by
// block.
void cast(const Team& team, Load load, Store store, Dense dense, int ndim, const int64_t* shape,
          const Side& x, const Side& y) {
  const LoopNest<2> nest(ndim, shape, {x.strides, y.strides});
  const int64_t step_x = nest.strides[0][nest.ndim - 1];
  const int64_t step_y = nest.strides[1][nest.ndim - 1];
  team.walk(nest, kNsPerCast * nest.size, [&](int64_t count, const int64_t* offsets) {
    alignas(64) int64_t block[kBlock];  // memory for elements of any dtype of up to 8 bytes
    const char* p = static_cast<const char*>(x.data) + offsets[0] * x.item;
    char* q = const_cast<char*>(static_cast<const char*>(y.data)) + offsets[1] * y.item;
    if (dense && step_x == 1 && step_y == 1) return dense(p, count, q);
    for (int64_t i = 0; i < count; i += kBlock) {
      const int64_t n = std::min(kBlock, count - i);
      load(p + i * step_x * x.item, step_x, n, block);
      store(block, n, q + i * step_y * y.item, step_y);
    }
  });
}

template <class T>
constexpr DType dtype_of() {
  if (std::is_same_v<T, float>) return DType::float32;
  if (std::is_same_v<T, double>) return DType::float64;
  if (std::is_same_v<T, int64_t>) return DType::int64;
  if (std::is_same_v<T, Float16>) return DType::float16;
  if (std::is_same_v<T, BFloat16>) return DType::bfloat16;
  if (std::is_same_v<T, int32_t>) return DType::int32;
  return DType::boolean;
}

}  // namespace

template <class From, class To>
void Cast<From, To>::run(const Team& team, void*) const {
  const Side in{x.data, sizeof(From), x.strides};
  const Side out{y.data, sizeof(To), y.strides};
  // Equal dtypes of 16 bits: the bits are copied as they are. A conversion to float and back could change
  // those of a NaN.
  if (from == dtype_of<To>() && sizeof(To) == 2)
    return cast(team, load<uint16_t, int32_t>, store<int32_t, uint16_t>, copy_of_16, x.ndim, x.shape, in,
                out);
  const Load load_from = kLoads[static_cast<int>(from)];
  const Store store_to = store_of<To>(wide_of(from));
  const Dense dense = dense_of(from, dtype_of<To>());  // or null
  cast(team, load_from, store_to, dense, x.ndim, x.shape, in, out);
}

#define RANVIER_CAST(From)             \
  template struct Cast<From, float>;   \
  template struct Cast<From, double>;  \
  template struct Cast<From, int64_t>; \
  template struct Cast<From, int32_t>; \
  template struct Cast<From, bool>;    \
  template struct Cast<From, Float16>; \
  template struct Cast<From, BFloat16>;
RANVIER_CAST(uint8_t)
RANVIER_CAST(uint16_t)
RANVIER_CAST(uint32_t)
RANVIER_CAST(uint64_t)
#undef RANVIER_CAST

}  // namespace ranvier
