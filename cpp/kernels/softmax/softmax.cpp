// Softmax (softmax.h): divides the lines among the threads. Lines of 16-bit floats go through a buffer of
// float32.
#include "kernels/softmax/softmax.h"

#include "base/without_axis.h"
#include "kernels/copy/half_lines.h"

namespace ranvier {
namespace {

template <class T>
double cost_ns(int64_t elements) {
  constexpr double kNsPerElement = 0.5;  // about the time of forward in float32, on one core
  return kNsPerElement * static_cast<double>(elements) * static_cast<double>(sizeof(T) / 4);
}

// Lines of 16-bit floats: several at a time are widened to T in `workspace`, computed there in place, and
// rounded to y. beside: neighbouring lines are interleaved in memory, and so in the buffer (half_lines.h).
template <class T>
void run_halves(const SoftmaxForward<T>& c, const Team& team, T* workspace) {
  const int64_t n = c.x.shape[c.axis];
  const int64_t at_once = lines_at_once(n);
  const auto function = softmax_kernels<T>().forward[c.log];
  const LoopNest<2> nest = lines_along(c.axis, c.x, c.y);
  // The distances from one line to the next, in x and in y.
  const int64_t* from = nest.strides[0] + nest.ndim - 1;
  const int64_t* to = nest.strides[1] + nest.ndim - 1;
  const double ns = 1.5 * cost_ns<T>(n * nest.size);
  team.parallel_for(nest.size, ns, [&](const OpenTeam& team, int64_t begin, int64_t end) {
    T* block = workspace + team.index() * elements_at_once(n);
    nest.walk(begin, end, [&](int64_t all, const int64_t* offsets) {
      for (int64_t i = 0; i < all; i += at_once) {
        const int64_t some = std::min(at_once, all - i);
        const HalfLines x(c.x, offsets[0] + i * *from, *from, c.x.strides[c.axis]);
        const HalfLines y(c.y, offsets[1] + i * *to, *to, c.y.strides[c.axis]);
        const bool beside = x.are_beside() && y.are_beside();
        Lines<T> lines{block, /*line=*/n, /*step=*/1};
        if (beside) lines = {block, /*line=*/1, /*step=*/some};
        widen_lines(x, some, n, beside, block);
        function({some, n, {block, lines.line, lines.step}, /*dy=*/{}, lines});
        round_lines(block, some, n, beside, y);
      }
    });
  });
}

}  // namespace

template <class T>
size_t SoftmaxForward<T>::workspace_bytes(int threads) const {
  if (x.stored == Stored::whole) return 0;
  return sizeof(T) * (elements_at_once(x.shape[axis]) * threads + 64);
}

template <class T>
void SoftmaxForward<T>::run(const Team& team, void* workspace) const {
  if constexpr (sizeof(T) == sizeof(float))
    if (x.stored != Stored::whole) return run_halves(*this, team, static_cast<T*>(workspace));
  const int64_t n = x.shape[axis];
  const auto function = softmax_kernels<T>().forward[log];
  const auto forward = [&](const Team&, int64_t count, const Lines<const T>& from, const Lines<T>& to) {
    function({count, n, from, /*dy=*/{}, to});
  };
  for_lines(team, cost_ns<T>(n), axis, forward, x, y);
}

template <class T>
void SoftmaxBackward<T>::run(const Team& team, void*) const {
  const int64_t n = dx.shape[axis];
  const auto function = softmax_kernels<T>().backward[log];
  // `above` has the lines of dy, `from` those of y.
  const auto backward = [&](const Team&, int64_t count, const Lines<const T>& above,
                            const Lines<const T>& from,
                            const Lines<T>& to) { function({count, n, from, above, to}); };
  for_lines(team, cost_ns<T>(n), axis, backward, dy, y, dx);
}

RANVIER_INSTANTIATE(SoftmaxForward);
RANVIER_INSTANTIATE(SoftmaxBackward);

}  // namespace ranvier
