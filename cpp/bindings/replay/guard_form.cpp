// Makes a GuardForm (guard_form.h) from the guards of a step, and guards of another step from a form.
#include "bindings/replay/guard_form.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "bindings/binder/numpy_api.h"
#include "bindings/tensors/tensors.h"

namespace ranvier::bind {
namespace {

// functools.partial and collections.defaultdict, once they are asked for.
PyTypeObject* class_of(const char* module, const char* name) {
  const py::object found = checked(PyImport_ImportModule(module));
  return reinterpret_cast<PyTypeObject*>(py::object(found.attr(name)).release().ptr());
}
PyTypeObject* partial_class() {
  static PyTypeObject* const found = class_of("functools", "partial");
  return found;
}
PyTypeObject* defaultdict_class() {
  static PyTypeObject* const found = class_of("collections", "defaultdict");
  return found;
}

// The __dict__ of an object, or null.
py::object own_dict_of(PyObject* x) {
  PyTypeObject* const type = Py_TYPE(x);
  bool may_have = type->tp_dictoffset != 0;
#ifdef Py_TPFLAGS_MANAGED_DICT
  may_have = may_have || PyType_HasFeature(type, Py_TPFLAGS_MANAGED_DICT);
#endif
  if (!may_have) return {};
  PyObject* const dict = PyObject_GenericGetDict(x, nullptr);
  if (!dict) PyErr_Clear();
  return py::reinterpret_steal<py::object>(dict);
}

// True for the dict of a module, which lasts; another one, as exec() gets it, is freed with what is in it.
bool is_of_module(PyObject* dict) {
  static const py::str key("__name__");
  const auto name = py::reinterpret_borrow<py::object>(value_of(dict, key.ptr()));
  if (!name || !PyUnicode_Check(name.ptr())) return false;
  const auto module = py::reinterpret_steal<py::object>(PyImport_GetModule(name.ptr()));
  if (!module) PyErr_Clear();
  return module && PyModule_Check(module.ptr()) && PyModule_GetDict(module.ptr()) == dict;
}

// True for a function that another function makes anew in each call.
bool is_local(PyObject* function) {
  const char* const name = PyUnicode_AsUTF8(reinterpret_cast<PyFunctionObject*>(function)->func_qualname);
  if (!name) PyErr_Clear();
  return !name || std::strstr(name, "<locals>") || PyFunction_GET_CLOSURE(function);
}

// True for objects that are the same in all steps, or that never change and are then equal only if they are
// the same: classes, modules, functions of modules and classes, what classes are made of.
bool is_common(PyObject* x) {
  if (x == Py_None || x == Py_True || x == Py_False || x == Py_Ellipsis || x == Py_NotImplemented)
    return true;
  if (plain_value(x).kind != PlainValue::none) return true;
  if (PyType_Check(x) || PyModule_Check(x) || PyCode_Check(x) || PyContextVar_CheckExact(x)) return true;
  // Their subclasses, such as enumerations and devices, are compared by identity.
  if (PyUnicode_Check(x) || PyBytes_Check(x) || PyLong_Check(x) || PyFloat_Check(x)) return true;
  if (PyFunction_Check(x)) return !is_local(x);
  if (PyCFunction_Check(x)) {
    PyObject* const self = PyCFunction_GET_SELF(x);
    return !self || PyModule_Check(self);
  }
  const char* const name = Py_TYPE(x)->tp_name;
  static const char* const kNames[] = {"method_descriptor",
                                       "wrapper_descriptor",
                                       "member_descriptor",
                                       "getset_descriptor",
                                       "classmethod_descriptor",
                                       "property",
                                       "staticmethod",
                                       "classmethod",
                                       "range",
                                       "numpy.ufunc",
                                       "numpy.dtype",
                                       "re.Pattern",
                                       "types.GenericAlias",
                                       "types.UnionType",
                                       "datetime.timedelta",
                                       "datetime.date",
                                       "datetime.time",
                                       "datetime.datetime"};
  for (const char* known : kNames)
    if (std::strcmp(name, known) == 0) return true;
  if (std::strncmp(name, "numpy.dtype", 11) == 0) return true;  // numpy.dtype[float32]
  return std::strncmp(name, "ranvier._core.Public", 20) == 0;
}

// The flags of an array on which an op may depend.
int flags_of(PyObject* array) {
  return PyArray_FLAGS(as_array(array)) & (NPY_ARRAY_WRITEABLE | NPY_ARRAY_ALIGNED);
}

// True if Python reads the same of the array as the layout has: fits() leaves out strides of dimensions of
// one element.
bool has_layout(PyObject* array, const ArrayLayout& layout) {
  const npy_intp* const strides = PyArray_STRIDES(as_array(array));
  return layout.fits(py::handle(array)) && std::equal(strides, strides + layout.ndim, layout.strides);
}

// The name of the attribute with the object that x wraps (compile/guarding/library_guards.py); null: x is no
// wrapper.
py::object root_name_of(PyObject* x) {
  static const py::str name("step_root");
  return py::reinterpret_borrow<py::object>(class_attribute(Py_TYPE(x), name.ptr()));
}

// True if the class was made by Python code, or is one of the core's base classes.
bool is_python_class(PyTypeObject* type) {
  const destructor of_python_classes = tensor_class()->tp_dealloc;
  const bool heap = PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE);
  return (heap && type->tp_dealloc == of_python_classes) ||
         std::strncmp(type->tp_name, "ranvier._core.", 14) == 0;
}

// True if guards can compare all that a step reads of such an object: it has no contents that only C code
// sees.
bool is_open(PyObject* x) {
  PyTypeObject* const type = Py_TYPE(x);
  if (PyArray_CheckExact(x) || PyCell_Check(x) || PyFunction_Check(x)) return true;
  if (type == partial_class() || type == defaultdict_class()) return true;
  for (PyTypeObject* base = type; base && base != &PyBaseObject_Type; base = base->tp_base) {
    const bool container =
        base == &PyList_Type || base == &PyDict_Type || base == &PySet_Type || base == &PyODict_Type;
    if (!container && !is_python_class(base)) return false;
  }
  return true;
}

}  // namespace

