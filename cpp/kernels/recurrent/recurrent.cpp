// A recurrent layer, forward and backward (recurrent.h): the products over all steps, and the loop over time
// around the cells of recurrent.isa.cpp.
#include "base/carve.h"
#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/recurrent/sequence.h"
#include "kernels/reduce/reduce.h"

namespace ranvier {

namespace {

constexpr double kNsPerUnit = 1.5;    // the functions or slopes of the gates of a unit, roughly
constexpr int64_t kIntegerRows = 48;  // rows that become integers at a time

// A forward call and its workspace.
template <class T>
struct SequenceForward {
  const RecurrentForward<T>& call;
  int64_t rows, hidden, width;  // rows of all steps, H, and GH
  T* product;                   // h W_hh^T of one step
  T* packed;                    // W_hh^T packed
  T* bias;                      // what is added in the loop
  char* scratch;                // the workspace of the product with x, and then of integers for each thread
  size_t bytes;

  SequenceForward(const RecurrentForward<T>& c, void* workspace, int threads)
      : call(c), rows(c.y.shape[0]), hidden(c.h_n.shape[1]), width(gates_of(c.cell) * hidden) {
    Carver carver(workspace);
    product = carver.take<T>(call.batch * width);
    const int64_t packed_elements = call.w_hh.data ? recurrent_product(1).elements() : 0;
    packed = carver.take<T>(packed_elements);
    bias = carver.take<T>(width);
    const size_t of_x = call.w_ih.data ? input_product().plan_bytes(threads) : 0;
    scratch = carver.take<char>(static_cast<int64_t>(std::max(of_x, threads * own_bytes())));
    bytes = carver.used();
  }

  // h W_hh^T of some rows for a quantized W_hh.
  QuantizedMatmul integer_product(const float* h, int64_t count, float* to) const {
    QuantizedMatmul m{};
    m.w = call.quantized;
    m.x = as_matrix(h, count, hidden);
    m.y = as_matrix(to, count, width);
    return m;
  }
  // A thread's own memory for it.
  size_t own_bytes() const {
    if (call.w_hh.data) return 0;
    const int64_t most = std::min(call.batch, kIntegerRows);
    return integer_product(/*h=*/nullptr, most, /*to=*/nullptr).workspace_bytes(1);
  }
  // to = h W_hh^T, on this thread alone.
  void multiply_integers(const OpenTeam& team, const T* h, int64_t count, T* to) const {
    if constexpr (std::is_same_v<T, float>) {
      char* const own_scratch = scratch + static_cast<size_t>(team.index()) * own_bytes();
      for (int64_t i = 0; i < count; i += kIntegerRows) {
        const int64_t some = std::min(kIntegerRows, count - i);
        integer_product(h + i * hidden, some, to + i * width).run(team.single(), own_scratch);
      }
    }
  }

  // True if both biases are added to the same sum, so that their sum is added in the loop. In a GRU, r
  // multiplies one of them.
  bool has_one_bias() const { return call.cell != Cell::gru; }

  // Computes the bias that the loop adds.
  void add_up_biases() const {
    const T* of_x = has_one_bias() ? call.b_ih.data : nullptr;
    const T* of_h = call.b_hh.data;
    if (!of_h) {
      std::fill_n(bias, width, T(0));
    } else if (!of_x) {
      std::copy_n(of_h, width, bias);
    } else {
      for (int64_t j = 0; j < width; ++j) bias[j] = of_x[j] + of_h[j];
    }
  }

  // gates = x W_ih^T, and for GRU + b_ih.
  Matmul<T> input_product() const {
    const int64_t size = call.w_ih.shape[1];
    Matmul<T> m{};
    m.a = as_matrix(call.x.data, rows, size);
    m.b = transposed(call.w_ih.data, width, size);
    if (!has_one_bias()) m.bias = call.b_ih;
    m.c = as_matrix(gates(), rows, width);
    m.precision = call.precision;
    return m;
  }

  PackedProduct<T> recurrent_product(int64_t most) const {
    return PackedProduct<T>(call.w_hh.data, hidden, width, 1, hidden, most);
  }

  // Where x W_ih^T goes: the gates, or if they are not kept y.
  T* gates() const { return call.gates.data ? call.gates.data : call.y.data; }

