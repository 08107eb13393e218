// SmallMatrices (small_matrices.h): divides the panels of a stack among the threads.
#include "kernels/small_matrices/small_matrices.h"

#include <algorithm>

#include "base/carve.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

constexpr int64_t kVectorBytes = 64;  // of the longest vector

// Where the matrices of a stack begin.
class Stack {
 public:
  template <class T>
  explicit Stack(const TensorView<T>& matrices) : ndim_(matrices.ndim - 2) {
    for (int d = 0; d < ndim_; ++d) {
      shape_[d] = matrices.shape[d];
      strides_[d] = matrices.strides[d];
    }
    // Leading dimensions that are one after another in memory become one.
    int merged = 0;
    for (int d = 1; d < ndim_; ++d) {
      const bool continues = strides_[merged] == strides_[d] * shape_[d];
      if (continues) {
        shape_[merged] *= shape_[d];
      } else {
        ++merged;
        shape_[merged] = shape_[d];
      }
      strides_[merged] = strides_[d];
    }
    ndim_ = std::min(ndim_, merged + 1);
  }

  // Sets the elements from one matrix to the next. False if these are not the same for all.
  bool is_regular(int64_t& step) const {
    step = ndim_ > 0 ? strides_[0] : 0;
    return ndim_ <= 1;
  }

  int64_t offset(int64_t matrix) const {
    if (ndim_ == 0) return 0;
    int64_t offset = 0;
    for (int d = ndim_ - 1; d > 0; --d) {
      offset += matrix % shape_[d] * strides_[d];
      matrix /= shape_[d];
    }
    return offset + matrix * strides_[0];
  }

 private:
  int ndim_;
  int64_t shape_[kMaxDims];
  int64_t strides_[kMaxDims];
};

// The matrices from number `first` on.
template <class T>
PanelSource<T> source_of(const TensorView<const T>& matrices, const Stack& stack, int64_t first, int count,
                         int lanes) {
  PanelSource<T> source;
  const int rows = matrices.ndim - 2;
  source.rows = matrices.shape[rows];
  source.columns = matrices.shape[rows + 1];
  source.row_step = matrices.strides[rows];
  source.column_step = matrices.strides[rows + 1];
  for (int i = 0; i < lanes; ++i) {
    const int64_t matrix = i < count ? first + i : first;
    source.first[i] = matrices.data + stack.offset(matrix);
  }
  return source;
}

// The vectors that a panel needs: a and b, the square matrix of Q or of eigenvectors, a few rows; and behind
// each of them as many as a vector has lanes, since transposes read whole squares.
template <class T>
int64_t panel_vectors(const SmallMatrices<T>& call) {
  const int64_t rows = call.a.shape[call.a.ndim - 2];
  const int64_t columns = call.a.shape[call.a.ndim - 1];
  const int64_t size = std::max(rows, columns);
  const int64_t right = call.b.data ? call.b.shape[call.b.ndim - 1] : 0;
  return rows * columns + rows * right + size * size + 4 * size + 4 * kMostLanes;
}

template <class T>
int64_t bytes_of_thread(const SmallMatrices<T>& call) {
  return panel_vectors(call) * kVectorBytes + kApart;
}

// Roughly the nanoseconds that a panel takes: n^3 steps, of which iterative methods repeat a part.
template <class T>
double panel_cost(const SmallMatrices<T>& call) {
  const double rows = double(call.a.shape[call.a.ndim - 2]);
  const double columns = double(call.a.shape[call.a.ndim - 1]);
  const double right = call.b.data ? double(call.b.shape[call.b.ndim - 1]) : 0;
  const double repeated = call.op == MatrixOp::eigh ? 20 : 1;
  return 30 + 0.3 * repeated * rows * columns * (columns + right);
}

// Determinants of contiguous matrices of two or three rows, which take less time than the addresses of a
// panel: their loop over panels is in the kernel. A transposed matrix has the same determinant. Returns false
// for other matrices.
template <class T>
bool run_few_determinants(const SmallMatrices<T>& call, const Team& team, const Stack& stack,
                          int64_t matrices) {
  const int rows = call.a.ndim - 2;
  const int64_t n = call.a.shape[rows];
  const int64_t row_step = call.a.strides[rows];
  const int64_t column_step = call.a.strides[rows + 1];
  const bool is_dense = (row_step == n && column_step == 1) || (row_step == 1 && column_step == n);
  int64_t step;
  if ((n != 2 && n != 3) || !is_dense || !stack.is_regular(step)) return false;
  const SmallMatrixKernels<T>& kernels = small_matrix_kernels<T>();
  const auto function = n == 2 ? kernels.determinants_of_2 : kernels.determinants_of_3;
  const int64_t lanes = kernels.lanes;
  const int64_t panels = (matrices + lanes - 1) / lanes;
  constexpr double kPanelNs = 25;
  team.parallel_for(panels, kPanelNs * double(panels), [&](int64_t begin, int64_t end) {
    const int64_t first = begin * lanes;
    const int64_t last = std::min(end * lanes, matrices);
    function({call.a.data + first * step, step, last - first, call.y.data + first});
  });
  return true;
}

// Elements of each matrix of a result (.., r, c).
template <class T>
int64_t elements_of_matrix(const TensorView<T>& result, int leading) {
  int64_t size = 1;
  for (int d = leading; d < result.ndim; ++d) size *= result.shape[d];
  return size;
}

}  // namespace

template <class T>
size_t SmallMatrices<T>::workspace_bytes(int threads) const {
  return size_t(threads) * size_t(bytes_of_thread(*this));
}

template <class T>
void SmallMatrices<T>::run(const Team& team, void* workspace) const {
  const SmallMatrixKernels<T>& kernels = small_matrix_kernels<T>();
  const auto function = kernels.run[int(op)];
  const int leading = a.ndim - 2;
  int64_t matrices = 1;
  for (int d = 0; d < leading; ++d) matrices *= a.shape[d];
  const int64_t lanes = kernels.lanes;
  const int64_t panels = (matrices + lanes - 1) / lanes;
  const Stack stack_a(a);
  const Stack stack_b(b.data ? b : a);
  if (op == MatrixOp::determinant && run_few_determinants(*this, team, stack_a, matrices)) return;
  const int64_t y_size = elements_of_matrix(y, leading);
  const int64_t z_size = elements_of_matrix(z, leading);
  const int64_t info_size = elements_of_matrix(info, leading);
  const double cost = panel_cost(*this) * double(panels);
  team.parallel_for(panels, cost, [&](const OpenTeam& team, int64_t begin, int64_t end) {
    MatrixPanel<T> panel{};
    panel.upper = upper;
    panel.unit = unit;
    panel.memory =
        reinterpret_cast<T*>(static_cast<char*>(workspace) + team.index() * bytes_of_thread(*this));
    if (op == MatrixOp::qr) {
      panel.y_columns = y.data ? y.shape[y.ndim - 1] : 0;
      panel.z_rows = z.shape[z.ndim - 2];
    }
    for (int64_t p = begin; p < end && !interrupted(team); ++p) {
      const int64_t first = p * lanes;
      panel.count = int(std::min(lanes, matrices - first));
      panel.a = source_of(a, stack_a, first, panel.count, int(lanes));
      if (b.data) panel.b = source_of(b, stack_b, first, panel.count, int(lanes));
      if (y.data) panel.y = y.data + first * y_size;
      if (z.data) panel.z = z.data + first * z_size;
      if (info.data) panel.info = info.data + first * info_size;
      function(panel);
    }
  });
}

RANVIER_INSTANTIATE(SmallMatrices);

}  // namespace ranvier
