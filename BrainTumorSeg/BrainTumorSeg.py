"""BrainTumorSeg in 3D Slicer: the four classes that Slicer looks for. Everything else is in BrainTumorSegLib."""

from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from BrainTumorSegLib.logic import Logic
from BrainTumorSegLib.mrml_segmentation import is_ours
from BrainTumorSegLib.parameters import BrainTumorSegParameterNode
from BrainTumorSegLib.self_test import SelfTests

_HOMEPAGE = "https://github.com/BrainTumorSeg/SlicerBrainTumorSeg"


class BrainTumorSeg(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Brain Tumor Segmentation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = []
        self.parent.contributors = [_("The BrainTumorSeg developers")]
        self.parent.helpText = _(
            "Outlines the parts of a brain tumour (necrosis, oedema, enhancing tumour) on MR and measures them. Load T1, contrast-enhanced T1, "
            "T2 and FLAIR of one patient, or any of them, press <b>Recognise sequences</b> and <b>Segment</b>. Runs on this computer; nothing is "
            "uploaded. <b>Research use only, not a medical device.</b> See <a href='{homepage}'>the tutorial</a>.").format(homepage=_HOMEPAGE)
        self.parent.acknowledgementText = _(
            "Networks were trained on public data: RSNA-ASNR-MICCAI BraTS 2021 (CC BY 4.0) and BraTS-TCGA (CC BY 3.0); "
            "see <b>About this network</b>.")
        icon = Path(__file__).parent / "Resources" / "Icons" / "BrainTumorSeg.png"
        if icon.is_file():
            import qt

            self.parent.icon = qt.QIcon(str(icon))
        slicer.app.connect("startupCompleted()", _when_slicer_is_ready)


def _when_slicer_is_ready() -> None:
    from BrainTumorSegLib.mrml_terminology import load_terminology
    from BrainTumorSegLib.sample_data import register

    register()
    load_terminology()


class BrainTumorSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Brings panel, scene and parameter node together."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameters = None
        self._gui_tag = None
        self._entered = False
        self._fill_timer = None
        self._left_behind: list = []  # what belongs to a result that is just being removed

    def setup(self) -> None:
        import qt

        from BrainTumorSegLib.widget import Panel

        ScriptedLoadableModuleWidget.setup(self)
        ui_widget = slicer.util.loadUI(self.resourcePath("UI/BrainTumorSeg.ui"))
        self.layout.addWidget(ui_widget)
        self.ui = slicer.util.childWidgetVariables(ui_widget)
        ui_widget.setMRMLScene(slicer.mrmlScene)
        self.logic = BrainTumorSegLogic()
        self.panel = Panel(self.ui, self.logic)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._scene_closes)
        self.addObserver(scene, scene.EndCloseEvent, self._scene_closed)
        self.addObserver(scene, scene.NodeAddedEvent, self._node_added)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._node_goes)
        self.addObserver(scene, scene.NodeRemovedEvent, self._node_went)
        self.addObserver(scene, scene.EndBatchProcessEvent, self._batch_ended)
        self.addObserver(scene, scene.StartImportEvent, self._scene_comes)
        self.addObserver(scene, scene.EndImportEvent, self._scene_imported, priority=-10.0)  # after the selectors have learnt the new nodes
        self._fill_timer = qt.QTimer()  # fires once for the volumes that come together
        self._fill_timer.setSingleShot(True)
        self._fill_timer.setInterval(0)
        self._fill_timer.connect("timeout()", self._fill)
        self._use_parameters()

    def cleanup(self) -> None:
        self._fill_timer.stop()
        self._drop_parameters()
        self.removeObservers()
        self.logic.close()

    def enter(self) -> None:
        self._entered = True
        self._use_parameters()
        self.panel.enter()

    def exit(self) -> None:
        """Runs go on while another module is shown, and their results still arrive."""
        self._entered = False

    def onReload(self) -> None:
        """For developers: the parts of the panel are read anew too."""
        import sys

        for name in [name for name in sys.modules if name.partition(".")[0] in ("BrainTumorSegLib", "braintumorseg")]:
            del sys.modules[name]
        super().onReload()
        slicer.modules.BrainTumorSegWidget.enter()  # the new panel is on the screen already, and nobody tells it

    @property
    def busy(self) -> bool:
        return self.panel.run.busy

    def _use_parameters(self) -> None:
        node = self.logic.getParameterNode()
        if self._parameters is not None and self._parameters.parameterNode is node.parameterNode:
            return
        self._drop_parameters()
        self._parameters = node
        bound = {widget.property("SlicerParameterName"): widget for widget in vars(self.ui).values() if widget.property("SlicerParameterName")}
        self._gui_tag = node.connectParametersToGui(bound)  # connectGui gives no tag in Slicer 5.8
        self.addObserver(node.parameterNode, vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
        self.panel.set_parameters(node)

    def _drop_parameters(self) -> None:
        if self._parameters is not None:
            self.removeObserver(self._parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
            self._parameters.disconnectGui(self._gui_tag)
            self._parameters = None
            self.panel.set_parameters(None)

    def _parameters_changed(self, caller=None, event=None) -> None:
        self.panel.refresh()

    def _scene_closes(self, caller, event) -> None:
        self.logic.cancel_all()
        self._drop_parameters()

    def _scene_closed(self, caller, event) -> None:
        if self._entered:
            self._use_parameters()

    def _scene_comes(self, caller, event) -> None:
        """The parameter node stays the same one and does not tell that a scene's values were read into it: it is bound anew afterwards."""
        self._drop_parameters()

    def _scene_imported(self, caller, event) -> None:
        self._use_parameters()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_added(self, caller, event, node) -> None:
        """A study that is loaded while the panel is open fills the empty fields."""
        if node.IsA("vtkMRMLScalarVolumeNode") and self._entered:
            self._fill_timer.start()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_goes(self, caller, event, node) -> None:
        """Its fields become empty before the selectors move on to a neighbour, which may be another patient's."""
        parameters = self._parameters
        names = [name for name in parameters.allParameters if getattr(parameters, name) is node] if parameters is not None else []
        if names:
            self.panel.inputs.node_goes(node)
            with slicer.util.NodeModify(parameters):
                for name in names:
                    setattr(parameters, name, None)
        if is_ours(node) and not (slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsBatchProcessing()):
            self._left_behind = self.logic.belongings_of(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_went(self, caller, event, node) -> None:
        """The table and the report of a result go with it."""
        if is_ours(node):
            gone, self._left_behind = self._left_behind, []
            for one in gone:
                slicer.mrmlScene.RemoveNode(one)

    def _batch_ended(self, caller, event) -> None:
        """What came in the batch was not looked at yet."""
        if self._entered:
            self._fill_timer.start()

    def _fill(self) -> None:
        if self._parameters is not None and not slicer.mrmlScene.IsBatchProcessing():
            self.panel.inputs.fill(more=True)


class BrainTumorSegLogic(Logic, ScriptedLoadableModuleLogic):
    """For scripts: what BrainTumorSegLib.logic.Logic can do, and the parameter node."""

    def __init__(self, **collaborators):
        Logic.__init__(self, **collaborators)
        ScriptedLoadableModuleLogic.__init__(self)

    def getParameterNode(self) -> BrainTumorSegParameterNode:
        return BrainTumorSegParameterNode(super().getParameterNode())


class BrainTumorSegTest(SelfTests, ScriptedLoadableModuleTest):
    """The in-Slicer tests: BrainTumorSegLib/self_test.py."""
