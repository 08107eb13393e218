// recurrent: one direction of one recurrent layer over a whole sequence, forward and backward
//
//   LSTM  i, f, o = sigmoid(a), g = tanh(a), each with its rows of a = W_ih x + b_ih + W_hh h + b_hh
//         c' = f c + i g,  h' = o tanh(c')
//   GRU   r, z = sigmoid(a) as above;  n = tanh(W_in x + b_in + r (W_hn h + b_hn)),  h' = n + z (h - n)
//   RNN   h' = tanh(a) or max(a, 0)
//
// x is the input and h, c the state of a step; h', c' are the state after it. Gates are side by side: G gates
// of H units, in PyTorch's order: i f g o; r z n. All arrays are contiguous and time-major. The rows of step
// t are the sequences that have a step t, the longest first; they are the first rows of the step before.
//
//   x (rows, I), y (rows, H), where rows are those of all steps
//   w_ih (GH, I), w_hh (GH, H), b_ih, b_hh (GH) or both with data null; w_ih with data null: x is x W_ih^T +
//   b_ih already, (rows, GH), and b_ih has data null, too
//   h0, c0, h_n, c_n (N, H), where N is `batch`, the number of sequences
//   sizes (steps): the rows of each step, at most N, never growing; if data is null, each step has N rows
//
// x W_ih^T of all steps is one product before the loop over time; the gradients of the weights are one
// product each after it. In the loop a thread takes some of the sequences through all steps, without waiting
// for other threads.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/precision.h"
#include "base/views.h"
#include "kernels/quantized/quantized.h"

namespace ranvier {

enum class Cell { lstm, gru, rnn_tanh, rnn_relu, count };
constexpr int64_t gates_of(Cell cell) {
  if (cell == Cell::lstm) return 4;
  if (cell == Cell::gru) return 3;
  return 1;
}

template <class T>
struct RecurrentForward {
  RANVIER_CALL("recurrent_forward", x, w_ih, w_hh, b_ih, b_hh, h0, c0, sizes, y, h_n, c_n, gates, candidate,
               h_before, c_before, quantized.panels, quantized.scale);
  size_t workspace_bytes(int threads) const;
  Cell cell;
  bool reverse;         // from the last step of each sequence to the first
  Precision precision;  // of the products of all steps, as in Matmul
  int64_t batch, steps;
  TensorView<const T> x, w_ih, w_hh, b_ih, b_hh;
  TensorView<const T> h0, c0;  // with data null they are zeros; c0 and c_n are for LSTM only
  TensorView<const int64_t> sizes;
  TensorView<T> y, h_n, c_n;
  TensorView<T> gates;  // (rows, GH): the gates i, f ... themselves; data null for RNN, whose only gate is y
  // (rows, H), for the backward, or data null: W_hn h + b_hn of GRU; h and c before each step.
  TensorView<T> candidate, h_before, c_before;
  QuantizedMatrix quantized;  // W_hh of 8 or 4 bits, if w_hh has data null; of float alone
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
  TensorView<const T> dy, dh_n, dc_n;  // with data null they are zeros
  // as forward returned them; without w_ih, x is not read and dx is the gradient of x W_ih^T + b_ih
  TensorView<const T> x, y, gates, candidate, h_before, c_before, w_ih, w_hh;
  TensorView<const int64_t> sizes;
  TensorView<T> dh0, dc0;
  TensorView<T> dx, dw_ih, dw_hh, db_ih, db_hh;  // each may have data null
};

// One step, for some of its rows. Rows have H or GH elements, and follow each other without gaps.
template <class T>
struct CellForward {
  int64_t rows, hidden;
  const T* product;  // h W_hh^T (rows, GH)
  const T* bias;     // b_ih + b_hh (GH), for GRU b_hh alone
  T* gates;          // holds x W_ih^T, for GRU + b_ih; becomes the gates if h_before is kept; for RNN it is y
  T *h, *c;          // the state before the step, which becomes the state after it
  T* y;
  T *candidate, *h_before, *c_before;  // as in RecurrentForward, or null
};

// The gradient of one step, for some of its rows. dy + dh is the gradient of h'. carry: for LSTM the gradient
// of c'; for GRU the part of the gradient of h' that comes through z h', not through W_hh.
template <class T>
struct CellBackward {
  int64_t rows, hidden;
  const T *gates, *candidate, *y, *h_before, *c_before;
  const T *dy, *dh;  // dy may be null
  T* carry;          // becomes the carry of the step before
  T* dgates;         // the gradient of x W_ih^T + b_ih
  T* dproduct;       // the gradient of h W_hh^T + b_hh; dgates itself, except for GRU
};

template <class T>
struct RecurrentKernels {
  void (*forward[static_cast<int>(Cell::count)])(const CellForward<T>&);
  void (*backward[static_cast<int>(Cell::count)])(const CellBackward<T>&);
};

RANVIER_TABLES(RecurrentKernels, recurrent_kernels)

}  // namespace ranvier
