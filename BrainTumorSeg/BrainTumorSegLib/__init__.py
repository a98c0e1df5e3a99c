"""The Slicer side of BrainTumorSeg: the panel, its logic, and the engine as a child process. Importing it does nothing."""