// Makes a GuardForm.
class FormOfGuards {
 public:
  FormOfGuards(GuardForm& form, py::handle described) : form_(form), described_(described) {}

  // False if the step can have no form, as it is for the functions below.
  bool is_complete() const { return is_complete_; }
  bool add_roots(const py::list& roots) {
    for (const py::handle root : roots) {
      std::optional<Operand> operand = operand_of(root.ptr(), Found::in_own);
      if (!operand) return false;
      form_.roots_.push_back(std::move(*operand));
    }
    return true;
  }

  bool add_row(size_t place, const py::tuple& guard) {
    const auto kind = static_cast<GuardKind>(whole_number(guard[0]));
    if (kind == GuardKind::gradient && whole_number(guard[3]) != 0) return false;
    std::optional<Operand> owner = owner_of(kind, py::object(guard[1]).ptr());
    if (!owner) return false;
    const Found where = where_found(kind, *owner);
    // An int among the keys of a dict may be the id of an object.
    const bool has_ids = kind == GuardKind::items || kind == GuardKind::dict;
    std::optional<Operand> key = operand_of(py::object(guard[2]).ptr(), where);
    std::optional<Operand> expected;
    if (has_ids)
      expected = pairs_of(guard[3], where);
    else
      expected = operand_of(py::object(guard[3]).ptr(), where);
    if (!key || !expected) return false;
    if (has_number(*owner) || has_number(*key) || has_number(*expected)) {
      form_.rows_.push_back({kind, std::move(*owner), std::move(*key), std::move(*expected)});
      form_.places_.push_back(place);
    }
    return true;
  }

 private:
  using Operand = GuardForm::Operand;

  // Where an object was found: in an object of the step; in one that is common to all steps, of which it is a
  // part; or in a variable of a module or by a function, where another step may find another object, such as
  // the model that the program has there now.
  enum class Found { in_own, in_common, now };
  static Found where_found(GuardKind kind, const Operand& owner) {
    if (owner.kind != Operand::common) return Found::in_own;
    if (kind == GuardKind::call || is_namespace(owner.object.ptr())) return Found::now;
    return Found::in_common;
  }
  static bool has_number(const Operand& operand) {
    if (operand.kind == Operand::numbered || operand.kind == Operand::id) return true;
    return std::any_of(operand.parts.begin(), operand.parts.end(), has_number);
  }
  // True for a dict of global variables.
  static bool is_namespace(PyObject* x) {
    static const py::str name("__builtins__");
    return PyDict_CheckExact(x) && PyDict_Contains(x, name.ptr()) == 1;
  }

