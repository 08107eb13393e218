// The loop of backward over the nodes of the tape, for tape/backpropagation.py. A node is a Function, an
// Output (one of several outputs of a Function) or a leaf Tensor; its edges are the nodes that get its
// gradients. count_uses() counts the gradients that each node waits for. pass() runs a node that has received
// all: hooks, then a Function's backward, or a leaf's grad. Rare cases: `steps` (_STEPS of the Python file).
#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <unordered_map>
#include <vector>

#include "bindings/binder/define.h"
#include "bindings/binder/held.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/binder/scoped.h"
#include "bindings/tape/tape.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {
namespace {

PyTypeObject* g_deferred;  // the class Deferred (tape/deferred.py)
// Dicts, mostly empty: of Tensors with other memory (tensors/replaced.py), and of hooks (tape/hooks.py).
// g_before and g_after: hooks of leaves by id(leaf), g_of_nodes: hooks of nodes.
PyObject *g_replaced, *g_of_nodes, *g_before, *g_after;
PyObject* g_own_release;  // Function.release itself: a class that overrides it is called by Python
// Interned names of attributes.
PyObject *g_backward, *g_release, *g_node_is_view, *g_edges, *g_hooks_of_node;

py::object attribute(PyObject* owner, PyObject* name) { return checked(PyObject_GetAttr(owner, name)); }
py::object owned(Held held) { return py::reinterpret_borrow<py::object>(held); }
template <class... A>
py::object called(const py::object& f, const A&... arguments) {
  return checked(PyObject_CallFunctionObjArgs(f.ptr(), arguments.ptr()..., nullptr));
}
bool is_function(PyObject* node) { return PyObject_TypeCheck(node, g_nodes.function); }

py::object edges_of(PyObject* node) {
  if (is_function(node)) {
    const Held edges = slot_of(node, g_nodes.edges);
    if (edges) return owned(edges);
  }
  return attribute(node, g_edges);
}

// True if a value that forward has saved holds no arrays.
bool is_plain(PyObject* x) {
  if (x == Py_None || x == Py_Ellipsis || PyBool_Check(x) || PyLong_CheckExact(x) || PyFloat_CheckExact(x) ||
      PyUnicode_CheckExact(x) || PySlice_Check(x) || PyArray_DescrCheck(x))
    return true;
  if (!PyTuple_CheckExact(x) && !PyList_CheckExact(x)) return false;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(x); ++i)
    if (!is_plain(PySequence_Fast_GET_ITEM(x, i))) return false;
  return true;
}

// Function.release: drops what forward has saved, if there are arrays in it.
void release(PyObject* node) {
  if (is_true(node, g_node_is_view))
    return;  // it saved no arrays, and a change of its base needs its attributes
  const py::object saved = checked(PyObject_GenericGetDict(node, nullptr));
  PyObject *name, *value;
  bool all = true;
  {
    const py::scoped_critical_section alone(saved);
    for (Py_ssize_t at = 0; all && PyDict_Next(saved.ptr(), &at, &name, &value);) all = is_plain(value);
  }
  if (all) return;
  PyDict_Clear(saved.ptr());
  set_slot(node, g_nodes.released, Py_True);
}

// The state of a node in a backward.
struct NodeEntry {
  py::object node;
  py::object gradient;            // the sum so far; a list if the node has several outputs
  int64_t waits = 0;              // how many more gradients arrive
  int64_t sequence = 0;           // which node runs first of those that are ready: the one with the largest
  int64_t arrival = 0;            // of several with one sequence: the one that became ready last
  bool own = false;               // the gradient is a new array, which a further sum may be written to
  bool needed = false;            // in a restricted backward: it has to run
  bool captured = false;          // in a restricted backward: its gradient is a result
  std::vector<NodeEntry*> users;  // the nodes with an edge to this one; filled in a restricted backward only
  bool is_wanted() const { return needed || captured; }
};

