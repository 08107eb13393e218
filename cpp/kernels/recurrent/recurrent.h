// recurrent: one direction of one recurrent layer over a whole sequence, forward and backward
//
//   LSTM  i, f, o = sigmoid(.), g = tanh(.) of W_ih x + b_ih + W_hh h + b_hh
//         c' = f c + i g,  h' = o tanh(c')
//   GRU   r, z = sigmoid(.) of the same;  n = tanh(W_in x + b_in + r (W_hn h + b_hn)),  h' = n + z (h - n)
//   RNN   h' = tanh(.) or max(., 0) of the same
//
// G gates of H units are side by side, in PyTorch's order: i f g o; r z n. All arrays are contiguous and
// time-major: the rows of step t are the sequences that have a step t, the longest first, so that each step's
// rows are the first ones of the step before.
//
//   x (rows, I), y (rows, H), w_ih (GH, I), w_hh (GH, H), b_ih, b_hh (GH) or both null
//   h0, c0, h_n, c_n (N, H)
//   sizes (steps): the rows of each step, at most N, never growing; or null: `batch` in each
//
// x W_ih^T of all steps is one product before the loop over time, the weights' gradients are one each after
// it. In the loop a thread takes some of the sequences through all of time, and waits for no other thread.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/precision.h"
#include "base/views.h"

namespace ranvier {

enum class Cell { lstm, gru, rnn_tanh, rnn_relu, count };
constexpr int64_t gates_of(Cell cell) { return cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1; }

template <class T>
struct RecurrentForward {
  RANVIER_CALL("recurrent_forward", x, w_ih, w_hh, b_ih, b_hh, h0, c0, sizes, y, h_n, c_n, gates, candidate,
               h_before, c_before);
  size_t workspace_bytes(int threads) const;
  Cell cell;
  bool reverse;         // the last step of a sequence comes first
  Precision precision;  // the precision of the products of all steps, as in Matmul
  int64_t batch, steps;
  TensorView<const T> x, w_ih, w_hh, b_ih, b_hh;
  TensorView<const T> h0, c0;  // or data null: zeros; c0, c_n: LSTM
  TensorView<const int64_t> sizes;
  TensorView<T> y, h_n, c_n;
  TensorView<T> gates;  // (rows, GH) after their functions; RNN: none, y is all
  // (rows, H), for backward, or null: GRU's W_hn h + b_hn, the states before each step
  TensorView<T> candidate, h_before, c_before;
};

template <class T>
struct RecurrentBackward {
  RANVIER_CALL("recurrent_backward", dy, dh_n, dc_n, x, y, gates, candidate, h_before, c_before, w_ih, w_hh,
               sizes, dh0, dc0, dx, dw_ih, dw_hh, db_ih, db_hh);
  size_t workspace_bytes(int threads) const;
  Cell cell;
  bool reverse;
  Precision precision;
  int64_t batch, steps;
  TensorView<const T> dy, dh_n, dc_n;                                          // each or data null: zeros
  TensorView<const T> x, y, gates, candidate, h_before, c_before, w_ih, w_hh;  // as forward returned them
  TensorView<const int64_t> sizes;
  TensorView<T> dh0, dc0;
  TensorView<T> dx, dw_ih, dw_hh, db_ih, db_hh;  // each may have data null
};

// The gates of one step, for some of its rows: rows of H or of GH elements, one after another.
template <class T>
struct CellForward {
  int64_t rows, hidden;
  const T *product, *bias;  // h W_hh^T (rows, GH); b_ih + b_hh, of a GRU b_hh (GH)
  T* gates;                 // x W_ih^T, of a GRU + b_ih, becomes the gates, where a backward comes; RNN: y
  T *h, *c;                 // the state, before and after
  T* y;
  T *candidate, *h_before, *c_before;  // see above
};

// dy + dh is the gradient to h', and carry to c' (LSTM) or the part of it that did not pass the gates (GRU).
template <class T>
struct CellBackward {
  int64_t rows, hidden;
  const T *gates, *candidate, *y, *h_before, *c_before;
  const T *dy, *dh;  // dy may be null
  T* carry;          // becomes that of the step before
  T* dgates;         // to x W_ih^T + b_ih
  T* dproduct;       // to h W_hh^T + b_hh; dgates itself where they are the same (all but GRU)
};

template <class T>
struct RecurrentKernels {
  void (*forward[static_cast<int>(Cell::count)])(const CellForward<T>&);
  void (*backward[static_cast<int>(Cell::count)])(const CellBackward<T>&);
};

RANVIER_TABLES(RecurrentKernels, recurrent_kernels)

}  // namespace ranvier
