"""The module `slicer.parameterNodeWrapper`: typed attributes on a parameter node, bound to the widgets of a panel.

For bool, int, float, str, enums, pathlib.Path, node classes, and `Annotated` with Default, Choice, Minimum, Maximum or WithinRange.
As in Slicer 5.8, values are kept and read anew when the node is modified, which it does not tell of the nodes that an import brings; `connectGui`
returns None (so that disconnectGui cannot undo it); `connectParametersToGui` returns a tag.
"""

from __future__ import annotations

import enum
import pathlib
import types
import typing
from dataclasses import dataclass

import qt
import slicer
import vtk

__all__ = ["Choice", "Default", "Maximum", "Minimum", "WithinRange", "parameterNodeWrapper"]


class Default:
    def __init__(self, value=None, *, generator=None):
        self._value, self._generator = value, generator

    @property
    def value(self):
        return self._generator() if self._generator else self._value


@dataclass
class Choice:
    choices: list

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"{value!r} is none of {self.choices}")


@dataclass
class WithinRange:
    minimum: float
    maximum: float

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within {self.minimum}..{self.maximum}")


class Minimum(WithinRange):
    def __init__(self, minimum):
        super().__init__(minimum, float("inf"))


class Maximum(WithinRange):
    def __init__(self, maximum):
        super().__init__(float("-inf"), maximum)


class _Parameter:
    """One typed attribute: text of the node's parameter, or a node reference."""

    def __init__(self, name: str, hint, owner: type):
        notes = ()
        if typing.get_origin(hint) is typing.Annotated:
            hint, *notes = typing.get_args(hint)
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            hint = next(one for one in typing.get_args(hint) if one is not type(None))
        self.name, self.type = name, hint
        self.validators = [note for note in notes if hasattr(note, "validate")]
        self.is_node = isinstance(hint, type) and issubclass(hint, slicer.vtkMRMLNode)
        if not (self.is_node or hint in (bool, int, float, str, pathlib.Path) or (isinstance(hint, type) and issubclass(hint, enum.Enum))):
            raise TypeError(f"{name}: the host's parameter node does not know the type {hint}.")
        defaults = [note.value for note in notes if isinstance(note, Default)]
        if name in vars(owner):
            defaults = [vars(owner)[name]]
        empty = {bool: False, int: 0, float: 0.0, str: "", pathlib.Path: pathlib.Path()}
        self.default = defaults[0] if defaults else (None if self.is_node else empty[hint] if hint in empty else next(iter(hint)))

    def read(self, node):
        if self.is_node:
            return node.GetNodeReference(self.name)
        if not self.is_in(node):  # a closed scene has emptied the node
            self.write(node, self.default)
        text = node.GetParameter(self.name)
        if self.type is bool:
            return text == "True"
        return self.type[text] if issubclass(self.type, enum.Enum) else self.type(text)

    def write(self, node, value) -> None:
        if self.is_node:
            if value is not None and not isinstance(value, self.type):
                raise TypeError(f"{self.name} takes a {self.type.__name__}, not a {type(value).__name__}")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            return
        if not isinstance(value, self.type) and not (self.type is float and isinstance(value, int)):
            raise TypeError(f"{self.name} takes {self.type.__name__}, not {value!r}")
        for validator in self.validators:
            validator.validate(value)
        node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))

    def is_in(self, node) -> bool:
        return bool(node.GetNodeReferenceID(self.name)) if self.is_node else self.name in node.GetParameterNames()


