// Binds ops that only move elements: concatenate, stack, roll, repeat, flip and triangle. Most describe the
// result as views of the input and of the output, and copy from one view to the other.
#include <cstring>
#include <numeric>
#include <vector>

#include "bindings/binder/define.h"
#include "bindings/binder/moved.h"

namespace ranvier::bind {
namespace {

// To join arrays, the kernel `join_rows` writes row after row of the result, with parts of all arrays. It is
// used unless the rows are longer than kLongRow bytes or fewer than kFewRows: then each array is copied as a
// whole.
constexpr int64_t kLongRow = 8192;
constexpr int64_t kFewRows = 16;

// The number of rows of an array if a row is the elements that are contiguous in memory from dimension d on:
// the product of the sizes of the dimensions before d, in C order or in channels-last order (n, h, w, c).
int64_t rows_before(const Shape& shape, int d, bool channels_last) {
  constexpr int kChannelsLast[] = {0, 2, 3, 1};
  int64_t rows = 1;
  for (int k = 0; k < shape.ndim; ++k) {
    const int e = channels_last ? kChannelsLast[k] : k;
    if (e == d) break;
    rows *= shape[e];
  }
  return rows;
}

// The view of a matrix whose rows are `step` elements apart.
template <class E>
TensorView<E> matrix(E* data, int64_t rows, int64_t columns, int64_t step) {
  return {data, 2, {rows, columns}, {step, 1}};
}

// Joins the inputs, all contiguous in the memory order of y: each is a matrix of `rows` rows, and y has these
// matrices side by side. Each kernel call joins up to kJoined inputs.
template <class T>
void join_rows(const std::vector<Input>& inputs, int64_t rows, TensorView<T> y) {
  const int64_t width = numel(y) / rows;
  JoinRows<T> call{};
  int parts = 0;
  int64_t columns = 0;
  int64_t from = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const int64_t n = inputs[i].elements() / rows;
    if (n) call.x[parts++] = matrix(inputs[i].view<T>().data, rows, n, n);
    columns += n;
    if (!columns || (parts < kJoined && i + 1 < inputs.size())) continue;
    call.y = matrix(y.data + from, rows, columns, width);
    invoke_released(call);
    from += columns;
    call = {};
    parts = 0;
    columns = 0;
  }
}

// The view of an array whose elements have any dtype: `data` is the address as char*, strides count elements.
using Place = TensorView<char>;

// The bytes of an element of x.
int64_t item_bytes(const Input& x) {
  int64_t bytes = 0;
  with_size(x, [&](auto tag) { bytes = sizeof tag; });
  return bytes;
}
Place place_of(const Input& x) { return writable(x.view<char>()); }

template <class T>
TensorView<T> typed(const Place& v) {
  TensorView<T> t;
  t.data = reinterpret_cast<T*>(v.data);
  t.ndim = v.ndim;
  std::copy_n(v.shape, v.ndim, t.shape);
  std::copy_n(v.strides, v.ndim, t.strides);
  return t;
}

// Copies the elements of `from` to `to`, views of one shape and with elements of x's dtype.
void move(const Input& x, const Place& from, const Place& to) {
  const int64_t elements = numel(to);
  with_size(x, [&](auto tag) {
    using T = decltype(tag);
    invoke_sized(Copy<T>{typed<const T>(from), typed<T>(to)}, elements);
  });
}

// The view with a new dimension of length n at d, along which the elements are `step` apart.
Place widened(const Place& own, int d, int64_t n, int64_t step) {
  Place v = own;
  v.ndim = own.ndim + 1;
  for (int e = d; e < own.ndim; ++e) {
    v.shape[e + 1] = own.shape[e];
    v.strides[e + 1] = own.strides[e];
  }
  v.shape[d] = n;
  v.strides[d] = step;
  return v;
}

// Writes the inputs one after another along dimension d of y. widens: d is a dimension that the inputs lack,
// along which each has the size 1 (stack). rows: rows_before(y, d) if all inputs are contiguous in y's memory
// order, else 0.
void join(const std::vector<Input>& inputs, const Output& y, int d, int64_t rows, bool widens) {
  constexpr int64_t kShort = 1 << 18;  // so many bytes are copied in less time than the kernel calls take
  const Input& first = inputs[0];
  const int64_t item = item_bytes(first);
  Place part = y.view<char>();
  const int64_t bytes = numel(part) * item;
  // join_rows is compiled for elements of 4 and of 8 bytes.
  if (item > 2 && bytes && rows >= kFewRows && bytes / rows <= kLongRow)
    return with_size(first, [&](auto tag) {
      using T = decltype(tag);
      if constexpr (sizeof(T) > 2) join_rows<T>(inputs, rows, y.view<T>());
    });
  if (rows == 1 && bytes <= kShort && !t_recording) {
    for (const Input& x : inputs) {
      std::memcpy(part.data, x.view<char>().data, size_t(x.elements() * item));
      part.data += x.elements() * item;
    }
    return;
  }
  for (const Input& x : inputs) {
    Place from = place_of(x);
    if (widens) from = widened(from, d, 1, 1);
    part.shape[d] = from.shape[d];
    move(first, from, part);
    part.data += part.shape[d] * part.strides[d] * item;
  }
}

std::vector<Input> joined_inputs(const Arrays& arrays) {
  if (PySequence_Size(arrays.value.ptr()) == 0)
    fail_value(arrays.op, "got no tensors; expected at least one");
  std::vector<Input> inputs;
  inputs.reserve(PySequence_Size(arrays.value.ptr()));
  for (py::handle h : arrays.value) inputs.push_back(moved({arrays.op, "a tensor", h}));
  return inputs;
}

// The dimension counted from the front.
int joined_dim(const char* op, int64_t dim, int ndim) {
  if (dim < -ndim || dim >= ndim)
    fail(Fault::axis, op,
         {"got dim ", dim, " for tensors of ", ndim, " dimensions; expected ", -ndim, " to ", ndim - 1});
  return static_cast<int>(dim < 0 ? dim + ndim : dim);
}

// The arrays one after another along a dimension. The result is channels-last if all arrays are, unless all
// are also in C order, as images with dimensions of size 1 are.
Output concatenate(Arrays arrays, Whole dim) {
  const std::vector<Input> inputs = joined_inputs(arrays);
  const Input& first = inputs[0];
  const int ndim = first.ndim();
  const int d = joined_dim(arrays.op, dim, ndim);
  Shape shape = first.shape();
  shape[d] = 0;
  bool channels_last = true;
  bool all_contiguous = true;
  for (const Input& x : inputs) {
    channels_last = channels_last && is_channels_last(x);
    all_contiguous = all_contiguous && x.is_contiguous();
    first.expect_same_dtype(x);
    bool fits = x.ndim() == ndim;
    for (int e = 0; e < ndim && fits; ++e) fits = e == d || x.shape(e) == shape[e];
    if (!fits)
      fail_value(arrays.op, "got shapes ", first.shape(), " and ", x.shape(),
                 "; expected shapes equal but for dimension ", d);
    shape[d] += x.shape(d);
  }
  const bool is_last = channels_last && !all_contiguous;
  Output y = is_last ? Output::channels_last(first.dtype(), shape) : Output::contiguous(first.dtype(), shape);
  const int64_t rows = is_last || all_contiguous ? rows_before(shape, d, is_last) : 0;
  join(inputs, y, d, rows, /*widens=*/false);
  return y;
}

// Joins arrays of one shape along a new dimension.
Output stack(Arrays arrays, Whole dim) {
  const std::vector<Input> inputs = joined_inputs(arrays);
  const Input& first = inputs[0];
  if (first.ndim() == kMaxDims) first.fail(kFewerDims);
  const int d = joined_dim(arrays.op, dim, first.ndim() + 1);
  bool all_contiguous = true;
  for (const Input& x : inputs) {
    first.expect_same_dtype(x);
    if (!x.has_shape(first.shape()))
      fail_value(arrays.op, "got shapes ", first.shape(), " and ", x.shape(), "; expected equal shapes");
    all_contiguous = all_contiguous && x.is_contiguous();
  }
  Shape shape;
  for (int e = 0; e < first.ndim(); ++e) {
    if (e == d) shape.append(static_cast<int64_t>(inputs.size()));
    shape.append(first.shape(e));
  }
  if (d == first.ndim()) shape.append(static_cast<int64_t>(inputs.size()));
  Output y = Output::contiguous(first.dtype(), shape);
  const int64_t rows = all_contiguous ? rows_before(shape, d, /*channels_last=*/false) : 0;
  join(inputs, y, d, rows, /*widens=*/true);
  return y;
}

// Matrices, or vectors as matrices of one row, along the diagonal of a matrix that is 0 elsewhere.
Output block_diagonal(Arrays matrices) {
  if (t_recording) fail_type(matrices.op, "got a recorded step; expected an eager call");
  const std::vector<Input> parts = joined_inputs(matrices);
  const Input& first = parts[0];
  int64_t rows = 0;
  int64_t columns = 0;
  const auto height = [](const Input& x) { return x.ndim() == 2 ? x.shape(0) : 1; };
  const auto width = [](const Input& x) { return x.ndim() == 0 ? 1 : x.shape(x.ndim() - 1); };
  for (const Input& x : parts) {
    first.expect_same_dtype(x);
    if (x.ndim() > 2) x.fail("at most two dimensions");
    rows += height(x);
    columns += width(x);
  }
  Output y = Output::contiguous(first.dtype(), {rows, columns});
  const int64_t item = item_bytes(first);
  Place to = y.view<char>();
  std::memset(to.data, 0, static_cast<size_t>(rows * columns * item));
  for (const Input& x : parts) {
    Place from = place_of(x);
    while (from.ndim < 2) from = widened(from, 0, 1, 0);
    to.shape[0] = height(x);
    to.shape[1] = width(x);
    if (numel(from)) move(x, from, to);
    to.data += (height(x) * columns + width(x)) * item;
  }
  return y;
}

// x shifted cyclically by `step` along an axis. axis None: all elements in C order are shifted as one row.
Output roll(Raw array, Whole step, MaybeWhole axis) {
  const Input x = moved(array);
  if (!axis.given() && !x.is_contiguous()) x.fail("memory in C order");
  const int d = axis.given() ? Axis(axis).of(x) : 0;
  const int64_t item = item_bytes(x);
  Output y = Output::contiguous(x.dtype(), x.shape());
  Place from = place_of(x);
  Place to = y.view<char>();
  if (!axis.given()) {
    from.ndim = to.ndim = 1;
    from.strides[0] = to.strides[0] = 1;
    from.shape[0] = x.elements();
  }
  const int64_t n = from.shape[d];
  const int64_t shift = n ? (step % n + n) % n : 0;
  from.shape[d] = to.shape[d] = n - shift;
  to.data += shift * to.strides[d] * item;
  move(x, from, to);
  if (shift == 0) return y;
  from.data += (n - shift) * from.strides[d] * item;
  to.data -= shift * to.strides[d] * item;
  from.shape[d] = to.shape[d] = shift;
  move(x, from, to);
  return y;
}

// Repeats each slice of x along an axis `times` times: a a b b c c. The axis becomes two dimensions: the
// slices, and a dimension of size `times`, along which the input has the stride 0.
Output repeat_each(Raw array, Whole times, Axis axis) {
  const Input x = moved(array);
  const int d = axis.of(x);
  if (x.ndim() == kMaxDims) x.fail(kFewerDims);
  if (times < 0) times.fail("a number >= 0");
  Shape shape = x.shape();
  if (__builtin_mul_overflow(shape[d], times.number, &shape[d])) times.fail("a smaller number");
  Output y = Output::contiguous(x.dtype(), shape);
  Place to = y.view<char>();
  to.shape[d] = x.shape(d);
  to = widened(to, d + 1, times, to.strides[d]);
  to.strides[d] *= times;
  if (numel(to)) move(x, widened(place_of(x), d + 1, times, 0), to);
  return y;
}

// The indices of the elements on and above (or below) a diagonal of a matrix, row by row: an int64 array (2,
// n) with the row numbers, then the column numbers. diagonal: 0 is the main one, 1 the one above it.
Output triangle_indices(Whole rows, Whole columns, Whole diagonal, Truth upper) {
  constexpr int64_t kMost = int64_t{1} << 31;
  if (rows < 0 || columns < 0 || rows >= kMost || columns >= kMost) rows.fail("sizes from 0 to 2**31 - 1");
  const int64_t edge = std::clamp<int64_t>(diagonal, -rows - 1, columns + 1);
  const auto first = [&](int64_t i) { return upper ? std::clamp<int64_t>(i + edge, 0, columns) : 0; };
  const auto last = [&](int64_t i) {
    return upper ? columns : std::clamp<int64_t>(i + edge + 1, 0, columns);
  };
  int64_t n = 0;
  for (int64_t i = 0; i < rows; ++i) n += last(i) - first(i);
  Output y = Output::contiguous(DType::int64, {2, n});
  int64_t* to = y.view<int64_t>().data;
  std::vector<int64_t> numbers(static_cast<size_t>(columns));  // of the columns, of which each row has a part
  std::iota(numbers.begin(), numbers.end(), 0);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t begin = first(i);
    const int64_t count = std::max<int64_t>(last(i) - begin, 0);
    std::fill_n(to, count, i);
    std::copy_n(numbers.data() + begin, count, to + n);
    to += count;
  }
  return y;
}