// One call of backward. Made and used with the GIL held; it owns references to all that it keeps, except to
// captures_ and rules_, which the caller holds.
class Backward {
 public:
  // steps: the Python functions for rare cases, in the order of _STEPS (tape/backpropagation.py).
  // retain: nodes keep what forward saved.
  // by_steps: steps[1] runs every node.
  // rules: the rules by the classes of nodes (tape/higher_order.py) if gradients are Tensors
  //   (create_graph=True), else None.
  Backward(PyObject* steps, bool retain, bool by_steps, PyObject* rules)
      : retain_(retain), by_steps_(by_steps), on_tensors_(rules != Py_None), rules_(rules) {
    py::object* const all[] = {&add_, &gradients_, &hooks_, &accumulate_, &hooked_leaf_};
    for (size_t i = 0; i < std::size(all); ++i)
      *all[i] = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(steps, i));
  }

  // roots: a list of (node, gradient).
  // captured: a dict with nodes as keys, to be filled with their gradients in place of the leaves' grads.
  // only: the nodes that get a grad.
  // captured and only may be None; with one of them the backward is restricted: nodes that do not lead to
  // these are not run.
  void run(PyObject* roots, PyObject* captured, PyObject* only) {
    captures_ = captured;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(roots); ++i) {
      PyObject* root = PyList_GET_ITEM(roots, i);
      NodeEntry& entry = entry_of(PyTuple_GET_ITEM(root, 0));
      if (!entry.gradient) starts_.push_back(&entry);
      receive(entry, PyTuple_GET_ITEM(root, 1));
    }
    restricted_ = captured != Py_None || only != Py_None;
    count_uses();
    if (restricted_) {
      const bool has_only = only != Py_None;
      PyObject* const targets = has_only ? only : captured;
      restrict_to(targets, has_only);
      if (captured != Py_None) for_each(captured, [](NodeEntry& entry) { entry.captured = true; });
    }
    for (NodeEntry* entry : starts_)
      if (!entry->waits) make_ready(*entry);
    while (!ready_.empty()) {
      std::pop_heap(ready_.begin(), ready_.end(), runs_later);
      NodeEntry& entry = *ready_.back();
      ready_.pop_back();
      pass(entry);
    }
  }

 private:
  NodeEntry& entry_of(PyObject* node) {
    NodeEntry& entry = entries_[node];
    if (!entry.node) {
      entry.node = py::reinterpret_borrow<py::object>(node);
      entry.sequence = find_sequence(node);
    }
    return entry;
  }
  static bool is_leaf(PyObject* node) { return PyObject_TypeCheck(node, tensor_class()); }
  static bool is_leaf(const NodeEntry& entry) { return is_leaf(entry.node.ptr()); }

  // Nodes run in the reverse order of forward, as in PyTorch: hooks rely on it. Leaves, which end a branch,
  // run at once.
  static int64_t find_sequence(PyObject* node) {
    if (is_leaf(node)) return std::numeric_limits<int64_t>::max();
    if (is_function(node)) return sequence_of(node);
    return sequence_of(py::object(py::handle(node).attr("function")).ptr());  // an Output
  }
  static bool runs_later(const NodeEntry* a, const NodeEntry* b) {
    if (a->sequence != b->sequence) return a->sequence < b->sequence;
    return a->arrival < b->arrival;
  }
  void make_ready(NodeEntry& entry) {
    entry.arrival = ++last_arrival_;
    ready_.push_back(&entry);
    std::push_heap(ready_.begin(), ready_.end(), runs_later);
  }

  template <class F>  // f(entry) for the nodes in an iterable that have an entry
  void for_each(PyObject* nodes, const F& f) {
    const py::object list = checked(PySequence_List(nodes));
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list.ptr()); ++i) {
      const auto at = entries_.find(PyList_GET_ITEM(list.ptr(), i));
      if (at != entries_.end()) f(at->second);
    }
  }

  // Visits all nodes that the roots lead to, and counts in Entry::waits the edges to each of them.
  void count_uses() {
    std::vector<NodeEntry*> stack = starts_;
    while (!stack.empty()) {
      NodeEntry* entry = stack.back();
      stack.pop_back();
      if (is_leaf(*entry)) continue;
      const py::object edges = edges_of(entry->node.ptr());
      for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(edges.ptr()); ++i) {
        PyObject* edge = PyTuple_GET_ITEM(edges.ptr(), i);
        if (edge == Py_None) continue;
        const size_t before = entries_.size();
        NodeEntry& next = entry_of(edge);
        if (entries_.size() > before) stack.push_back(&next);
        ++next.waits;
        if (restricted_) next.users.push_back(entry);
      }
    }
  }

  // Marks all nodes that lead to the targets as needed; themselves: the targets, too.
  void restrict_to(PyObject* targets, bool themselves) {
    std::vector<NodeEntry*> stack;
    for_each(targets, [&](NodeEntry& entry) {
      entry.needed = entry.needed || themselves;
      stack.push_back(&entry);
    });
    while (!stack.empty()) {
      const std::vector<NodeEntry*> users = std::move(stack.back()->users);
      stack.pop_back();
      for (NodeEntry* user : users)
        if (!user->needed) {
          user->needed = true;
          stack.push_back(user);
        }
    }
  }

  // Adds a gradient to the sum of those that a node has received.
  void receive(NodeEntry& to, PyObject* gradient) {
    if (to.gradient) {
      to.gradient = called(add_, to.gradient, py::handle(gradient), py::bool_(to.own));
      to.own = !on_tensors_;  // `add_` has made or filled an array that no one else has
      return;
    }
    const bool stays =
        on_tensors_ || PyArray_CheckExact(gradient) || PyObject_TypeCheck(gradient, g_deferred);
    if (stays) {
      to.gradient = py::reinterpret_borrow<py::object>(gradient);
    } else {  // such as a NumPy scalar: the step makes an array of it
      to.gradient = called(add_, py::none(), py::handle(gradient), py::bool_(false));
    }
  }

  // Replaces a Deferred (a gradient not computed yet) by its array, unless the node's Function takes one.
  void settle(NodeEntry& entry) {
    if (on_tensors_ || !PyObject_TypeCheck(entry.gradient.ptr(), g_deferred)) return;
    const bool takes = is_function(entry.node.ptr()) && is_true(entry.node.attr("takes_deferred"));
    if (!takes || is_true(entry.gradient.attr("joins")))
      entry.gradient = called(entry.gradient.attr("array"));
  }

  // Runs a node that has received all its gradients.
  void pass(NodeEntry& entry) {
    if (restricted_ && !entry.is_wanted()) return;
    PyObject* node = entry.node.ptr();
    const bool leaf = is_leaf(entry);
    if (entry.gradient) {
      settle(entry);
      call_hooks(entry, leaf);
    }
    if (entry.captured) capture(entry);
    if (restricted_ && !entry.needed) {
      entry.gradient = {};
    } else if (leaf) {
      if (entry.gradient) add_to(node, entry);
    } else {
      run_node(entry);
      if (!retain_ && !Py_IS_TYPE(node, g_nodes.output)) drop_saved(node);
    }
  }

  // Calls the hooks of a node on its gradient, which they may replace.
  void call_hooks(NodeEntry& entry, bool leaf) {
    PyObject* node = entry.node.ptr();
    py::object hooks;
    if (!leaf && is_function(node)) {
      hooks = owned(slot_of(node, g_nodes.hooks));
    } else if (!leaf) {
      hooks = attribute(node, g_hooks_of_node);
    } else if (PyDict_GET_SIZE(g_before)) {
      const py::object id = checked(PyLong_FromVoidPtr(node));
      hooks = owned(value_of(g_before, id.ptr()));
    }
    if (!hooks || hooks.is_none() || !is_true(hooks)) return;
    entry.gradient = called(hooks_, hooks, entry.gradient);
    entry.own = false;
  }

  // Stores the node's gradient, or None if it got none, as a result of a restricted backward.
  void capture(NodeEntry& entry) {
    py::object value = entry.gradient ? entry.gradient : py::none();
    if (PyObject_TypeCheck(value.ptr(), g_deferred)) value = called(value.attr("array"));
    if (PyDict_SetItem(captures_, entry.node.ptr(), value.ptr()) < 0) throw py::error_already_set();
  }

  // Adds the gradient to the leaf's grad. The array itself becomes the grad where that is allowed.
  void add_to(PyObject* leaf, NodeEntry& entry) {
    const bool hooked = PyDict_GET_SIZE(g_of_nodes) || PyDict_GET_SIZE(g_after);
    py::object gradient = std::move(entry.gradient);
    if (!hooked) {
      if (owned(slot_of(leaf, tensor_slots().requires_grad)).ptr() != Py_True) return;
      if (!on_tensors_ && is_alone() && becomes_grad(leaf, gradient.ptr())) {
        const py::object grad = new_tensor(gradient.ptr());
        return set_slot(leaf, tensor_slots().grad, grad.ptr());
      }
    }
    const py::object holder = checked(PyList_New(1));  // the step counts other references
    PyList_SET_ITEM(holder.ptr(), 0, gradient.release().ptr());
    if (hooked)
      called(hooked_leaf_, py::handle(leaf), holder, accumulate_);
    else
      called(accumulate_, py::handle(leaf), holder);
  }

  // True if the array becomes the leaf's grad without a copy, as in _add_to_grad of backpropagation.py.
  static bool becomes_grad(PyObject* leaf, PyObject* gradient) {
    const TensorSlots& slots = tensor_slots();
    if (anything_observes() || owned(slot_of(leaf, slots.grad)).ptr() != Py_None) return false;
    const py::object held = owned(slot_of(leaf, slots.array));
    if (!PyArray_CheckExact(gradient) || Py_REFCNT(gradient) != 1) return false;
    PyArrayObject* g = as_array(gradient);
    PyArrayObject* own = as_array(held);
    if (PyArray_NDIM(g) != PyArray_NDIM(own) || PyArray_DESCR(g) != PyArray_DESCR(own)) return false;
    const size_t size = sizeof(npy_intp) * PyArray_NDIM(g);
    if (std::memcmp(PyArray_DIMS(g), PyArray_DIMS(own), size) != 0) return false;
    if (std::memcmp(PyArray_STRIDES(g), PyArray_STRIDES(own), size) != 0) return false;
    const bool is_view_of_array = PyArray_BASE(g) && PyArray_CheckExact(PyArray_BASE(g));
    return !is_view_of_array;
  }

  // Runs a node and gives its gradients to the nodes at its edges. If it got none, it only lowers the counts.
  void run_node(NodeEntry& entry) {
    PyObject* node = entry.node.ptr();
    const py::object edges = edges_of(node);
    const Py_ssize_t count = PyTuple_GET_SIZE(edges.ptr());
    py::object gradients;
    if (entry.gradient) {
      const py::object dy = std::move(entry.gradient);
      if (Py_IS_TYPE(node, g_nodes.output))
        hand_over(node, dy);
      else
        gradients = gradients_of(node, dy, edges);
    }
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyObject* edge = PyTuple_GET_ITEM(edges.ptr(), i);
      if (edge == Py_None) continue;
      NodeEntry& to = entry_of(edge);
      if (gradients) {
        PyObject* gradient = PyTuple_GET_ITEM(gradients.ptr(), i);
        const bool wanted = !restricted_ || to.is_wanted();
        if (gradient != Py_None && wanted) receive(to, gradient);
      }
      --to.waits;
      if (to.waits == 0) make_ready(to);
    }
  }

  // Gives the gradient of an Output to its Function, whose entry has a list with a place for each output.
  void hand_over(PyObject* output, const py::object& dy) {
    const py::object function = py::handle(output).attr("function");
    NodeEntry& to = entry_of(function.ptr());
    if (!to.gradient) {
      const auto outputs = py::object(function.attr("outputs"));
      to.gradient = checked(PyList_New(static_cast<Py_ssize_t>(whole_number(outputs))));
      for (Py_ssize_t i = 0; i < PyList_GET_SIZE(to.gradient.ptr()); ++i)
        PyList_SET_ITEM(to.gradient.ptr(), i, Py_NewRef(Py_None));
    }
    const py::object place = py::handle(output).attr("index");
    const auto index = static_cast<Py_ssize_t>(whole_number(place));
    // Not None if a second Output of the same index exists, as a rule of higher_order.py may make one.
    const py::object before = owned(item_of(to.gradient.ptr(), index));
    py::object sum = dy;
    if (!before.is_none()) sum = called(add_, before, dy, py::bool_(false));
    if (PyList_SetItem(to.gradient.ptr(), index, sum.release().ptr()) < 0) throw py::error_already_set();
  }

  // In a restricted backward, whether each input's gradient is wanted; null if all that can be are wanted.
  py::object needs_of(const py::object& edges) {
    const Py_ssize_t count = PyTuple_GET_SIZE(edges.ptr());
    if (!restricted_ || count < 2) return {};
    bool all = true;
    py::object needs = new_tuple(count, [&](size_t i) {
      PyObject* const edge = PyTuple_GET_ITEM(edges.ptr(), i);
      const bool wanted = edge != Py_None && entry_of(edge).is_wanted();
      all = all && (wanted || edge == Py_None);
      PyObject* const answer = wanted ? Py_True : Py_False;
      return Py_NewRef(answer);
    });
    if (all) return {};
    return needs;
  }

  // The gradients of a node's inputs: by its backward or rule, in rare cases by steps[1].
  py::object gradients_of(PyObject* node, const py::object& dy, const py::object& edges) {
    const PrecisionOfNode precision(node);
    const py::object needs = needs_of(edges);
    NeedsOfPass restricted{};
    if (needs) restricted = {node, needs.ptr()};
    const Scoped pass(t_pass, restricted);
    const Py_ssize_t count = PyTuple_GET_SIZE(edges.ptr());
    py::object made;
    PyObject* const kind = reinterpret_cast<PyObject*>(Py_TYPE(node));
    py::object rule;
    if (on_tensors_) rule = owned(value_of(rules_, kind));
    const bool has_rule_if_needed = on_tensors_ == static_cast<bool>(rule);
    const bool is_rare = by_steps_ || !has_rule_if_needed || PyDict_GET_SIZE(g_replaced) ||
                         PyDict_GET_SIZE(g_of_nodes) || !is_unchanged(node);
    if (is_rare) {
      made = called(gradients_, py::handle(node), dy);
    } else if (PyList_CheckExact(dy.ptr())) {
      std::vector<PyObject*> arguments = {node};
      for (Py_ssize_t i = 0; i < PyList_GET_SIZE(dy.ptr()); ++i)
        arguments.push_back(PyList_GET_ITEM(dy.ptr(), i));
      made = call_node(rule, arguments.data(), arguments.size());
    } else {
      PyObject* const arguments[] = {node, dy.ptr()};
      made = call_node(rule, arguments, 2);
    }
    if (!PyTuple_CheckExact(made.ptr())) made = checked(PyTuple_Pack(1, made.ptr()));
    const Py_ssize_t given = PyTuple_GET_SIZE(made.ptr());
    if (given != count) {
      PyErr_Format(PyExc_RuntimeError, "[%s] backward gave %zd gradients for %zd inputs",
                   Py_TYPE(node)->tp_name, given, count);
      throw py::error_already_set();
    }
    return made;
  }
  // Calls the rule, or without one the node's method `backward`. arguments: the node and its gradients.
  static py::object call_node(const py::object& rule, PyObject* const* arguments, size_t n) {
    PyObject* const no_keywords = nullptr;
    if (rule) return checked(PyObject_Vectorcall(rule.ptr(), arguments, n, no_keywords));
    return checked(PyObject_VectorcallMethod(g_backward, arguments, n, no_keywords));
  }

  // True if it is not released, and its inputs and outputs (cells: node.versions) have not changed in place.
  static bool is_unchanged(PyObject* node) {
    const py::object versions = owned(slot_of(node, g_nodes.versions));
    const py::object changes = owned(slot_of(node, g_nodes.changes));
    if (!versions || !changes || owned(slot_of(node, g_nodes.released)).ptr() != Py_False) return false;
    const Py_ssize_t count = std::min(PyTuple_GET_SIZE(versions.ptr()), PyTuple_GET_SIZE(changes.ptr()));
    for (Py_ssize_t i = 0; i < count; ++i) {
      const int64_t now = counted_changes(PyTuple_GET_ITEM(versions.ptr(), i));
      if (now != whole_number(PyTuple_GET_ITEM(changes.ptr(), i))) return false;
    }
    return true;
  }

  // Function.release for a node that has run, without a call of Python if its class has that of Function.
  static void drop_saved(PyObject* node) {
    if (is_function(node) && class_attribute(Py_TYPE(node), g_release).ptr() == g_own_release)
      release(node);
    else
      checked(PyObject_CallMethodNoArgs(node, g_release));
  }

  const bool retain_, by_steps_, on_tensors_;
  PyObject* const rules_;
  bool restricted_ = false;
  PyObject* captures_ = nullptr;
  py::object add_, gradients_, hooks_, accumulate_, hooked_leaf_;
  std::unordered_map<PyObject*, NodeEntry> entries_;
  std::vector<NodeEntry*> starts_;
  std::vector<NodeEntry*> ready_;  // a heap: the node that runs next is its first
  int64_t last_arrival_ = 0;
};