  std::optional<Operand> owner_of(GuardKind kind, PyObject* x) {
    const bool known = numbers_.count(x) || form_.common_.count(x);
    if (known || is_common(x)) return operand_of(x, Found::in_common);
    if (kind == GuardKind::call && Py_TYPE(x) == partial_class()) return partial_of(x);
    // An object to which no guard before this one leads: it was found in another object, of which it is a
    // part for ever. Where that one is common to all steps, this one is. The first guard on any other object
    // is on its class.
    if (kind == GuardKind::type || kind == GuardKind::slot) return std::nullopt;
    if (is_namespace(x) && !is_of_module(x)) return std::nullopt;
    form_.common_.insert(x);
    return Operand{Operand::common, py::reinterpret_borrow<py::object>(x)};
  }

  std::optional<Operand> partial_of(PyObject* x) {
    const py::handle partial(x);
    if (PyDict_Size(py::object(partial.attr("keywords")).ptr()) > 0) return std::nullopt;
    std::optional<Operand> function = operand_of(py::object(partial.attr("func")).ptr(), Found::in_common);
    std::optional<Operand> arguments = operand_of(py::object(partial.attr("args")).ptr(), Found::in_own);
    if (!function || !arguments) return std::nullopt;
    Operand operand{Operand::partial};
    operand.parts.push_back(std::move(*function));
    operand.parts.push_back(std::move(*arguments));
    return operand;
  }

  // (key, value, key, value ...): a key may be the id of an object.
  std::optional<Operand> pairs_of(const py::tuple& pairs, Found where) {
    Operand operand{Operand::tuple};
    for (size_t i = 0; i < pairs.size(); ++i) {
      PyObject* const x = PyTuple_GET_ITEM(pairs.ptr(), static_cast<Py_ssize_t>(i));
      if (i % 2 == 0 && PyLong_CheckExact(x)) {
        PyObject* const address = static_cast<PyObject*>(PyLong_AsVoidPtr(x));
        if (!address) PyErr_Clear();
        const auto found = numbers_.find(address);
        if (found != numbers_.end()) {
          operand.parts.push_back({Operand::id, {}, found->second});
          continue;
        }
      }
      std::optional<Operand> part = operand_of(x, where);
      if (!part) return std::nullopt;
      operand.parts.push_back(std::move(*part));
    }
    return operand;
  }

  std::optional<Operand> parts_of(Operand::Kind kind, std::initializer_list<PyObject*> parts, Found where) {
    Operand operand{kind};
    for (PyObject* const part : parts) {
      std::optional<Operand> made = operand_of(part, where);
      if (!made) return std::nullopt;
      operand.parts.push_back(std::move(*made));
    }
    return operand;
  }

  // Nothing if x belongs to the step, and it is not known what the step reads of it.
  std::optional<Operand> operand_of(PyObject* x, Found where) {
    const auto found = numbers_.find(x);
    if (found != numbers_.end()) return Operand{Operand::numbered, {}, found->second};
    if (PyTuple_CheckExact(x)) {
      Operand operand{Operand::tuple};
      for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(x); ++i) {
        std::optional<Operand> part = operand_of(PyTuple_GET_ITEM(x, i), where);
        if (!part) return std::nullopt;
        operand.parts.push_back(std::move(*part));
      }
      return operand;
    }
    if (PyFunction_Check(x) && !is_of_module(PyFunction_GET_GLOBALS(x))) return std::nullopt;
    if (PyMethod_Check(x))
      return parts_of(Operand::method, {PyMethod_GET_FUNCTION(x), PyMethod_GET_SELF(x)}, where);
    const bool common = is_common(x);
    if (!common && where != Found::in_common && !form_.common_.count(x)) {
      PyObject* const known = described(x);
      if (known == Py_True && is_open(x)) return Operand{Operand::numbered, {}, number_of(x)};
      if (known != Py_False && where == Found::in_own) return std::nullopt;
    }
    if (!common) form_.common_.insert(x);
    return Operand{Operand::common, py::reinterpret_borrow<py::object>(x)};
  }

  // Py_True, Py_False or null, as GuardForm::of() has it.
  PyObject* described(PyObject* x) const {
    if (PyArray_CheckExact(x) || PyCell_Check(x)) return Py_True;
    const auto id = py::reinterpret_steal<py::object>(PyLong_FromVoidPtr(x));
    return value_of(described_.ptr(), id.ptr()).ptr();
  }

  int number_of(PyObject* x) {
    const auto found = numbers_.find(x);
    if (found != numbers_.end()) return found->second;
    const int number = static_cast<int>(form_.own_.size());
    numbers_[x] = number;
    form_.objects_.append(py::handle(x));
    form_.own_.emplace_back();
    GuardForm::OwnObject own;
    own.type = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(Py_TYPE(x)));
    if (PyArray_CheckExact(x)) {
      own.layout = std::make_unique<ArrayLayout>(py::handle(x), PyArray_BYTES(as_array(x)));
      own.flags = flags_of(x);
    }
    if (PyFunction_Check(x)) {
      own.code = py::reinterpret_borrow<py::object>(PyFunction_GET_CODE(x));
      own.globals = py::reinterpret_borrow<py::object>(PyFunction_GET_GLOBALS(x));
      PyObject* const cells = PyFunction_GET_CLOSURE(x);
      const Py_ssize_t count = cells ? PyTuple_GET_SIZE(cells) : 0;
      for (Py_ssize_t i = 0; i < count; ++i) own.cells.push_back(number_of(PyTuple_GET_ITEM(cells, i)));
    }
    if (Py_TYPE(x) == defaultdict_class()) own.factory = py::handle(x).attr("default_factory");
    const py::object dict = own_dict_of(x);
    if (dict) own.dict = number_of(dict.ptr());
    own.root_name = root_name_of(x);
    if (own.root_name) {
      const py::object root = checked(PyObject_GetAttr(x, own.root_name.ptr()));
      std::optional<Operand> operand = operand_of(root.ptr(), Found::in_own);
      is_complete_ = is_complete_ && operand;
      if (operand) own.root.push_back(std::move(*operand));
    }
    form_.own_[static_cast<size_t>(number)] = std::move(own);
    return number;
  }

  GuardForm& form_;
  const py::handle described_;
  std::unordered_map<PyObject*, int> numbers_;
  bool is_complete_ = true;  // whether it is known what a step reads of all objects that wrappers wrap
};

