// Binds dropout and random numbers. There are two kinds: kernels draw from the library's counter-based
// generator, by a key for each call, and can be recorded; functions that get a numpy.random.Philox
// (`generator`) draw from its stream the numbers that NumPy would draw, and are no kernel calls.
#include <limits>
#include <new>

#include "bindings/binder/define.h"
#include "bindings/binder/methods.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/tensors/tensors.h"
#include "kernels/dropout/draw.h"
#include "kernels/dropout/dropout.h"

namespace ranvier::bind {
namespace {

// The key for one call. state: the seed, and the number of keys so far, to which 1 is added.
Output next_key(InPlace state) {
  const auto seed = state.of(DType::int64, {2}).view<int64_t>();
  if (seed.strides[0] != 1) fail_value(state.op, "got a strided state; expected a contiguous one");
  Output key = Output::contiguous(DType::int64, {2});
  invoke(NextKey{seed, key.view<int64_t>()});
  return key;
}

// Fills `order` with a random permutation of 0 ... n - 1. This is no kernel call, so a compiled step does not
// record it, as it does not record draws of NumPy. A negative seed counts as seed + 2**64.
void permute(InPlace order, Whole seed) {
  const auto v = order.of(DType::int64, {static_cast<int64_t>(py::len(order.value))}).view<int64_t>();
  if ((v.shape[0] > 1 && v.strides[0] != 1) || v.shape[0] >= int64_t{1} << 32)
    fail_value(order.op, "got a strided or too long array");
  permutation(static_cast<uint64_t>(seed.number), v.shape[0], v.data);
}

// The C interface of NumPy's generators begins with a pointer to their state.
struct BitGenerator {
  PhiloxState* state;
};

// The state of a numpy.random.Philox, which PhiloxState describes. Null if a part of it would not lie within
// the object, as with a version of NumPy that stores it in another way.
PhiloxState* state_of(PyObject* object) {
  static PyObject* const name = PyUnicode_InternFromString("capsule");
  const auto capsule = py::reinterpret_steal<py::object>(PyObject_GetAttr(object, name));
  void* found = capsule ? PyCapsule_GetPointer(capsule.ptr(), "BitGenerator") : nullptr;
  if (!found) throw py::error_already_set();
  PhiloxState* state = static_cast<BitGenerator*>(found)->state;
  const auto contains = [&](const void* part, size_t bytes) {
    const size_t from = static_cast<const char*>(part) - reinterpret_cast<const char*>(object);
    return from + bytes <= size_t(Py_TYPE(object)->tp_basicsize) && from < from + bytes;
  };
  const bool inside = contains(state, sizeof *state) && contains(state->counter, 4 * sizeof(uint64_t)) &&
                      contains(state->key, 2 * sizeof(uint64_t));
  return inside ? state : nullptr;
}

// True if the memory of a Philox holds these 13 numbers where PhiloxState has them: counter (4), key (2),
// buffer (4), position, has_half, half. Python checks this once, before it uses the functions below.
bool knows_philox(Raw generator, Sizes numbers) {
  const PhiloxState* state = state_of(generator.value.ptr());
  if (!state || numbers.count() != 13) return false;
  const auto number = [&](int i) {
    const auto item = py::reinterpret_steal<py::object>(PySequence_GetItem(numbers.value.ptr(), i));
    return PyLong_AsUnsignedLongLongMask(item.ptr());
  };
  bool same = state->position == int(number(10)) && state->has_half == int(number(11)) &&
              state->half == uint32_t(number(12));
  for (int i = 0; i < 4; ++i)
    same = same && state->counter[i] == number(i) && state->buffer[i] == number(6 + i);
  for (int i = 0; i < 2; ++i) same = same && state->key[i] == number(4 + i);
  return same;
}

// The same state; TypeError if it is none.
PhiloxState& known_state_of(PyObject* generator) {
  PhiloxState* state = state_of(generator);
  if (!state || state->position < 0 || state->position > 4)
    fail_type("random", "got another generator; expected a numpy.random.Philox");
  return *state;
}

PyObject *g_lock, *g_acquire, *g_release;  // names of attributes

// Holds the lock of a NumPy generator, which NumPy's own draws hold while they release the GIL.
class Drawing {
 public:
  __attribute__((noinline)) explicit Drawing(PyObject* generator) {
    lock_ = checked(PyObject_GetAttr(generator, g_lock));
    checked(PyObject_CallMethodNoArgs(lock_.ptr(), g_acquire));
  }
  Drawing(const Drawing&) = delete;
  __attribute__((noinline)) ~Drawing() {
    PyObject* done = PyObject_CallMethodNoArgs(lock_.ptr(), g_release);
    if (done) {
      Py_DECREF(done);
    } else {
      PyErr_WriteUnraisable(lock_.ptr());
    }
  }