  // Sequences [begin, end) through all steps.
  void loop(const OpenTeam& team, const PackedProduct<T>& recurrent, int64_t begin, int64_t end) const {
    const auto step = recurrent_kernels<T>().forward[static_cast<int>(call.cell)];
    bool at_rest = !call.h0.data;
    if (at_rest) std::fill(product + begin * width, product + end * width, T(0));
    for_each_step(call, call.reverse, [&](int64_t first, int64_t count) {
      CellForward<T> s{};
      s.rows = std::min(count, end) - begin;
      s.hidden = hidden;
      if (s.rows <= 0 || interrupted(team)) return;
      T* const of_rows = product + begin * width;
      s.h = call.h_n.data + begin * hidden;
      if (!at_rest && call.w_hh.data) recurrent.run(packed, s.rows, s.h, of_rows);
      if (!at_rest && !call.w_hh.data) multiply_integers(team, s.h, s.rows, of_rows);
      at_rest = false;
      s.product = of_rows;
      s.bias = bias;
      const int64_t row = first + begin;
      const auto at = [&](T* p, int64_t n) { return p ? p + n : nullptr; };
      s.gates = gates() + row * width;
      s.c = at(call.c_n.data, begin * hidden);
      s.y = call.y.data + row * hidden;
      s.candidate = at(call.candidate.data, row * hidden);
      s.h_before = at(call.h_before.data, row * hidden);
      s.c_before = at(call.c_before.data, row * hidden);
      step(s);
    });
  }

  double cost() const {
    return kMatmulNsPerProduct * rows * width * (hidden + call.x.shape[1]) + kNsPerUnit * rows * hidden;
  }

  void run(const OpenTeam& team) const {
    const int index = team.index();
    const int size = team.size();
    const int64_t begin = team.share_begin(call.batch);
    const int64_t end = team.share_end(call.batch);
    if (call.w_ih.data) {
      input_product().run(team, scratch);
    } else {  // x is x W_ih^T already
      const int64_t from = team.share_begin(rows) * width;
      const int64_t to = team.share_end(rows) * width;
      std::copy(call.x.data + from, call.x.data + to, gates() + from);
    }
    const PackedProduct<T> recurrent = recurrent_product(ceil_div(call.batch, size));
    if (call.w_hh.data) recurrent.pack(packed, index, size);
    if (index == 0) add_up_biases();
    start(call.h_n.data, call.h0, begin * hidden, end * hidden);
    if (call.c_n.data) start(call.c_n.data, call.c0, begin * hidden, end * hidden);
    team.barrier();
    loop(team, recurrent, begin, end);
  }
};

}  // namespace

template <class T>
size_t RecurrentForward<T>::workspace_bytes(int threads) const {
  return SequenceForward<T>(*this, /*workspace=*/nullptr, threads).bytes;  // only counts bytes
}

template <class T>
void RecurrentForward<T>::run(const Team& team, void* workspace) const {
  const SequenceForward<T> forward(*this, workspace, 1);
  team.region(forward.cost(), [&](const OpenTeam& team) { forward.run(team); });
}

RANVIER_INSTANTIATE(RecurrentForward);

// --- The backward: the loop over time in the opposite direction, then the gradients that sum over all steps.

namespace {

template <class T>
struct SequenceBackward {
  const RecurrentBackward<T>& call;
  int64_t rows, hidden, width;  // rows of all steps, H, and GH
  T *dgates, *dproduct;         // the gradients of x W_ih^T and of h W_hh^T in all steps
  T* packed;                    // W_hh packed
  T* carry;                     // see CellBackward; for LSTM dc0 itself
  char* scratch;                // the workspace of one of the products or sums after the loop
  size_t bytes;

  SequenceBackward(const RecurrentBackward<T>& c, void* workspace, int threads)
      : call(c), rows(c.y.shape[0]), hidden(c.w_hh.shape[1]), width(c.w_hh.shape[0]) {
    Carver carver(workspace);
    dgates = call.w_ih.data ? carver.take<T>(rows * width) : call.dx.data;
    dproduct = call.cell == Cell::gru ? carver.take<T>(rows * width) : dgates;
    packed = carver.take<T>(recurrent_product(1).elements());
    carry = call.cell == Cell::gru ? carver.take<T>(call.batch * hidden) : call.dc0.data;
    size_t most = 0;
    each_sum([&](const auto& sum) { most = std::max(most, sum.workspace_bytes(threads)); });
    scratch = carver.take<char>(static_cast<int64_t>(most));
    bytes = carver.used();
  }

  PackedProduct<T> recurrent_product(int64_t most) const {
    return PackedProduct<T>(call.w_hh.data, width, hidden, hidden, 1, most);
  }

