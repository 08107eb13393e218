// Scoped gives a variable another value for the length of a block.
#pragma once
#include <utility>

namespace ranvier::bind {

// The variable has `value` as long as this object lives, and then its old value again.
template <class T>
class Scoped {
 public:
  Scoped(T& variable, T value) : variable_(variable), before_(std::exchange(variable, value)) {}
  ~Scoped() { variable_ = before_; }
  Scoped(const Scoped&) = delete;

 private:
  T& variable_;
  T before_;
};

}  // namespace ranvier::bind