std::unique_ptr<GuardForm> GuardForm::of(const py::list& roots, const py::list& guards,
                                         const py::dict& described) {
  auto form = std::make_unique<GuardForm>();
  FormOfGuards maker(*form, described);
  if (!maker.add_roots(roots)) return nullptr;
  for (size_t i = 0; i < guards.size(); ++i)
    if (!maker.add_row(i, guards[i])) return nullptr;
  if (!maker.is_complete()) return nullptr;
  return form;
}

py::list GuardForm::own_places() const {
  py::list places;
  for (const size_t place : places_) places.append(py::int_(place));
  return places;
}

// Finds the objects and guards of another step.
class MatchOfGuards {
 public:
  explicit MatchOfGuards(const GuardForm& form) : form_(form), objects_(form.own_.size()) {}

  bool match_roots(const py::list& roots) {
    if (roots.size() != form_.roots_.size()) return false;
    for (size_t i = 0; i < roots.size(); ++i)
      if (!match(form_.roots_[i], py::object(roots[i]).ptr())) return false;
    return true;
  }

  // False if the guard does not hold in the other step. Else appends the guard of that step.
  bool match_row(const GuardForm::Row& row, py::list& guards) {
    const py::object owner = object_of(row.owner);
    if (!owner) return false;
    py::object key = object_of(row.key);
    py::object expected;
    switch (row.kind) {
      case GuardKind::items:
        expected = pairs(row, [&](PyObject* name) { return value_of(owner.ptr(), name); });
        break;
      case GuardKind::names: {
        auto* const type = reinterpret_cast<PyTypeObject*>(owner.ptr());
        if (PyTuple_Check(key.ptr())) {
          if (!same_value(type->tp_mro, key.ptr())) return false;
          key = py::reinterpret_borrow<py::object>(type->tp_mro);  // guards compare it by identity
        }
        expected = pairs(row, [&](PyObject* name) { return class_attribute(type, name); });
        break;
      }
      case GuardKind::slot:
        expected = matched(row.expected, slot_of(owner.ptr(), slot_offset(Py_TYPE(owner.ptr()), key.ptr())));
        break;
      case GuardKind::attribute:
        expected = matched_result(row.expected, PyObject_GetAttr(owner.ptr(), key.ptr()));
        break;
      case GuardKind::call:
        expected = matched_result(row.expected, PyObject_CallNoArgs(owner.ptr()));
        break;
      case GuardKind::cell:
        expected = matched(row.expected, content_of(owner.ptr()));
        break;
      case GuardKind::list:
        expected = matched_result(row.expected, PyList_AsTuple(owner.ptr()));
        break;
      case GuardKind::dict:
        expected = matched_dict(row, owner.ptr());
        break;
      case GuardKind::function:
        expected = matched_function(row, owner.ptr());
        break;
      case GuardKind::type:
        if (!key.is_none()) key = matched(row.key, own_dict_of(owner.ptr()));
        if (!key) return false;
        expected = matched(row.expected, reinterpret_cast<PyObject*>(Py_TYPE(owner.ptr())));
        break;
      case GuardKind::gradient: {
        Guard guard{row.kind, owner, key, row.expected.object};
        if (guard.holds()) expected = row.expected.object;
        break;
      }
    }
    if (!expected) return false;
    guards.append(tuple_of({py::int_(static_cast<int>(row.kind)), owner, key, expected}));
    return true;
  }

