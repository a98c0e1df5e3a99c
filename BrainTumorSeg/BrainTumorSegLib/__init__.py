"""The Slicer side of BrainTumorSeg. Importing it does nothing.

Around the engine's process (Qt only through qt_process):
    qt_process       QProcess behind a few calls
    process          one run: EngineProcess, and how it ended: Outcome
    run_queue        several runs, one at a time
    private_folder   a run's files, gone in every outcome
Around the engine's packages:
    install          Installation: state, install, repair, remove, self-test, command and environment of the engine
    slicer_python    installation_of_slicer(): that of the running Slicer, or of the Python that the site chose
    runtime_choice   CPU or GPU, by driver
    install_child    what runs pip, as a child
    manifest         what an installation consists of
"""