// The number of ways to choose r of n elements; with `repeated` an element may be chosen several times. Fails
// if the indices of all would have more elements than an array may have.
int64_t ways_to_choose(const Whole& n, int64_t r, bool repeated) {
  const int64_t all = repeated ? n + r - 1 : n.number;
  if (r > all) return 0;
  double rows = 1;  // a product of quotients, exact below 2^53
  for (int64_t i = 1; i <= std::min(r, all - r); ++i) {
    rows = std::round(rows * static_cast<double>(all + 1 - i) / static_cast<double>(i));
    if (rows * static_cast<double>(r) > 0x1p40)
      n.fail("fewer elements: these have more than 2**40 combinations");
  }
  return static_cast<int64_t>(rows);
}

// The indices of r of n elements in rising order, in each way to choose them, as int64 rows (ways, r) in
// lexicographic order. repeated: an index may occur several times.
Output combination_indices(Whole n, Whole r, Truth repeated) {
  if (n < 0 || r < 1) n.fail("a size and r of at least 1");
  const int64_t rows = ways_to_choose(n, r, repeated);
  Output y = Output::contiguous(DType::int64, {rows, r});
  const int64_t apart = repeated ? 0 : 1;  // the least difference of two neighbours
  int64_t* to = y.view<int64_t>().data;
  const int64_t last = r - 1;
  std::vector<int64_t> row(static_cast<size_t>(r));
  for (int64_t i = 0; i < r; ++i) row[i] = i * apart;
  for (int64_t done = 0; done < rows;) {
    // all rows that differ from this one in the last index only
    const int64_t runs = n - row[last];
    for (int64_t k = 0; k < runs; ++k, to += r) {
      std::copy_n(row.data(), last, to);
      to[last] = row[last] + k;
    }
    done += runs;
    int64_t i = last - 1;  // the last index that can rise
    while (i >= 0 && row[i] + 1 + (last - i) * apart >= n) --i;
    if (i < 0) break;
    ++row[i];
    for (int64_t j = i + 1; j < r; ++j) row[j] = row[j - 1] + apart;
  }
  return y;
}