 private:
  py::object lock_;
};

constexpr int64_t kHuge = INT64_MIN;

// The value of a Python int from 0 to `most`. A negative number for anything else: kHuge if 64 bits cannot
// hold it.
int64_t whole_below(PyObject* x, int64_t most) {
  if (!PyLong_CheckExact(x)) return -1;
  int overflow = 0;
  const int64_t number = PyLong_AsLongLongAndOverflow(x, &overflow);
  if (overflow) return kHuge;
  if (number > most) return -1;
  return number;
}

// The next two functions return None if Python has to draw.

py::object next_permutation(PyObject*, PyObject* const* a, Py_ssize_t) {  // generator or None, n
  const int64_t n = whole_below(a[1], UINT32_MAX);
  if (a[0] == Py_None || n < 0) return py::none();
  const Drawing drawing(a[0]);
  PhiloxState& state = known_state_of(a[0]);
  Output y = Output::contiguous(DType::int64, {n});
  permutation(state, n, y.view<int64_t>().data);
  return new_tensor(y.release().ptr());
}

py::object next_integers(PyObject*, PyObject* const* a, Py_ssize_t) {  // generator or None, low, high, size
  if (a[0] == Py_None || !PyLong_CheckExact(a[1]) || !PyLong_CheckExact(a[2])) return py::none();
  const bool several = PyTuple_Check(a[3]) || PyList_CheckExact(a[3]);
  if (!several) return py::none();
  if (PySequence_Fast_GET_SIZE(a[3]) > kMaxDims)
    fail_value("randint", "got shape ", py::handle(a[3]), "; expected ", kMostDims);
  int below = 0;
  int above = 0;
  const int64_t low = PyLong_AsLongLongAndOverflow(a[1], &below);
  const int64_t high = PyLong_AsLongLongAndOverflow(a[2], &above);
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) - 1;
  if (below || above || low >= high || range > UINT32_MAX) return py::none();
  Shape shape;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(a[3]); ++i) {
    PyObject* size = PySequence_Fast_GET_ITEM(a[3], i);
    if (!PyLong_CheckExact(size)) return py::none();
    const int64_t n = whole_below(size, INT64_MAX);
    if (n == kHuge) throw std::bad_alloc();
    if (n < 0) fail_value("randint", "got shape ", py::handle(a[3]), "; expected sizes >= 0");
    shape.append(n);
  }
  const Drawing drawing(a[0]);
  PhiloxState& state = known_state_of(a[0]);
  Output y = Output::contiguous(DType::int64, shape);
  bounded(state, low, static_cast<uint32_t>(range), numel(y.view<int64_t>()), y.view<int64_t>().data);
  return new_tensor(y.release().ptr());
}

// Sets each element of `out`, in C order, to 1 with a probability, else to 0. limit: the probability, a
// number or an array of out's shape in C order.
void next_bernoulli(Raw generator, Raw limit, InPlace out) {
  const Drawing drawing(generator.value.ptr());
  PhiloxState& state = known_state_of(generator.value.ptr());
  const Input before = Input::floating(out);
  const Output y = out.of(before.dtype(), before.shape());
  const int64_t n = before.elements();
  if (!before.is_contiguous()) before.fail("an array in C order");
  const auto draw = [&](const auto* limits, int64_t step) {
    with_float(before.dtype(),
               [&](auto tag) { bernoulli(state, limits, step, n, y.view<decltype(tag)>().data); });
  };
  if (!PyArray_Check(limit.value.ptr())) {
    const double p = Real(limit);
    return draw(&p, 0);
  }
  const Input p = Input::floating(limit);
  if (!p.is_contiguous() || !p.has_shape(before.shape())) p.fail("the shape of the result");
  y.apart_from(p, true);
  with_float(p.dtype(), [&](auto tag) { draw(p.view<decltype(tag)>().data, 1); });
}

// Fills `out`, in C order, with the numbers of random_uniform(shape, dtype, a, b, next_key(state)), or of
// random_normal.
void fill_random(Truth normal, Real a, Real b, InPlace state, InPlace out) {
  const Input before = Input::floating(out);
  const Output y = out.of(before.dtype(), before.shape());
  if (!before.is_contiguous()) before.fail("an array in C order");
  const auto seed = state.of(DType::int64, {2}).view<int64_t>();
  if (seed.strides[0] != 1) fail_value(state.op, "got a strided state; expected a contiguous one");
  int64_t key[2];
  TensorView<int64_t> made = seed;
  made.data = key;
  invoke(NextKey{seed, made});
  const Distribution distribution = normal ? Distribution::normal : Distribution::uniform;
  run_sized<RandomFill>(before.elements(), before.dtype(), distribution, a.number, b.number, as_const(made),
                        y);
}