  // The objects by number; null if one was not found.
  py::object objects() const {
    py::list found;
    for (const py::object& x : objects_) {
      if (!x) return {};
      found.append(x);
    }
    return std::move(found);
  }

 private:
  using Operand = GuardForm::Operand;

  // True if x is what stands there in the other step; it may give x a number.
  bool match(const Operand& operand, PyObject* x) {
    switch (operand.kind) {
      case Operand::common:
        return x && same_value(operand.object.ptr(), x);
      case Operand::numbered:
        return x && bind(operand.number, x);
      case Operand::tuple:
        if (!x || !PyTuple_CheckExact(x)) return false;
        if (static_cast<size_t>(PyTuple_GET_SIZE(x)) != operand.parts.size()) return false;
        for (size_t i = 0; i < operand.parts.size(); ++i)
          if (!match(operand.parts[i], PyTuple_GET_ITEM(x, static_cast<Py_ssize_t>(i)))) return false;
        return true;
      case Operand::method:
        return x && PyMethod_Check(x) && match(operand.parts[0], PyMethod_GET_FUNCTION(x)) &&
               match(operand.parts[1], PyMethod_GET_SELF(x));
      case Operand::id:
      case Operand::partial:
        return false;
    }
    return false;
  }
  py::object matched(const Operand& operand, py::handle x) {
    if (!match(operand, x.ptr())) return {};
    return py::reinterpret_borrow<py::object>(x);
  }
  // The same for a new reference; an error of Python becomes null.
  py::object matched_result(const Operand& operand, PyObject* x) {
    if (!x) PyErr_Clear();
    const auto held = py::reinterpret_steal<py::object>(x);
    return matched(operand, held);
  }

  // Gives the object a number. False if it has another one, if the number has another object, or if what
  // OwnObject has differs.
  bool bind(int number, PyObject* x) {
    py::object& bound = objects_[static_cast<size_t>(number)];
    if (bound) return bound.ptr() == x;
    const GuardForm::OwnObject& own = form_.own_[static_cast<size_t>(number)];
    if (reinterpret_cast<PyObject*>(Py_TYPE(x)) != own.type.ptr()) return false;
    if (form_.common_.count(x) || !numbers_.emplace(x, number).second) return false;
    bound = py::reinterpret_borrow<py::object>(x);
    if (own.layout && !(has_layout(x, *own.layout) && flags_of(x) == own.flags)) return false;
    if (own.code && !bind_function(own, x)) return false;
    if (own.factory && !own.factory.is(py::handle(x).attr("default_factory"))) return false;
    const py::object dict = own_dict_of(x);
    if (static_cast<bool>(dict) != (own.dict >= 0)) return false;
    if (dict && !bind(own.dict, dict.ptr())) return false;
    return own.root.empty() || matched_result(own.root[0], PyObject_GetAttr(x, own.root_name.ptr()));
  }
  bool bind_function(const GuardForm::OwnObject& own, PyObject* x) {
    if (PyFunction_GET_CODE(x) != own.code.ptr() || PyFunction_GET_GLOBALS(x) != own.globals.ptr())
      return false;
    PyObject* const cells = PyFunction_GET_CLOSURE(x);
    const size_t count = cells ? static_cast<size_t>(PyTuple_GET_SIZE(cells)) : 0;
    if (count != own.cells.size()) return false;
    for (size_t i = 0; i < count; ++i)
      if (!bind(own.cells[i], PyTuple_GET_ITEM(cells, static_cast<Py_ssize_t>(i)))) return false;
    return true;
  }

