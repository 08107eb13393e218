// Binds the functions of sets: unique, unique_consecutive and mode, bincount and histogram. Sizes of results
// depend on values, so a recorded step runs them eagerly (Tensor._read).
#include <cmath>

#include "bindings/binder/define.h"
#include "bindings/binder/numpy_api.h"
#include "kernels/copy/copy.h"
#include "kernels/sets/sets.h"

namespace ranvier::bind {
namespace {

// An array of any dtype that DType names, in C order.
Input in_c_order(const Input& x) {
  const py::object made = checked(reinterpret_cast<PyObject*>(PyArray_GETCONTIGUOUS(as_array(x.object()))));
  return Input::number(Arg{x.op(), x.name(), made});
}

// f(T{}) for the type of the elements of a dtype.
template <class F>
void with_element(DType dtype, const F& f) {
  switch (dtype) {
    case DType::float32:
      return f(float{});
    case DType::float64:
      return f(double{});
    case DType::int64:
      return f(int64_t{});
    case DType::uint8:
      return f(uint8_t{});
    case DType::boolean:
      return f(bool{});
    case DType::int8:
      return f(int8_t{});
    case DType::int16:
      return f(int16_t{});
    case DType::uint16:
      return f(uint16_t{});
    case DType::int32:
      return f(int32_t{});
    case DType::uint32:
      return f(uint32_t{});
    case DType::float16:
      return f(Float16{});
    case DType::bfloat16:
      return f(BFloat16{});
  }
}

bool may_have_nans(DType dtype) {
  return dtype == DType::float32 || dtype == DType::float64 || stored_as(dtype) != Stored::whole;
}

// f(Key{}) for the type of the keys of a dtype.
template <class F>
void with_key(DType dtype, const F& f) {
  if (dtype == DType::float64 || dtype == DType::int64) {
    f(uint64_t{});
  } else {
    f(uint32_t{});
  }
}

// The keys of the elements of x, which is contiguous, in x's shape.
template <class Key>
Output keys_of(const Input& x) {
  Output keys = Output::contiguous(sizeof(Key) == 8 ? DType::int64 : DType::int32, x.shape());
  auto* to = reinterpret_cast<Key*>(keys.view<StoredKey<Key>>().data);
  with_element(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    if constexpr ((sizeof(T) == 8) == (sizeof(Key) == 8)) find_keys(x.view<T>().data, x.elements(), to);
  });
  return keys;
}

// The elements x[places[k]] for k < count; x is contiguous and is read as a vector.
Output elements_at(const Input& x, const int64_t* places, int64_t count) {
  Output y = Output::contiguous(x.dtype(), {count});
  with_element(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.view<T>().data;
    T* to = y.view<T>().data;
    for (int64_t k = 0; k < count; ++k) to[k] = from[places[k]];
  });
  return y;
}

// The first `count` elements of a vector.
Output first_of(const int64_t* from, int64_t count) {
  Output y = Output::contiguous(DType::int64, {count});
  std::copy_n(from, count, y.view<int64_t>().data);
  return y;
}

// The values, and the arrays beside them that are there, as a tuple; the values alone if there is none.
struct Found : py::object {
  RANVIER_ANNOTATION("Any");
};
Found found_of(Output values, MaybeOutput inverse, MaybeOutput counts) {
  const py::object y = values.release();
  const py::object second = inverse.release();
  const py::object third = counts.release();
  if (second.is_none() && third.is_none()) return {y};
  if (second.is_none()) return {tuple_of({y, third})};
  if (third.is_none()) return {tuple_of({y, second})};
  return {tuple_of({y, second, third})};
}

// The view as a vector of n elements.
template <class View>
View flat(View view, int64_t n) {
  view.ndim = 1;
  view.shape[0] = n;
  view.strides[0] = 1;
  return view;
}

// The groups of n rows of x, which is in C order: the index of the first row of each, in the order of their
// elements; on demand the group of each row, of this shape, and the number of rows of each group.
struct Grouped {
  Output first;
  MaybeOutput inverse, counts;
  int64_t groups;
};
Grouped grouped(const Input& x, int64_t n, const Shape& of_inverse, bool with_inverse, bool with_counts) {
  const Output first = Output::contiguous(DType::int64, {n});
  MaybeOutput inverse;
  if (with_inverse) inverse = Output::contiguous(DType::int64, of_inverse);
  MaybeOutput counts;
  if (with_counts) counts = Output::contiguous(DType::int64, {n});
  int64_t groups = 0;
  with_key(x.dtype(), [&](auto tag) {
    using Key = decltype(tag);
    const Output keys = keys_of<Key>(x);
    Group<Key> call{};
    call.nans_apart = may_have_nans(x.dtype());
    call.width = n ? x.elements() / n : 1;
    call.keys = flat(as_const(keys.view<StoredKey<Key>>()), x.elements());
    call.first = first.view<int64_t>();
    if (with_inverse) call.inverse = flat(inverse.view<int64_t>(), n);
    call.counts = counts.view<int64_t>();
    call.found.data = &groups;
    invoke_sized(call, x.elements());
  });
  if (with_counts) counts = first_of(counts.view<int64_t>().data, groups);
  return {first_of(first.view<int64_t>().data, groups), std::move(inverse), std::move(counts), groups};
}