// x reversed along axes: copied from a view that begins at the last element and has negative strides there.
Output flip(Raw array, Sizes axes) {
  const Input x = moved(array);
  Place from = place_of(x);
  const int64_t item = item_bytes(x);
  bool reversed[kMaxDims] = {};
  for (int i = 0; i < axes.count(); ++i) {
    const int64_t d = axes[i] < 0 ? axes[i] + x.ndim() : axes[i];
    if (d < 0 || d >= x.ndim() || reversed[d]) axes.fail("each dimension once");
    reversed[d] = true;
    from.data += std::max<int64_t>(from.shape[d] - 1, 0) * from.strides[d] * item;
    from.strides[d] = -from.strides[d];
  }
  Output y = Output::like(x, x.dtype());
  move(x, from, y.view<char>());
  return y;
}

// x repeated as a whole times[d] times along each dimension d. If `times` has more items than x has
// dimensions, x gets dimensions of size 1 in front. Each dimension becomes two: the repetitions, with the
// stride 0 in x, and x's own elements.
Output repeat_all(Raw array, Sizes times) {
  const Input x = moved(array);
  const int ndim = times.count();
  const int lead = ndim - x.ndim();
  if (lead < 0) times.fail("a number for each dimension");
  if (ndim > kMaxDims) times.fail(kMostDims);
  Shape shape;
  for (int d = 0; d < ndim; ++d) {
    const int64_t size = d < lead ? 1 : x.shape(d - lead);
    shape.append(size);
    if (times[d] < 0 || __builtin_mul_overflow(shape[d], times[d], &shape[d]))
      times.fail("smaller numbers >= 0");
  }
  Output y = Output::contiguous(x.dtype(), shape);
  const Place own = place_of(x);
  const Place whole = y.view<char>();
  Place from = own;
  Place to = whole;
  from.ndim = to.ndim = 0;
  const auto add = [&](int64_t n, int64_t step_from, int64_t step_to) {
    if (n == 1) return;
    if (to.ndim == kMaxDims) times.fail(kFewerDims);
    from = widened(from, from.ndim, n, step_from);
    to = widened(to, to.ndim, n, step_to);
  };
  for (int d = 0; d < ndim; ++d) {
    const int64_t n = d < lead ? 1 : own.shape[d - lead];
    const int64_t step = d < lead ? 0 : own.strides[d - lead];
    add(times[d], 0, n * whole.strides[d]);  // the repetitions
    add(n, step, whole.strides[d]);          // x's own elements
  }
  if (numel(whole)) move(x, from, to);
  return y;
}

