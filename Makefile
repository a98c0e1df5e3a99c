# make demo   a synthetic patient, made, segmented and compared with its truth, in ./demo
# make test   everything the tests need, then the tests; with BRAINTUMORSEG_SLICER=/path/to/Slicer also those inside that 3D Slicer
# make lint   ruff
# Each does its own set-up in .venv; PYTHON=python3.12 chooses another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEBIAN := dicom3tools dcmtk orthanc orthanc-dicomweb libegl1 libgl1 libxkbcommon0 libfontconfig1 libglib2.0-0 libdbus-1-3

.PHONY: demo test lint clean

demo: $(VENV)/.engine
	$(BIN)/braintumorseg demo --out demo --force

test: $(VENV)/.test
	@.ci/system-packages $(DEBIAN)
	@.ci/dcmjs $(VENV)/dcmjs
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

lint: $(VENV)/.test
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) demo build *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "BrainTumorSeg needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.engine: $(BIN)/python pyproject.toml .ci/constraints.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c .ci/constraints.txt -e '.[cpu]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml .ci/constraints.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c .ci/constraints.txt -e '.[cpu,training,test,slicer]'
	@touch $@ $(VENV)/.engine