// The different elements of x in rising order; on demand the index of each element of x among them, in x's
// shape, and how often each occurs.
Found unique(const Numbers& x, Truth with_inverse, Truth with_counts) {
  const Input elements = in_c_order(x);
  Grouped found = grouped(elements, x.elements(), x.shape(), with_inverse, with_counts);
  Output values = elements_at(elements, found.first.view<int64_t>().data, found.groups);
  return found_of(std::move(values), std::move(found.inverse), std::move(found.counts));
}

// The same for the rows of a matrix; the index of the first row of each group stands for the row.
Found unique_rows(const Numbers& x, Truth with_inverse, Truth with_counts) {
  if (x.ndim() != 2 || x.shape(1) == 0) x.fail("(n, m) with m of at least 1");
  const Input elements = in_c_order(x);
  const int64_t n = x.shape(0);
  Grouped found = grouped(elements, n, {n}, with_inverse, with_counts);
  return found_of(std::move(found.first), std::move(found.inverse), std::move(found.counts));
}

// The elements of x in C order that differ from the one before; on demand the index of each element's run, in
// x's shape, and the lengths of the runs.
Found unique_consecutive(const Numbers& x, Truth with_inverse, Truth with_counts) {
  const Input elements = in_c_order(x);
  const int64_t n = x.elements();
  const Output first = Output::contiguous(DType::int64, {n});
  int64_t* const begins = first.view<int64_t>().data;
  MaybeOutput inverse;
  if (with_inverse) inverse = Output::contiguous(DType::int64, x.shape());
  int64_t runs = 0;
  with_element(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    runs = find_runs(elements.view<T>().data, n, begins, inverse.view<int64_t>().data);
  });
  Output values = elements_at(elements, begins, runs);
  MaybeOutput counts;
  if (with_counts) {
    Output lengths = Output::contiguous(DType::int64, {runs});
    int64_t* const to = lengths.view<int64_t>().data;
    for (int64_t k = 0; k < runs; ++k) to[k] = (k + 1 < runs ? begins[k + 1] : n) - begins[k];
    counts = std::move(lengths);
  }
  return found_of(std::move(values), std::move(inverse), std::move(counts));
}

// x with an axis moved to the end, in C order.
Input with_axis_last(const Input& x, int axis) {
  npy_intp order[kMaxDims];
  int used = 0;
  for (int d = 0; d < x.ndim(); ++d)
    if (d != axis) order[used++] = d;
  order[used] = axis;
  PyArray_Dims dims{order, x.ndim()};
  const py::object moved = checked(PyArray_Transpose(as_array(x.object()), &dims));
  return in_c_order(Input::number(Arg{x.op(), x.name(), moved}));
}

// The most frequent element along an axis, the least of several, and the index of its last occurrence.
std::tuple<Output, Output> mode(const Numbers& x, Axis axis, Truth keepdims) {
  const int along = axis.of(x);
  const int64_t n = x.shape(along);
  if (n == 0) x.fail("at least one element along the axis");
  const int64_t rows = x.elements() / n;
  const Input elements = with_axis_last(x, along);
  Shape shape;
  for (int d = 0; d < x.ndim(); ++d) {
    if (d != along) shape.append(x.shape(d));
    if (d == along && keepdims) shape.append(1);
  }
  Output index = Output::contiguous(DType::int64, shape);
  Output values = Output::contiguous(x.dtype(), shape);
  int64_t* const places = index.view<int64_t>().data;
  with_key(x.dtype(), [&](auto tag) {
    using Key = decltype(tag);
    const Output keys = keys_of<Key>(elements);
    ranvier::Mode<Key> call{};
    call.nans_apart = may_have_nans(x.dtype());
    call.n = n;
    call.keys = flat(as_const(keys.view<StoredKey<Key>>()), rows * n);
    call.index = flat(index.view<int64_t>(), rows);
    invoke_sized(call, x.elements());
  });
  with_element(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T* from = elements.view<T>().data;
    T* to = values.view<T>().data;
    for (int64_t row = 0; row < rows; ++row) to[row] = from[row * n + places[row]];
  });
  return {std::move(values), std::move(index)};
}

// The tables in which the elements of `bins` bins are counted (sets.h).
struct Tables {
  int64_t bins;
  Output memory;
  int64_t* counts;