void backward(Raw roots, Raw steps, Raw captured, Raw only, Truth retain, Truth by_steps, Raw rules) {
  Backward(steps.value.ptr(), retain, by_steps, rules.value.ptr())
      .run(roots.value.ptr(), captured.value.ptr(), only.value.ptr());
}

}  // namespace

void register_backward(Module m) {
  const auto name = [](const char* text) { return PyUnicode_InternFromString(text); };
  g_backward = name("backward");
  g_release = name("release");
  g_node_is_view = name("is_view");
  g_edges = name("edges");
  g_hooks_of_node = name("hooks");
  def(m, "_backward(roots, steps, captured, only, retain, by_steps, rules)", backward);
  def(m, "_release(function)", [](Raw function) { release(function.value.ptr()); });
  def(m, "_is_plain(value)", [](Raw value) { return is_plain(value.value.ptr()); });
  def(m, "_set_deferred(deferred)", [](Raw deferred) {
    g_deferred = reinterpret_cast<PyTypeObject*>(deferred.value.inc_ref().ptr());
    g_own_release = PyObject_GetAttr(reinterpret_cast<PyObject*>(g_nodes.function), g_release);
  });
  def(m, "_set_rare(replaced, of_nodes, before, after)",
      [](Raw replaced, Raw of_nodes, Raw before, Raw after) {
        const auto owned = [](const Raw& x) { return x.value.inc_ref().ptr(); };
        g_replaced = owned(replaced);
        g_of_nodes = owned(of_nodes);
        g_before = owned(before);
        g_after = owned(after);
      });
}

}  // namespace ranvier::bind
