// The cells of RecurrentKernels (recurrent.h): all gates of one time step in one pass, compiled once for each
// ISA level.
#include "kernels/recurrent/recurrent.h"

#include "simd/math.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

// Calls f(r, j, n) for each vector of units: it has n units, from unit j of row r on.
template <class T, class F>
RANVIER_INLINE void for_each_unit(int64_t rows, int64_t hidden, const F& f) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < hidden; j += lanes<T>) f(r, j, lanes_used<T>(hidden - j));
}

// Not inlined: in five places tanh would be a quarter of the code.
template <class T>
static __attribute__((noinline)) vec<T> tanh_of(typename VecOf<T>::type v) {
  return tanh(v);
}

// The argument of a gate's function. i: the index in (rows, GH); j: the index in the bias.
template <class T>
RANVIER_INLINE vec<T> before(const CellForward<T>& s, int64_t i, int64_t j, int n) {
  return load_lanes(s.gates + i, n) + (load_lanes(s.product + i, n) + load_lanes(s.bias + j, n));
}

// dy + dh at index u of (rows, H): the gradient of the state h' after the step.
template <class T>
RANVIER_INLINE vec<T> incoming(const CellBackward<T>& s, int64_t u, int n) {
  const vec<T> dh = load_lanes(s.dh + u, n);
  if (!s.dy) return dh;
  return dh + load_lanes(s.dy + u, n);
}

// A loop computes one gate after another. Four gates side by side would take four times the code, and the CPU
// overlaps the loop with that of the next vector.
template <class T>
static void lstm(const CellForward<T>& s) {
  const int64_t H = s.hidden;
  for_each_unit<T>(s.rows, H, [&](int64_t r, int64_t j, int n) RANVIER_INLINED {
    const int64_t u = r * H + j;
    const int64_t g = r * 4 * H + j;
    vec<T> gate[4];
#pragma GCC unroll 1
    for (int k = 0; k < 4; ++k) {
      const vec<T> v = before(s, g + k * H, k * H + j, n);
      gate[k] = k == 2 ? tanh_of<T>(v) : sigmoid(v);
      if (s.h_before) store_lanes(s.gates + g + k * H, gate[k], n);
    }
    const vec<T> c = load_lanes(s.c + u, n);
    const vec<T> next = fma(gate[1], c, gate[0] * gate[2]);
    const vec<T> h = gate[3] * tanh_of<T>(next);
    if (s.h_before) {
      store_lanes(s.h_before + u, load_lanes(s.h + u, n), n);
      store_lanes(s.c_before + u, c, n);
    }
    store_lanes(s.c + u, next, n);
    store_lanes(s.h + u, h, n);
    store_lanes(s.y + u, h, n);
  });
}

// The gradients of lstm(): s.carry holds the gradient of c', and then that of c.
template <class T>
static void lstm_backward(const CellBackward<T>& s) {
  const int64_t H = s.hidden;
  const vec<T> one = broadcast(T(1));
  for_each_unit<T>(s.rows, H, [&](int64_t r, int64_t j, int n) RANVIER_INLINED {
    const int64_t u = r * H + j;
    const int64_t g = r * 4 * H + j;
    vec<T> gate[4], to[4];
#pragma GCC unroll 1
    for (int k = 0; k < 4; ++k) gate[k] = load_lanes(s.gates + g + k * H, n);
    const vec<T> c = load_lanes(s.c_before + u, n);
    const vec<T> t = tanh_of<T>(fma(gate[1], c, gate[0] * gate[2]));
    const vec<T> dh = incoming(s, u, n);
    const vec<T> dc = fma(dh * gate[3], one - t * t, load_lanes(s.carry + u, n));
    to[0] = dc * gate[2];
    to[1] = dc * c;
    to[2] = dc * gate[0];
    to[3] = dh * t;
    store_lanes(s.carry + u, dc * gate[1], n);
#pragma GCC unroll 1
    for (int k = 0; k < 4; ++k) {
      const vec<T> slope = k == 2 ? one - gate[k] * gate[k] : gate[k] * (one - gate[k]);
      store_lanes(s.dgates + g + k * H, to[k] * slope, n);
    }
  });
}

