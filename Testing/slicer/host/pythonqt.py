"""PySide6 with the manners of PythonQt, as Slicer's Python has them.

- one flat namespace, `qt`
- Qt properties are attributes: `button.enabled = False`, `label.text`; the getter of the same name is hidden by it, setters stay
- `sender.connect("signal(arguments)", function)` and `disconnect`; a function gets as many arguments as it takes
- `name` for objectName, `className()`, `findChildren(type_or_name)`, `delete()`

Known to differ from the real thing: overloads, enums (no ints here), ownership, virtual getters such as sizeHint (methods here).
"""

from __future__ import annotations

import ctypes
import inspect
import re
import sys
import types

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

__all__ = ["make_qt"]

_VIRTUAL_GETTERS = {"sizeHint", "minimumSizeHint"}  # PySide6 would take the property for an override of the virtual method
_get = object.__getattribute__


class _QtProperty:
    """A data descriptor for one property of Qt's meta-object, so that it hides a getter of the same name."""

    def __init__(self, name: str, writable: bool):
        self.name, self.writable = name, writable

    def __get__(self, instance, owner=None):
        return self if instance is None else QtCore.QObject.property(instance, self.name)

    def __set__(self, instance, value):
        if not self.writable:
            raise AttributeError(f"Property '{self.name}' of {type(instance).__name__} is read-only.")
        index = instance.metaObject().indexOfProperty(self.name)
        if not instance.metaObject().property(index).write(instance, value):
            raise TypeError(f"Property '{self.name}' of {type(instance).__name__} does not take {value!r}.")


def make_qt() -> types.ModuleType:
    """The module `qt`; patches PySide6's classes for good, so once a process."""
    _keep_alive(True, False, None)
    module = types.ModuleType("qt")
    for source in (QtCore, QtGui, QtWidgets, QtUiTools):
        for name in dir(source):
            if name.startswith(("Q", "q")):
                setattr(module, name, getattr(source, name))
    for value in list(vars(module).values()):
        if isinstance(value, type) and issubclass(value, QtCore.QObject):
            _patch_properties(value)
            value.__setattr__ = _set_attribute  # each class has its own
            if "__getattribute__" in vars(value):
                value.__getattribute__ = _getattribute
    QtCore.QObject.name = _QtProperty("objectName", True)
    QtCore.QObject.__getattribute__ = _getattribute
    for owner in (QtWidgets.QDialog, QtWidgets.QMenu, QtCore.QCoreApplication, QtCore.QEventLoop):
        owner.exec_ = owner.exec
    QtCore.QTimer.singleShot = staticmethod(_single_shot)
    return module


def _keep_alive(*objects) -> None:
    """PySide6 6.12 loses a reference to True at every emit and to None at every absent property; before Python 3.12 made them immortal,
    a test run would end in 'deallocating None'."""
    if sys.version_info < (3, 12):
        for one in objects:
            ctypes.c_ssize_t.from_address(id(one)).value += 1 << 40


def _patch_properties(cls: type) -> None:
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        name = meta.property(index).name()
        if name in _VIRTUAL_GETTERS or name == "singleShot":  # PythonQt leaves singleShot out for the static function of that name
            continue
        setattr(cls, name, _QtProperty(name, meta.property(index).isWritable()))


def _getattribute(self, name):
    if name in _METHODS:
        return types.MethodType(_METHODS[name], self)
    value = _get(self, name)
    return QtCore.QObject.property(self, name) if isinstance(value, QtCore.Property) else value  # PySide6's Property is no descriptor


_generic_set = ctypes.pythonapi.PyObject_GenericSetAttr  # object.__setattr__ refuses PySide6's objects
_generic_set.argtypes, _generic_set.restype = [ctypes.py_object] * 3, ctypes.c_int


def _set_attribute(self, name, value):
    """PythonQt refuses to set what a Qt class does not have; only a class that Python made may get attributes."""
    home = type(self).__module__
    if (home.startswith("PySide6") or (home.startswith("host.") and not name.startswith("_"))) and not hasattr(type(self), name):
        if isinstance(value, QtCore.QObject) and value.parent() is not None:
            return  # PySide6's loader of .ui files does this with every child; PythonQt does not
        raise AttributeError(f"Attribute '{name}' does not exist on type {type(self).__name__}; use setProperty for a dynamic one.")
    if isinstance(getattr(type(self), name, None), QtCore.Property):
        QtCore.QObject.setProperty(self, name, value)
    else:
        _generic_set(self, name, value)


def _connect(self, signature: str, slot) -> bool:
    signal, receiver = _signal(self, signature), _receiver(slot)
    _connections(self).append((signal, slot, receiver))
    return bool(QtCore.QObject.connect(self, QtCore.SIGNAL(signal), receiver))


def _disconnect(self, signature: str | None = None, slot=None) -> bool:
    wanted = signature and _signal(self, signature)
    kept, found = [], False
    for signal, target, receiver in _connections(self):
        if wanted in (None, signal) and slot in (None, target):
            found = QtCore.QObject.disconnect(self, QtCore.SIGNAL(signal), receiver) or found
        else:
            kept.append((signal, target, receiver))
    _connections(self)[:] = kept
    return found


_known_connections: dict[int, list] = {}


def _connections(sender) -> list:
    key = id(sender)
    if key not in _known_connections:
        _known_connections[key] = []
        _get(sender, "destroyed").connect(lambda *_: _known_connections.pop(key, None))
    return _known_connections[key]


def _signal(sender, signature: str) -> str:
    """The signature as PySide6 knows it. A stand-in class lists those of its signals that it cannot declare in `host_signals`.

    Raises AttributeError when the class has no such signal (PythonQt returns False and prints a line, which nobody reads).
    """
    signature = _normal(signature)
    for cls in type(sender).__mro__:
        signature = getattr(cls, "host_signals", {}).get(signature, signature)
    if _get(sender, "metaObject")().indexOfSignal(signature) < 0:
        raise AttributeError(f"{type(sender).__name__} has no signal {signature}.")
    return signature


def _normal(signature: str) -> str:
    return re.sub(r"\s+|const|&", "", signature)


def _receiver(slot):
    """PythonQt counts the arguments of functions and methods and passes no more than these; to any other callable it passes all."""
    function = slot.__func__ if inspect.ismethod(slot) else slot
    if not inspect.isfunction(function) or function.__code__.co_flags & inspect.CO_VARARGS:
        return lambda *arguments: slot(*arguments)
    count = function.__code__.co_argcount - inspect.ismethod(slot)
    return lambda *arguments: slot(*arguments[:count])


def _class_name(self) -> str:
    return _get(self, "metaObject")().className()


def _find_children(self, which=QtCore.QObject, name: str | None = None) -> list:
    """By class, by class and name, or by name alone (a string)."""
    cls = which if isinstance(which, type) else QtCore.QObject
    wanted = which if isinstance(which, str) else name
    found = QtCore.QObject.findChildren(self, cls)
    return [child for child in found if wanted in (None, "") or child.objectName == wanted]


def _find_child(self, which=QtCore.QObject, name: str | None = None):
    return next(iter(_find_children(self, which, name)), None)


def _single_shot(milliseconds: int, call) -> None:
    timer = QtCore.QTimer(QtCore.QCoreApplication.instance())
    timer.setSingleShot(True)
    timer.timeout.connect(lambda: (timer.deleteLater(), call()))
    timer.start(milliseconds)


_METHODS = {"connect": _connect, "disconnect": _disconnect, "className": _class_name, "findChildren": _find_children, "findChild": _find_child,
            "delete": lambda self: _get(self, "deleteLater")()}