  explicit Tables(int64_t bins_)
      : bins(bins_),
        memory(Output::contiguous(DType::int64, {tables_of(bins) * bins})),
        counts(memory.view<int64_t>().data) {
    std::fill_n(counts, tables_of(bins) * bins, 0);
  }
  // The counts of the first `count` bins, as int64 or as floats.
  Output joined(int64_t count) {
    join_tables(bins, counts);
    return first_of(counts, count);
  }
  void join_to(const Output& y, DType dtype, int64_t count) {
    join_tables(bins, counts);
    with_float(dtype, [&](auto tag) {
      using T = decltype(tag);
      T* const to = y.view<T>().data;
      for (int64_t k = 0; k < count; ++k) to[k] = static_cast<T>(counts[k]);
    });
  }
};

// How often each of 0, 1, 2 ... occurs in a vector of integers, up to the greatest one, or to minlength - 1.
Output bincount(const Integers& x, Whole minlength) {
  if (x.ndim() != 1) x.fail("a vector");
  if (minlength < 0) minlength.fail("a number >= 0");
  const Input elements = in_c_order(x);
  const int64_t* from = elements.view<int64_t>().data;
  const int64_t n = x.elements();
  const Extremes range = n ? extremes_of(from, n) : Extremes{0, -1};
  if (range.least < 0) x.fail("integers >= 0");
  const int64_t bins = std::max<int64_t>(minlength, range.greatest + 1);
  Tables tables(bins);
  count_values(from, n, bins, tables.counts);
  return tables.joined(bins);
}

// The number of elements in each of `bins` equal intervals from low to high, in x's dtype, and the edges of
// the intervals. If the limits are equal, the least and the greatest element; if these are equal, too, both
// are moved apart by `margin`. exact: see count_intervals(). Python computes other calls, with other limits.
std::tuple<Output, Output> histogram(const Floats& x, Whole bins, Real low, Real high, Real margin,
                                     Truth exact) {
  constexpr int64_t kMostBins = std::numeric_limits<int32_t>::max() - 1;
  if (bins < 1 || bins > kMostBins) bins.fail("from 1 to 2**31 - 2");
  const Input elements = in_c_order(x);
  const int64_t n = x.elements();
  Output hist = Output::contiguous(x.dtype(), {bins});
  Output edges = Output::contiguous(x.dtype(), {bins + 1});
  Tables tables(bins + 1);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T* from = elements.view<T>().data;
    T least = static_cast<T>(low.number);
    T most = static_cast<T>(high.number);
    if (least == most && n) {
      bool has_nan = false;
      least = most = from[0];
      for (int64_t i = 0; i < n; ++i) {
        has_nan |= from[i] != from[i];
        least = std::min(least, from[i]);
        most = std::max(most, from[i]);
      }
      if (has_nan) x.fail("no NaN");
    }
    if (least == most) {
      const T end = std::numeric_limits<T>::infinity();
      const T apart = static_cast<T>(margin.number);
      least = std::min(least - apart, std::nextafter(least, -end));
      most = std::max(most + apart, std::nextafter(most, end));
    }
    const double step = (static_cast<double>(most) - static_cast<double>(least)) / static_cast<double>(bins);
    if (!(least < most) || !std::isfinite(most - least) || step == 0) x.fail("finite limits");
    T* const at = edges.view<T>().data;
    progression(static_cast<double>(least), step, bins + 1, at);
    at[bins.number] = most;
    count_intervals(from, n, at, bins, exact, tables.counts);
  });
  tables.join_to(hist, x.dtype(), bins);
  return {std::move(hist), std::move(edges)};
}

// The number of elements in each interval between rising edges, in x's dtype. Python computes other calls.
Output histogram_between(const Floats& x, const Floats& edges) {
  const int64_t bins = edges.ndim() == 1 ? edges.shape(0) - 1 : 0;
  if (bins < 1) edges.fail("at least two edges");
  const Input elements = in_c_order(x);
  const Input limits = in_c_order(edges);
  Output hist = Output::contiguous(x.dtype(), {bins});
  Tables tables(bins + 1);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T* at = limits.view<T>().data;
    if (!std::is_sorted(at, at + bins + 1)) edges.fail("rising edges");
    count_between(elements.view<T>().data, x.elements(), at, bins, tables.counts);
  });
  tables.join_to(hist, x.dtype(), bins);
  return hist;
}

}  // namespace

void register_sets(Module m) {
  def(m, "_unique(x, inverse, counts)", unique, "unique");
  def(m, "_unique_rows(x, inverse, counts)", unique_rows, "unique");
  def(m, "_unique_consecutive(x, inverse, counts)", unique_consecutive, "unique_consecutive");
  def(m, "_mode(x, axis, keepdims)", mode, "mode");
  def(m, "_bincount(x, minlength)", bincount, "bincount");
  def(m, "_histogram(x, bins, low, high, margin, exact)", histogram, "histogram");
  def(m, "_histogram_between(x, edges)", histogram_between, "histogram");
}

}  // namespace ranvier::bind