  Matmul<T> product(TensorView<const T> a, TensorView<const T> b, const TensorView<T>& c) const {
    Matmul<T> m{};
    m.a = a;
    m.b = b;
    m.c = as_matrix(c.data, c.shape[0], c.shape[1]);
    m.precision = call.precision;
    return m;
  }

  // to = the sum of all rows of `of`.
  Reduce<T> total(const T* of, const TensorView<T>& to) const {
    Reduce<T> sum{};
    sum.op = ReduceOp::sum;
    sum.divisor = 1;
    sum.x = {of, 2, {rows, width}, {width, 1}};
    sum.y = {to.data, 2, {1, width}, {0, 1}};
    sum.reduced[0] = true;
    return sum;
  }

  // Calls use(call) for each product or sum over all steps whose gradient is wanted.
  template <class F>
  void each_sum(const F& use) const {
    const int64_t size = call.w_ih.shape[1];
    const T* of_x = dgates;
    const T* of_h = dproduct;
    if (call.dx.data && call.w_ih.data)
      use(product(as_matrix(of_x, rows, width), as_matrix(call.w_ih.data, width, size), call.dx));
    if (call.dw_ih.data)
      use(product(transposed(of_x, rows, width), as_matrix(call.x.data, rows, size), call.dw_ih));
    if (call.dw_hh.data)
      use(product(transposed(of_h, rows, width), as_matrix(call.h_before.data, rows, hidden), call.dw_hh));
    if (call.db_ih.data) use(total(of_x, call.db_ih));
    if (call.db_hh.data) use(total(of_h, call.db_hh));
  }

  // Sequences [begin, end) back through all steps; dh0 holds the gradient of their state h.
  void loop(const OpenTeam& team, const PackedProduct<T>& recurrent, int64_t begin, int64_t end) const {
    const auto step = recurrent_kernels<T>().backward[static_cast<int>(call.cell)];
    T* const dh = call.dh0.data + begin * hidden;
    for_each_step(call, !call.reverse, [&](int64_t first, int64_t count) {
      CellBackward<T> s{};
      s.rows = std::min(count, end) - begin;
      s.hidden = hidden;
      if (s.rows <= 0 || interrupted(team)) return;
      const int64_t row = first + begin;
      const int64_t unit = row * hidden;
      const auto at = [&](const T* p, int64_t n) { return p ? p + n : nullptr; };
      s.gates = at(call.gates.data, row * width);
      s.candidate = at(call.candidate.data, unit);
      s.y = call.y.data + unit;
      s.h_before = call.h_before.data + unit;
      s.c_before = at(call.c_before.data, unit);
      s.dy = at(call.dy.data, unit);
      s.dh = dh;
      s.carry = carry ? carry + begin * hidden : nullptr;
      s.dgates = dgates + row * width;
      s.dproduct = dproduct + row * width;
      step(s);
      recurrent.run(packed, s.rows, s.dproduct, dh);
    });
    if (call.cell == Cell::gru)
      for (int64_t i = begin * hidden; i < end * hidden; ++i) call.dh0.data[i] += carry[i];
  }

  double cost() const {
    const double products = 2.0 * rows * width * (hidden + call.x.shape[1]);
    return kMatmulNsPerProduct * products + kNsPerUnit * rows * hidden;
  }

  void run(const OpenTeam& team) const {
    const int index = team.index();
    const int size = team.size();
    const int64_t begin = team.share_begin(call.batch);
    const int64_t end = team.share_end(call.batch);
    const PackedProduct<T> recurrent = recurrent_product(ceil_div(call.batch, size));
    recurrent.pack(packed, index, size);
    start(call.dh0.data, call.dh_n, begin * hidden, end * hidden);
    if (carry) start(carry, call.dc_n, begin * hidden, end * hidden);
    team.barrier();
    loop(team, recurrent, begin, end);
    each_sum([&](const auto& sum) {
      team.barrier();  // all threads are done with the scratch, and have written what the sum reads
      sum.run(team, scratch);
    });
  }
};

}  // namespace

template <class T>
size_t RecurrentBackward<T>::workspace_bytes(int threads) const {
  return SequenceBackward<T>(*this, /*workspace=*/nullptr, threads).bytes;  // only counts bytes
}

template <class T>
void RecurrentBackward<T>::run(const Team& team, void* workspace) const {
  const SequenceBackward<T> backward(*this, workspace, 1);
  team.region(backward.cost(), [&](const OpenTeam& team) { backward.run(team); });
}

RANVIER_INSTANTIATE(RecurrentBackward);

}  // namespace ranvier