  // What the operand stands for in the other step; null: it has not been found yet.
  py::object object_of(const Operand& operand) const {
    switch (operand.kind) {
      case Operand::common:
        return operand.object;
      case Operand::numbered:
        return objects_[static_cast<size_t>(operand.number)];
      case Operand::id: {
        const py::object& x = objects_[static_cast<size_t>(operand.number)];
        return x ? py::reinterpret_steal<py::object>(PyLong_FromVoidPtr(x.ptr())) : py::object();
      }
      default:
        return made_of_parts(operand);
    }
  }
  py::object made_of_parts(const Operand& operand) const {
    py::tuple parts(operand.parts.size());
    for (size_t i = 0; i < operand.parts.size(); ++i) {
      const py::object part = object_of(operand.parts[i]);
      if (!part) return {};
      parts[i] = part;
    }
    if (operand.kind == Operand::tuple) return std::move(parts);
    if (operand.kind == Operand::method)
      return checked(PyMethod_New(py::object(parts[0]).ptr(), py::object(parts[1]).ptr()));
    const py::tuple arguments = parts[1];
    py::tuple all(arguments.size() + 1);
    all[0] = parts[0];
    for (size_t i = 0; i < arguments.size(); ++i) all[i + 1] = arguments[i];
    return checked(PyObject_CallObject(reinterpret_cast<PyObject*>(partial_class()), all.ptr()));
  }

  // (name, value, name, value ...) as row.expected; look(name) gives the present value or null.
  template <class F>
  py::object pairs(const GuardForm::Row& row, const F& look) {
    const std::vector<Operand>& parts = row.expected.parts;
    py::tuple found(parts.size());
    for (size_t i = 0; i + 1 < parts.size(); i += 2) {
      const py::object name = object_of(parts[i]);
      if (!name) return {};
      const Held value = look(name.ptr());
      const bool is_absent =
          parts[i + 1].kind == Operand::common && parts[i + 1].object.ptr() == Py_NotImplemented;
      if (is_absent ? static_cast<bool>(value) : !match(parts[i + 1], value.ptr())) return {};
      found[i] = name;
      found[i + 1] = is_absent ? parts[i + 1].object : py::reinterpret_borrow<py::object>(value);
    }
    // Of a guard on names, a version of the class: it is of the step from which the form was made.
    if (parts.size() % 2 == 1) found[parts.size() - 1] = py::int_(0);
    return std::move(found);
  }

  // The keys and values of a dict, in its order.
  py::object matched_dict(const GuardForm::Row& row, PyObject* dict) {
    const py::scoped_critical_section alone(dict);
    const std::vector<Operand>& parts = row.expected.parts;
    const Py_ssize_t size = PyDict_GET_SIZE(dict);
    if (parts.size() != 2 * static_cast<size_t>(size)) return {};
    py::tuple found(parts.size());
    PyObject *key, *value;
    Py_ssize_t at = 0;
    size_t i = 0;
    while (PyDict_Next(dict, &at, &key, &value)) {
      const bool is_id = parts[i].kind == Operand::id;
      if (is_id ? !same_value(object_of(parts[i]).ptr(), key) : !match(parts[i], key)) return {};
      if (!match(parts[i + 1], value)) return {};
      found[i] = py::handle(key);
      found[i + 1] = py::handle(value);
      i += 2;
    }
    return std::move(found);
  }

  py::object matched_function(const GuardForm::Row& row, PyObject* f) {
    const auto places = places_of_function(f);
    py::tuple found(kOfFunction);
    for (int i = 0; i < kOfFunction; ++i) {
      const Operand& expected = row.expected.parts[static_cast<size_t>(i)];
      const bool compared = expected.kind != Operand::common || expected.object.ptr() != Py_NotImplemented;
      PyObject* const now = *places[static_cast<size_t>(i)] ? *places[static_cast<size_t>(i)] : Py_None;
      if (compared && !match(expected, now)) return {};
      found[static_cast<size_t>(i)] = py::handle(compared ? now : Py_NotImplemented);
    }
    return std::move(found);
  }

  const GuardForm& form_;
  std::vector<py::object> objects_;             // by number
  std::unordered_map<PyObject*, int> numbers_;  // of objects_
};

py::object GuardForm::match(const py::list& roots) {
  MatchOfGuards found(*this);
  if (!found.match_roots(roots)) return py::int_(-1);
  py::list guards;
  for (size_t i = 0; i < rows_.size(); ++i)
    if (!found.match_row(rows_[i], guards)) return py::int_(i);
  const py::object objects = found.objects();
  if (!objects) return py::int_(rows_.size());
  return tuple_of({objects, guards});
}

}  // namespace ranvier::bind