// The gradient is the same call with dy in place of x.
Output dropout(const Floats& x, Real p, const Key& key, Out out) {
  if (!(p >= 0 && p <= 1)) p.fail("a probability, 0 to 1");
  Output y = out.like_or_onto(x, x);
  run<Dropout>(x.dtype(), p.number, key, x, y);
  return y;
}

Output filled(Distribution distribution, const Sizes& shape, const Name& dtype, double a, double b,
              const Key& key) {
  if (dtype.text != "float32" && dtype.text != "float64") dtype.wrong_type("float32 or float64");
  const DType type = dtype.text == "float32" ? DType::float32 : DType::float64;
  Output y = Output::contiguous(type, shape.shape());
  run_sized<RandomFill>(numel(y.view<char>()), type, distribution, a, b, key, y);
  return y;
}

Output random_uniform(ShapeArg shape, Name dtype, Real low, Real high, const Key& key) {
  if (!(low <= high))
    fail_value(low.op, "got low ", low.number, " and high ", high.number, "; expected low <= high");
  return filled(Distribution::uniform, shape, dtype, low, high, key);
}

Output random_normal(ShapeArg shape, Name dtype, Real mean, Real std, const Key& key) {
  std.at_least(0);
  return filled(Distribution::normal, shape, dtype, mean, std, key);
}

// True if all weights are finite and >= 0, and the sum of each row is > 0.
template <class T>
bool are_weights(const TensorView<const T>& w) {
  bool fits = true;
  for (int64_t i = 0; i < w.shape[0]; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < w.shape[1]; ++j) {
      const T x = w.data[i * w.strides[0] + j * w.strides[1]];
      fits &= x >= 0 && x <= std::numeric_limits<T>::max();
      sum += static_cast<double>(x);
    }
    fits &= sum > 0;
  }
  return fits;
}

// multinomial: for each row of weights (m, n) the indices of `samples` draws. draw: a function of Python that
// gets the shape of the random numbers that are needed, and returns them. It is called after the weights have
// been checked.
Output draw_rows(const Floats& weights, Whole samples, Truth replacement, Raw draw) {
  if (weights.ndim() != 2) weights.fail("(m, n)");
  if (samples < 1) samples.fail("at least one");
  bool fits = false;
  with_float(weights.dtype(), [&](auto tag) { fits = are_weights(weights.view<decltype(tag)>()); });
  if (!fits)
    fail_value(weights.op(), "got weights that are negative, not finite or all 0; expected weights >= 0");
  if (!replacement && weights.shape(1) < samples)
    fail_value(weights.op(), "got ", samples.number, " samples without replacement from ", weights.shape(1),
               " weights; expected at most as many");
  const int64_t m = weights.shape(0);
  const int64_t each = replacement ? samples.number : weights.shape(1);
  const py::object shape = tuple_of({py::int_(m), py::int_(each)});
  const py::object u = checked(PyObject_CallOneArg(draw.value.ptr(), shape.ptr()));
  const Input uniform = Input::exactly({weights.op(), "draw", u}, DType::float64);
  uniform.expect_shape({m, each});
  if (!uniform.is_contiguous()) uniform.fail("a contiguous array");
  Output chosen = Output::contiguous(DType::int64, {m, samples});
  run<DrawRows>(weights.dtype(), replacement.holds, weights, uniform, chosen);
  return chosen;
}

PyMethodDef g_random_functions[] = {
    method<next_permutation, 2>("_next_permutation", "_next_permutation(generator: Any, n: Any) -> Any"),
    method<next_integers, 4>("_next_integers",
                             "_next_integers(generator: Any, low: Any, high: Any, size: Any) -> Any"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_dropout(Module m) {
  g_lock = PyUnicode_InternFromString("lock");
  g_acquire = PyUnicode_InternFromString("acquire");
  g_release = PyUnicode_InternFromString("release");
  if (PyModule_AddFunctions(m.ptr(), g_random_functions) < 0) throw py::error_already_set();
  def(m, "draw_rows(weights, samples, replacement, draw)", draw_rows, "multinomial");
  def(m, "next_key(state)", next_key);
  def(m, "permute(order, seed)", permute);
  def(m, "_knows_philox(generator, numbers)", knows_philox);
  def(m, "_next_bernoulli(generator, limit, out)", next_bernoulli);
  def(m, "_fill_random(normal, a, b, key, out)", fill_random);
  def(m, "dropout(x, p, key, out=None)", dropout);
  def(m, "random_uniform(shape, dtype, low, high, key)", random_uniform);
  def(m, "random_normal(shape, dtype, mean, std, key)", random_normal);
}

}  // namespace ranvier::bind