def parameterNodeWrapper(cls):
    parameters = {name: _Parameter(name, hint, cls) for name, hint in typing.get_type_hints(cls, include_extras=True).items()}
    for name, parameter in parameters.items():
        setattr(cls, name, property(lambda self, p=parameter: self._values[p.name], lambda self, value, p=parameter: write(self, p, value)))

    def init(self, parameterNode):
        self.parameterNode = parameterNode
        self._connected, self._updating, self._next_tag, self._values = {}, False, 0, {}
        for parameter in parameters.values():
            if not parameter.is_in(parameterNode) and not (parameter.is_node and parameter.default is None):
                parameter.write(parameterNode, parameter.default)
        read(self)
        parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: read(self))

    def read(self):
        self._values.update((name, parameter.read(self.parameterNode)) for name, parameter in parameters.items())

    def write(self, parameter, value):
        with slicer.util.NodeModify(self.parameterNode):
            parameter.write(self.parameterNode, value)
            self._values[parameter.name] = parameter.read(self.parameterNode)

    def connect_parameters(self, mapping):
        bindings = {name: _Binding(widget, parameters[name]) for name, widget in mapping.items()}
        self._connected[self._next_tag] = bindings
        self._next_tag += 1
        for name, binding in bindings.items():
            binding.write(getattr(self, name))
            binding.on_change(lambda name=name, binding=binding: self._updating or setattr(self, name, binding.read()))
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: update(self))
        return self._next_tag - 1

    def update(self):
        if self._updating:
            return
        self._updating = True
        try:
            for bindings in list(self._connected.values()):
                for name, binding in bindings.items():
                    binding.write(getattr(self, name))
        finally:
            self._updating = False

    def connect_gui(self, gui):
        widgets = gui.findChildren(qt.QWidget) if isinstance(gui, qt.QWidget) else list(vars(gui).values())
        mapping = {widget.property("SlicerParameterName"): widget for widget in widgets if widget.property("SlicerParameterName")}
        connect_parameters(self, mapping)

    def disconnect_gui(self, tag):
        for binding in self._connected.pop(tag, {}).values():
            binding.on_change(None)

    added = {"__init__": init, "connectGui": connect_gui, "connectParametersToGui": connect_parameters, "disconnectGui": disconnect_gui,
             "allParameters": parameters,
             "getValue": lambda self, name: getattr(self, name), "setValue": lambda self, name, value: setattr(self, name, value),
             "StartModify": lambda self: self.parameterNode.StartModify(), "EndModify": lambda self, was: self.parameterNode.EndModify(was),
             "AddObserver": lambda self, event, call, priority=0.0: self.parameterNode.AddObserver(event, call, priority),
             "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag), "Modified": lambda self: self.parameterNode.Modified()}
    for name, value in added.items():
        setattr(cls, name, value)
    return cls


class _Binding:
    """A widget that shows one parameter: how it is read, written, and tells of a change. Slicer takes exactly these classes, no subclass."""

    def __init__(self, widget, parameter: _Parameter):
        from .ctk_widgets import WIDGETS as ctk
        from .qmrml_widgets import WIDGETS as qmrml

        self.widget, self._receiver = widget, None
        cls, kind = type(widget), parameter.type
        choices = self._choices(parameter)
        if parameter.is_node and cls is qmrml["qMRMLNodeComboBox"]:
            self.read, self.write, self._signal = widget.currentNode, widget.setCurrentNode, "currentNodeChanged(vtkMRMLNode*)"
        elif cls in (qt.QComboBox, ctk["ctkComboBox"]) and choices:
            widget.clear()
            widget.addItems([label for label, _ in choices])
            values = [value for _, value in choices]
            self.read, self._signal = lambda: values[widget.currentIndex], "currentIndexChanged(int)"
            self.write = lambda value: widget.setCurrentIndex(values.index(value))
        elif kind is bool and cls in (qt.QCheckBox, ctk["ctkCheckBox"]):
            self.read, self.write, self._signal = lambda: widget.checked, widget.setChecked, "stateChanged(int)"
        elif kind is bool and cls in (qt.QPushButton, ctk["ctkPushButton"], ctk["ctkCheckablePushButton"]) and widget.checkable:
            self.read, self.write, self._signal = lambda: widget.checked, widget.setChecked, "toggled(bool)"
        elif kind is int and cls in (qt.QSpinBox, qt.QSlider):
            self.read, self.write, self._signal = lambda: widget.value, widget.setValue, "valueChanged(int)"
        elif kind is float and cls in (qt.QDoubleSpinBox, ctk["ctkDoubleSpinBox"], ctk["ctkSliderWidget"], qmrml["qMRMLSliderWidget"]):
            self.read, self.write, self._signal = lambda: widget.value, widget.setValue, "valueChanged(double)"
        elif kind is str and cls is qt.QLineEdit:
            self.read, self.write, self._signal = lambda: widget.text, widget.setText, "textChanged(QString)"
        elif kind is str and cls in (qt.QTextEdit, qt.QPlainTextEdit):
            self.read, self.write, self._signal = lambda: widget.plainText, widget.setPlainText, "textChanged()"
        elif kind is pathlib.Path and cls is ctk["ctkPathLineEdit"]:
            self.read, self._signal = lambda: pathlib.Path(widget.currentPath), "currentPathChanged(QString)"
            self.write = lambda value: widget.setCurrentPath(str(value))
        else:
            raise RuntimeError(f"{widget.name}: Slicer has no connector from {widget.className()} to {kind} (a combo box needs an enum or Choice).")

    @staticmethod
    def _choices(parameter: _Parameter) -> list:
        if not parameter.is_node and issubclass(parameter.type, enum.Enum):
            label = getattr(parameter.type, "label", lambda one: one.name)
            return [(label(one), one) for one in parameter.type]
        return [(str(one), one) for note in parameter.validators if isinstance(note, Choice) for one in note.choices]

    def on_change(self, call) -> None:
        if self._receiver is not None:
            self.widget.disconnect(self._signal, self._receiver)
        self._receiver = (lambda *_: call()) if call else None
        if call:
            self.widget.connect(self._signal, self._receiver)
