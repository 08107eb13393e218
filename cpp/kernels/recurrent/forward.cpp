// A recurrent layer forward: all inputs through their weights at once, then the loop over time.
#include "base/carve.h"
#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/recurrent/sequence.h"

namespace ranvier {
namespace {

constexpr double kNsPerUnit = 1.5;  // the functions of a unit's gates, roughly

template <class T>
struct SequenceForward {
  const RecurrentForward<T>& call;
  int64_t rows, hidden, width;  // width: of all gates
  T *product, *packed, *bias;   // h W_hh^T of one step; W_hh^T; what is added in the loop
  char* scratch;                // of the product with x
  size_t bytes;

  SequenceForward(const RecurrentForward<T>& c, void* workspace, int threads)
      : call(c), rows(c.y.shape[0]), hidden(c.w_hh.shape[1]), width(c.w_hh.shape[0]) {
    Carver carver(workspace);
    product = carver.take<T>(call.batch * width);
    packed = carver.take<T>(recurrent_product(1).elements());
    bias = carver.take<T>(width);
    scratch = carver.take<char>(static_cast<int64_t>(input_product().workspace_bytes(threads)));
    bytes = carver.used();
  }

  // Only a GRU's r is between the two biases. All others are summed, and their sum is added in the loop.
  bool has_one_bias() const { return call.cell != Cell::gru; }

  void add_up_biases() const {
    const T *of_x = call.b_ih.data, *of_h = call.b_hh.data;
    for (int64_t j = 0; j < width; ++j) bias[j] = !of_h ? T(0) : has_one_bias() ? of_x[j] + of_h[j] : of_h[j];
  }

  // gates = x W_ih^T, + b_ih of a GRU
  Matmul<T> input_product() const {
    const int64_t size = call.w_ih.shape[1];
    Matmul<T> m{};
    m.a = as_matrix(call.x.data, rows, size);
    m.b = transposed(call.w_ih.data, width, size);
    if (!has_one_bias()) m.bias = call.b_ih;
    m.c = as_matrix(gates(), rows, width);
    return m;
  }

  PackedProduct<T> recurrent_product(int64_t most) const {
    return PackedProduct<T>(call.w_hh.data, hidden, width, 1, hidden, most);
  }

  T* gates() const { return call.gates.data ? call.gates.data : call.y.data; }

  // Sequences [begin, end) through all of time.
  void loop(const OpenTeam& team, const PackedProduct<T>& recurrent, int64_t begin, int64_t end) const {
    const auto step = recurrent_kernels<T>().forward[static_cast<int>(call.cell)];
    bool at_rest = !call.h0.data;
    if (at_rest) std::fill(product + begin * width, product + end * width, T(0));
    for_each_step(call, call.reverse, [&](int64_t first, int64_t count) {
      CellForward<T> s{};
      s.rows = std::min(count, end) - begin, s.hidden = hidden;
      if (s.rows <= 0 || interrupted(team)) return;
      T* const of_rows = product + begin * width;
      s.h = call.h_n.data + begin * hidden;
      if (!at_rest) recurrent.run(packed, s.rows, s.h, of_rows);
      at_rest = false;
      s.product = of_rows, s.bias = bias;
      const int64_t row = first + begin;
      const auto at = [&](T* p, int64_t n) { return p ? p + n : nullptr; };
      s.gates = gates() + row * width;
      s.c = at(call.c_n.data, begin * hidden);
      s.y = call.y.data + row * hidden;
      s.candidate = at(call.candidate.data, row * hidden);
      s.h_before = at(call.h_before.data, row * hidden), s.c_before = at(call.c_before.data, row * hidden);
      step(s);
    });
  }

  double cost() const {
    return kMatmulNsPerProduct * rows * width * (hidden + call.x.shape[1]) + kNsPerUnit * rows * hidden;
  }

  void run(const OpenTeam& team) const {
    const int index = team.index(), size = team.size();
    const int64_t begin = team.share_begin(call.batch), end = team.share_end(call.batch);
    input_product().run(team, scratch);
    const PackedProduct<T> recurrent = recurrent_product(ceil_div(call.batch, size));
    recurrent.pack(packed, index, size);
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
  return SequenceForward<T>(*this, nullptr, threads).bytes;
}

template <class T>
void RecurrentForward<T>::run(const Team& team, void* workspace) const {
  const SequenceForward<T> forward(*this, workspace, 1);
  team.region(forward.cost(), [&](const OpenTeam& team) { forward.run(team); });
}

RANVIER_INSTANTIATE(RecurrentForward);

}  // namespace ranvier
