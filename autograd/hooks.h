// Hooks: functions that a user hangs on a layer or a gradient. A hook is called as long as somebody holds the handle that
// came with it; letting go of the handle removes it. Used by variable.h and nn/module.h.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace asap {

using HookHandle = std::shared_ptr<const void>;

template <class Signature>
class Hooks {
 public:
  using Hook = std::function<Signature>;

  [[nodiscard]] HookHandle add(Hook hook) {
    std::erase_if(hooks_, [](const auto& old) { return old.expired(); });
    const auto handle = std::make_shared<const Hook>(std::move(hook));
    hooks_.push_back(handle);
    return handle;
  }
  bool empty() const { return hooks_.empty(); }
  // call(hook) for each, the oldest first.
  template <class Call>
  void each(const Call& call) const {
    for (size_t i = 0; i < hooks_.size(); ++i) {  // a hook may add another
      if (const auto hook = hooks_[i].lock()) call(*hook);
    }
  }

 private:
  std::vector<std::weak_ptr<const Hook>> hooks_;
};

}  // namespace asap
