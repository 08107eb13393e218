// BetweenRanks: the Between (replay/batch_run.h) of training on several processes ("ranks"). In each batch
// the first programs compute the gradients of this rank's parts of the batch, meet() sums them over the
// ranks, and the last program updates the weights. With enough weights each rank updates only a part of them
// (rank_update.h).
#include <cmath>
#include <optional>

#include "bindings/binder/classes.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/ranks/rank_update.h"
#include "bindings/replay/batch_run.h"

namespace ranvier::bind {
namespace {

bool is_float(PyArrayObject* x) { return PyArray_TYPE(x) == NPY_FLOAT || PyArray_TYPE(x) == NPY_DOUBLE; }

class BetweenRanks final : public Between {
 public:
  // total: an array whose first element is the loss: before the sum that of this rank's parts, after it that
  // of all ranks. For each batch Python gets both: numbers[0] of all ranks, numbers[1] of this one. sum: a
  // RankSum of the vector with the loss and the gradients, or None for one rank. divides: each rank may
  // update a part of the weights.
  BetweenRanks(const py::object& total, const py::object& sum, bool divides)
      : total_(total), sum_(sum), divides_(divides) {
    if (!PyArray_Check(total.ptr()) || !is_float(as_array(total)) || !PyArray_SIZE(as_array(total)))
      fail_type("between_ranks", "got no array of floats for the sums of losses");
    if (sum.is_none()) return;
    ranks_ = &FromPython<RankSum>::convert(sum.ptr());
    // Longer than without ranks: a call with divided updates ends with an exchange of the optimizer's state.
    milliseconds = 250;
  }

  void begin(const Program& last) override {
    if (ranks_ && divides_) parts_.emplace(last, *ranks_);
  }

  // The ranks agree on two more batches if all of them expect these and a divided update pays.
  bool meet(bool stays) override {
    numbers[1] = loss();
    if (ranks_) {
      const bool says = parts_ && parts_->pays() && stays;
      const bool added = divided_ ? parts_->add(says) : ranks_->add(says);
      if (!added) return false;
      agreed = ranks_->agreed();
    }
    numbers[0] = loss();
    return true;
  }

  // Makes the whole update, or this rank's part. If the loss is not finite, no other batch follows, and the
  // whole update is made. All ranks see the same loss, so they decide alike.
  bool finish(const Team& team, const std::function<bool()>& whole) override {
    if (divided_ && !std::isfinite(numbers[0])) {
      divided_ = false;
      if (!parts_->complete()) return false;
    }
    const bool updated = divided_ ? parts_->run(team, /*last=*/!agreed) : whole();
    if (!updated) return false;
    divided_ = agreed;
    return true;
  }

 private:
  double loss() const {
    const void* first = PyArray_DATA(as_array(total_));
    if (PyArray_TYPE(as_array(total_)) == NPY_DOUBLE) return *static_cast<const double*>(first);
    return *static_cast<const float*>(first);
  }

  const py::object total_, sum_;
  const bool divides_;
  RankSum* ranks_ = nullptr;
  std::optional<RankUpdate> parts_;
  bool divided_ = false;  // true if each rank makes a part of the next update
};

py::object between_ranks(PyObject*, PyObject* const* a, Py_ssize_t) {
  using Holder = std::unique_ptr<Between>;
  const auto object = [&](int i) { return FromPython<py::object>::convert(a[i]); };
  Holder made = std::make_unique<BetweenRanks>(object(0), object(1), FromPython<bool>::convert(a[2]));
  return Object<Holder>::holding(std::make_unique<Holder>(std::move(made)));
}

PyMethodDef g_functions[] = {
    method<between_ranks, 3>("between_ranks",
                             "between_ranks(total: Array, sum: RankSum | None, divides: bool, /) -> Between"),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void register_between_ranks(Module m) {
  if (PyModule_AddFunctions(m.ptr(), g_functions) < 0) throw py::error_already_set();
}

}  // namespace ranvier::bind
