// Binds matmul, linear layers and the solution of triangular systems. Shapes follow NumPy's rules: batches of
// matrices broadcast. A kernel call multiplies matrices along one batch dimension; run_batches() makes calls
// for the others.
#include "base/precision.h"
#include "bindings/binder/define.h"
#include "bindings/binder/numpy_api.h"
#include "kernels/matmul/halves.h"
#include "kernels/matmul/tile.h"

namespace ranvier::bind {
namespace {

constexpr const char* kOp = "matmul";
// So many multiply-adds take as long as an element of an element-wise op, by which invoke_sized() measures.
constexpr int64_t kProductsPerElement = 8;

// The shapes of a @ b, for a (batch..., m, k) and b (batch..., k, n). A vector a counts as a row (m = 1) and
// a vector b as a column (n = 1); the result does not have that dimension.
struct Shapes {
  Shape out;    // of the result
  Shape batch;  // the broadcast batch dimensions
  int64_t m, n, k;
};

[[noreturn]] void fail_shapes(const Input& a, const Input& b, const char* expected) {
  fail_value(kOp, "got a of shape ", a.shape(), " and b of shape ", b.shape(), "; expected ", expected);
}

Shapes shapes_of(const Input& a, const Input& b) {
  if (a.ndim() == 0 || b.ndim() == 0) fail_shapes(a, b, "operands of at least one dimension");
  Shapes s;
  s.m = a.ndim() == 1 ? 1 : a.shape(a.ndim() - 2);
  s.k = a.shape(a.ndim() - 1);
  s.n = b.ndim() == 1 ? 1 : b.shape(b.ndim() - 1);
  const int64_t kb = b.ndim() == 1 ? b.shape(0) : b.shape(b.ndim() - 2);
  if (s.k != kb) fail_shapes(a, b, "the last dimension of a to equal the last but one of b");
  const int da = std::max(a.ndim() - 2, 0);
  const int db = std::max(b.ndim() - 2, 0);
  const int batches = std::max(da, db);
  for (int d = 0; d < batches; ++d) {
    const int ia = d - (batches - da);
    const int ib = d - (batches - db);
    const int64_t na = ia < 0 ? 1 : a.shape(ia);
    const int64_t nb = ib < 0 ? 1 : b.shape(ib);
    if (na != nb && na != 1 && nb != 1) fail_shapes(a, b, "batch dimensions that broadcast");
    const int64_t size = na == 1 ? nb : na;
    s.batch.append(size);
  }
  s.out = s.batch;
  if (a.ndim() > 1) s.out.append(s.m);
  if (b.ndim() > 1) s.out.append(s.n);
  return s;
}

// Makes v a view (batch, rows, columns) of an operand's first matrix; run_batches() sets the batch dimension.
// column_vector: a vector x is a column, else a row.
template <class T>
void set_matrices(TensorView<T>& v, const TensorView<T>& x, int64_t rows, int64_t columns,
                  bool column_vector) {
  v.ndim = 3;
  v.data = x.data;
  v.shape[1] = rows;
  v.shape[2] = columns;
  if (x.ndim == 1) {
    v.strides[1] = column_vector ? x.strides[0] : 0;
    v.strides[2] = column_vector ? 0 : x.strides[0];
  } else {
    v.strides[1] = x.strides[x.ndim - 2];
    v.strides[2] = x.strides[x.ndim - 1];
  }
}

// The stride of operand x along dimension d of the batch dimensions; 0 where x is broadcast.
template <class T>
int64_t batch_stride(const TensorView<T>& x, int d, int batch_ndim) {
  const int own = d - (batch_ndim - std::max(x.ndim - 2, 0));
  return own < 0 || x.shape[own] == 1 ? 0 : x.strides[own];
}

// Runs `call` for all batches. a, b, saved, c: the views of the whole arrays; call.a, call.b, call_saved,
// call_c: the views (batch, rows, columns) of the call, already set to the first matrices. The innermost
// batch dimensions that are evenly spaced in all arrays become the call's one batch dimension; a loop runs
// over the others.
template <class T, class To, class Call>
void run_batches(const Shapes& s, const TensorView<const T>& a, const TensorView<const T>& b,
                 const TensorView<const T>& saved, const TensorView<To>& c, Call& call,
                 TensorView<const T>& call_saved, TensorView<To>& call_c) {
  int64_t count = 1;
  int64_t stride_a = 0;
  int64_t stride_b = 0;
  int64_t stride_c = 0;
  int64_t stride_saved = 0;
  int outer = s.batch.ndim;
  for (; outer > 0; --outer) {
    const int d = outer - 1;
    const int64_t sa = batch_stride(a, d, s.batch.ndim);
    const int64_t sb = batch_stride(b, d, s.batch.ndim);
    const int64_t sc = c.strides[d];
    const int64_t ss = saved.strides[d];
    if (s.batch[d] == 1) continue;
    if (count == 1) {
      stride_a = sa;
      stride_b = sb;
      stride_c = sc;
      stride_saved = ss;
    } else if (sa != stride_a * count || sb != stride_b * count || sc != stride_c * count ||
               ss != stride_saved * count)
      break;
    count *= s.batch[d];
  }
  const int64_t elements = count * s.m * s.n * std::max<int64_t>(s.k / kProductsPerElement, 1);
  // If all batches have the same b, and the rows of a batch follow those of the one before it, they are one
  // product with more rows. The kernel then packs b only once.
  const auto goes_on = [&](const auto& v, int64_t stride) {
    return s.m == 1 || stride == s.m * v.strides[1];
  };
  if (count > 1 && stride_b == 0 && goes_on(call.a, stride_a) && goes_on(call_c, stride_c) &&
      (!saved.data || goes_on(call_saved, stride_saved))) {
    if (s.m == 1) {
      call.a.strides[1] = stride_a;
      call_c.strides[1] = stride_c;
      call_saved.strides[1] = stride_saved;
    }
    call.a.shape[1] = call_c.shape[1] = call_saved.shape[1] = count * s.m;
    count = 1;
  }
  call.a.shape[0] = call.b.shape[0] = call_c.shape[0] = count;
  call.a.strides[0] = stride_a;
  call.b.strides[0] = stride_b;
  call_c.strides[0] = stride_c;
  call_saved.shape[0] = count;
  call_saved.strides[0] = stride_saved;
  const T* a0 = call.a.data;
  const T* b0 = call.b.data;
  To* c0 = call_c.data;
  int64_t total = 1;
  for (int d = 0; d < outer; ++d) total *= s.batch[d];
  for (int64_t i = 0; i < total; ++i) {
    int64_t rest = i;
    int64_t oa = 0;
    int64_t ob = 0;
    int64_t oc = 0;
    int64_t os = 0;
    for (int d = outer - 1; d >= 0; rest /= s.batch[d], --d) {
      oa += rest % s.batch[d] * batch_stride(a, d, s.batch.ndim);
      ob += rest % s.batch[d] * batch_stride(b, d, s.batch.ndim);
      oc += rest % s.batch[d] * c.strides[d];
      os += rest % s.batch[d] * saved.strides[d];
    }
    call.a.data = a0 + oa;
    call.b.data = b0 + ob;
    call_c.data = c0 + oc;
    if (saved.data) call_saved.data = saved.data + os;
    invoke_sized(call, elements);
  }
}

// An activation with PyTorch's default settings.
MatmulActivation with_defaults(Activation kind) {
  switch (kind) {
    case Activation::leaky_relu:
      return {kind, 0.01, 0};
    case Activation::elu:
    case Activation::celu:
      return {kind, 1, 0};
    case Activation::softshrink:
    case Activation::hardshrink:
      return {kind, 0.5, 0};
    case Activation::softplus:
      return {kind, 1, 20};
    case Activation::hardtanh:
      return {kind, -1, 1};
    default:
      return {kind, 0, 0};
  }
}

// The activation of this name, with its default settings.
MatmulActivation activation_of(const Name& name) {
  if (name.text == "none") return {};
  std::string names = "one of 'none'";
#define RANVIER_X(kind, ...)                                      \
  if (name.text == #kind) return with_defaults(Activation::kind); \
  names += ", '" #kind "'";
  RANVIER_FOR_EACH_ACTIVATION(RANVIER_X)
#undef RANVIER_X
  name.fail(names);
}

// Makes v a view (batch, m, n) of the result's first matrix. rows, columns: whether x has the dimension m, or
// n; a vector lacks one of them.
template <class View>
void set_result(View& v, const View& x, const Shapes& s, bool rows, bool columns) {
  v.ndim = 3;
  v.data = x.data;
  v.shape[1] = s.m;
  v.shape[2] = s.n;
  v.strides[1] = rows ? x.strides[s.batch.ndim] : 0;
  v.strides[2] = columns ? x.strides[x.ndim - 1] : 0;
}

// Fails unless the products along k can be summed in `parts` equal parts, whose sums are then added pairwise.
// finished: the call has a bias or an activation.
void expect_parts(const Shapes& s, int64_t parts, bool finished) {
  const int64_t most = matmul_kernels<float>().max_chain;  // that of float64 is the same
  if (parts < 1 || parts > kMostParts || (parts & (parts - 1)) != 0 || s.k % parts != 0 ||
      s.k > parts * most || s.k == 0 || finished || s.batch.ndim > 0)
    fail_value(kOp, "got ", parts, " parts of ", s.k, " products; expected a power of two, at most ",
               kMostParts, ", of even parts of at most ", most,
               " products, and neither a batch, a bias nor an activation");
}

// Sets the views of a call, and runs it for all batches.
template <class T, class To, class Call>
void run_product(const Shapes& s, const Input& a, const Input& b, const Input& bias, const Input& saved,
                 const Output& c, Call& call, TensorView<const T>& call_saved, TensorView<To>& call_c) {
  const TensorView<const T> va = a.view<T>();
  const TensorView<const T> vb = b.view<T>();
  const TensorView<const T> vs = saved.view<T>();
  const TensorView<To> vc = c.view<To>();
  set_matrices(call.a, va, s.m, s.k, false);
  set_matrices(call.b, vb, s.k, s.n, true);
  set_result(call_c, vc, s, a.ndim() > 1, b.ndim() > 1);
  if (saved) set_result(call_saved, vs, s, a.ndim() > 1, b.ndim() > 1);
  if (bias) call.bias = bias.view<T>();
  run_batches(s, va, vb, vs, vc, call, call_saved, call_c);
}

// A product of halves. wide: c is float32, and gets the sums without rounding to halves.
template <class Half>
void run_halves(const Shapes& s, const Input& a, const Input& b, const Input& bias, const Output& c,
                const MatmulActivation& finish, bool wide) {
  HalfMatmul<Half> call{};
  call.activation = finish;
  TensorView<const Half> none;
  const Input no;
  if (wide) {
    run_product(s, a, b, bias, no, c, call, none, call.wide);
  } else {
    run_product(s, a, b, bias, no, c, call, none, call.c);
  }
}

bool is_float32(const Arg& array) {
  return PyArray_Check(array.value.ptr()) && PyArray_TYPE(as_array(array.value)) == NPY_FLOAT32;
}

// activation(a @ b + bias). saved: the result or input of an activation; the product is then multiplied by
// the derivative of the activation there. parts: see expect_parts().
Output matmul(const Reals& a, const Reals& b, const MaybeReals& bias, Name activation, Out out,
              const MaybeReals& saved, Whole parts) {
  const Shapes s = shapes_of(a, b);
  if (bias) bias.expect_shape({s.n});
  const MatmulActivation finish = activation_of(activation);
  if (saved && finish.kind == Activation::none)
    fail_value(kOp, "got saved and no activation; expected the activation whose derivative is meant");
  if (saved) saved.expect_shape(s.out);
  if (parts.number != 1) expect_parts(s, parts.number, bias || finish.kind != Activation::none);
  const bool halves = a.dtype() == DType::float16 || a.dtype() == DType::bfloat16;
  if (halves && saved) fail_type(kOp, "got floats of 16 bits and saved; expected float32");
  if (halves && parts.number != 1) fail_type(kOp, "got floats of 16 bits and parts; expected float32");
  const bool wide = halves && is_float32(out);  // c gets unrounded sums
  Output c = out.shaped(wide ? DType::float32 : a.dtype(), s.out, a, b, bias, saved);
  if (a.dtype() == DType::float16) {
    run_halves<Float16>(s, a, b, bias, c, finish, wide);
    return c;
  }
  if (a.dtype() == DType::bfloat16) {
    run_halves<BFloat16>(s, a, b, bias, c, finish, wide);
    return c;
  }
  with_float(a.dtype(), [&](auto tag) {
    Matmul<decltype(tag)> call{};
    call.activation = finish;
    if (parts.number == 1) call.precision = current_precision();
    call.parts = static_cast<int>(parts.number);
    run_product(s, a, b, bias, saved, c, call, call.saved, call.c);
  });
  return c;
}

// x weight^T + bias for x (..., in) and weight (out, in).
Output linear(const Reals& x, Raw weight, const MaybeReals& bias) {
  if (!PyArray_Check(weight.value.ptr()) || PyArray_NDIM(as_array(weight.value)) != 2)
    fail_type(kOp, "got another weight; expected a matrix");
  const py::object across = checked(PyArray_Transpose(as_array(weight.value), nullptr));
  const py::object none = py::none();
  const py::object one = py::int_(1);
  const py::object name = py::str("none");
  const auto arg = [](const char* key, const py::object& value) { return Arg{kOp, key, value}; };
  const Reals b = arg("weight", across);
  x.expect_same_dtype(b);  // def() compares arguments of types Floats and Reals only; weight is Raw
  return matmul(x, b, bias, arg("activation", name), arg("out", none), arg("saved", none), arg("parts", one));
}

}  // namespace

void register_matmul(Module m) {
  def(m, "matmul(a, b, bias=None, activation='none', out=None, saved=None, parts=1)", matmul);
  def(m, "_linear(x, weight, bias=None)", linear, kOp);
}

}  // namespace ranvier::bind
