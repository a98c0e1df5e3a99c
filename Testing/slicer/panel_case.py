"""The panel whose child a test plays, and a run that ended well."""

from pathlib import Path

import numpy as np
from fakes import FakeProcess
from made_up import Steps, make_labels, make_report, make_volume
from test_run import Case, FakeEngine

__all__ = ["MODULE", "PanelCase", "finished"]

MODULE = Path(__file__).resolve().parents[2] / "BrainTumorSeg" / "BrainTumorSeg.py"


class PanelCase(Case):
    """The widget with a logic whose children and loop the test plays."""

    def __init__(self, host):
        from BrainTumorSegLib.logic import Logic

        self.host, self.steps = host, Steps()
        self.outcomes, self.progress = [], []
        collaborators = {"engine": FakeEngine(), "make_process": FakeProcess, "later": self.steps}
        original = Logic.__init__
        Logic.__init__ = lambda logic, **_: original(logic, **collaborators)
        try:
            self.widget = host.panel(MODULE)
        finally:
            Logic.__init__ = original
        self.ui, self.panel, self.logic = self.widget.ui, self.widget.panel, self.widget.logic

    def fresh(self):
        """As it is when it was just opened on an empty scene."""
        self.host.new_scene()
        self.outcomes, self.progress = [], []
        from BrainTumorSegLib.logic import Logic

        Logic.__init__(self.logic, FakeEngine(), make_process=FakeProcess, later=self.steps)  # the one before was closed
        self.logic.on_changed = self.panel.run.refresh
        for name in ("recogniseMessage", "runWarning", "modelWarning", "deviceMessage", "engineMessage", "exportMessage", "resultMessage"):
            getattr(self.ui, name).text = ""
            getattr(self.ui, name).visible = False
        for button in (self.ui.copyErrorButton, self.ui.copyEngineErrorButton, self.ui.copyExportErrorButton):
            button.visible = False
        self.ui.exportCollapsibleButton.collapsed = True
        self.widget.parent.show()
        self.widget.enter()
        self.panel.engine.fold()

    def leave(self):
        """The user opens another module."""
        self.widget.parent.hide()
        self.widget.exit()

    def come_back(self):
        self.widget.parent.show()
        self.widget.enter()

    def choose(self, **nodes):
        for role in ("t1", "t1ce", "t2", "flair"):
            getattr(self.ui, f"{role}Selector").setCurrentNode(nodes.get(role))

    def press_segment(self):
        self.ui.segmentButton.click()
        self.steps.run()

    def shown(self, label):
        """The text of a label, '' when it is hidden."""
        label = getattr(self.ui, label)
        return "" if label.isHidden() else label.text


def finished(case, **report):
    """A run on a T1ce that ended well; returns the segmentation node."""
    reference = make_volume(name="T1ce")
    case.choose(t1ce=reference)
    case.press_segment()
    case.finish(make_labels(), np.eye(4), {**make_report(make_labels(), 0.001), **report})
    return case.panel.result.segmentation