// Each matrix of x (..., rows, columns) with zeros below (upper) or above a diagonal.
Output triangle(Raw matrices, Whole diagonal, Truth upper) {
  const Input x = moved(matrices);
  if (x.ndim() < 2) x.fail("at least 2 dimensions");
  Output y = Output::contiguous(x.dtype(), x.shape());
  const int64_t rows = x.shape(x.ndim() - 2);
  const int64_t columns = x.shape(x.ndim() - 1);
  const int64_t edge = std::clamp<int64_t>(diagonal, -rows - 1, columns + 1);  // beyond it, all or no zeros
  const auto run = [&](auto tag) {
    using T = decltype(tag);
    invoke_sized(Triangle<T>{upper, edge, x.view<T>(), y.view<T>()}, x.elements());
  };
  with_size(x, run);
  return y;
}

}  // namespace

void register_join(Module m) {
  def(m, "concatenate(arrays, axis=0)", concatenate, "cat");
  def(m, "stack(arrays, axis=0)", stack);
  def(m, "roll(x, step, axis)", roll);
  def(m, "repeat(x, times)", repeat_all);
  def(m, "repeat_each(x, times, axis)", repeat_each);
  def(m, "_triangle_indices(rows, columns, diagonal, upper)", triangle_indices);
  def(m, "_combination_indices(n, r, repeated)", combination_indices, "combinations");
  def(m, "_block_diagonal(matrices)", block_diagonal, "block_diag");
  def(m, "flip(x, axes)", flip);
  def(m, "triangle(x, diagonal, upper)", triangle);
}

}  // namespace ranvier::bind