// One step of a GRU. Gates: reset r, update z, new n = tanh(x_n + r (W_hn h + b_hn)); h' = n + z (h - n).
template <class T>
static void gru(const CellForward<T>& s) {
  const int64_t H = s.hidden;
  for_each_unit<T>(s.rows, H, [&](int64_t r, int64_t j, int n) RANVIER_INLINED {
    const int64_t u = r * H + j;
    const int64_t g = r * 3 * H + j;
    vec<T> gate[3];
#pragma GCC unroll 1
    for (int k = 0; k < 2; ++k) gate[k] = sigmoid(before(s, g + k * H, k * H + j, n));
    const vec<T> own = load_lanes(s.product + g + 2 * H, n) + load_lanes(s.bias + 2 * H + j, n);
    gate[2] = tanh_of<T>(fma(gate[0], own, load_lanes(s.gates + g + 2 * H, n)));
    const vec<T> h = load_lanes(s.h + u, n);
    const vec<T> next = fma(gate[1], h - gate[2], gate[2]);
    if (s.h_before) {
      store_lanes(s.h_before + u, h, n);
      store_lanes(s.candidate + u, own, n);
#pragma GCC unroll 1
      for (int k = 0; k < 3; ++k) store_lanes(s.gates + g + k * H, gate[k], n);
    }
    store_lanes(s.h + u, next, n);
    store_lanes(s.y + u, next, n);
  });
}

// The gradients of gru(): s.carry holds the part of the state's gradient that does not come through W_hh.
template <class T>
static void gru_backward(const CellBackward<T>& s) {
  const int64_t H = s.hidden;
  const vec<T> one = broadcast(T(1));
  for_each_unit<T>(s.rows, H, [&](int64_t r, int64_t j, int n) RANVIER_INLINED {
    const int64_t u = r * H + j;
    const int64_t g = r * 3 * H + j;
    const vec<T> reset = load_lanes(s.gates + g, n);
    const vec<T> update = load_lanes(s.gates + g + H, n);
    const vec<T> fresh = load_lanes(s.gates + g + 2 * H, n);
    const vec<T> dh = incoming(s, u, n) + load_lanes(s.carry + u, n);
    const vec<T> to_fresh = dh * (one - update) * (one - fresh * fresh);
    const vec<T> to_reset = to_fresh * load_lanes(s.candidate + u, n) * reset * (one - reset);
    const vec<T> to_update = dh * (load_lanes(s.h_before + u, n) - fresh) * update * (one - update);
    store_lanes(s.carry + u, dh * update, n);
    store_lanes(s.dgates + g, to_reset, n);
    store_lanes(s.dproduct + g, to_reset, n);
    store_lanes(s.dgates + g + H, to_update, n);
    store_lanes(s.dproduct + g + H, to_update, n);
    store_lanes(s.dgates + g + 2 * H, to_fresh, n);
    store_lanes(s.dproduct + g + 2 * H, to_fresh * reset, n);
  });
}

template <bool is_tanh, class T>
static void rnn(const CellForward<T>& s) {
  const int64_t H = s.hidden;
  for_each_unit<T>(s.rows, H, [&](int64_t r, int64_t j, int n) RANVIER_INLINED {
    const int64_t u = r * H + j;
    const vec<T> v = before(s, u, j, n);
    const vec<T> h = is_tanh ? tanh_of<T>(v) : max(v, vec<T>{});
    if (s.h_before) store_lanes(s.h_before + u, load_lanes(s.h + u, n), n);
    store_lanes(s.h + u, h, n);
    store_lanes(s.y + u, h, n);
  });
}

template <bool is_tanh, class T>
static void rnn_backward(const CellBackward<T>& s) {
  const int64_t H = s.hidden;
  for_each_unit<T>(s.rows, H, [&](int64_t r, int64_t j, int n) RANVIER_INLINED {
    const int64_t u = r * H + j;
    const vec<T> dh = incoming(s, u, n);
    const vec<T> y = load_lanes(s.y + u, n);
    vec<T> dgate;
    if constexpr (is_tanh) {
      dgate = dh * (T(1) - y * y);
    } else {
      dgate = select(y <= T(0), vec<T>{}, dh);
    }
    store_lanes(s.dgates + u, dgate, n);
  });
}

template <class T>
static constexpr RecurrentKernels<T> recurrent_table = {
    {lstm<T>, gru<T>, rnn<true, T>, rnn<false, T>},
    {lstm_backward<T>, gru_backward<T>, rnn_backward<true, T>, rnn_backward<false, T>}};

RANVIER_DEFINE_TABLES(RecurrentKernels, recurrent_kernels, recurrent_table);

}  // namespace ranvier::RANVIER_ISA
