# make demo: the shipped bag through the shipped model, report and all.  make test: lint and all tests.
# PYTHON chooses the interpreter. A torch that it already has is kept and used; else the pinned one is installed.
PYTHON ?= python3
VENV ?= .venv
OUT ?= out/demo
BIN := $(VENV)/bin

.PHONY: demo test bench ros clean

demo: $(VENV)/.run
	$(BIN)/vbanana demo --out $(OUT)

test: $(VENV)/.test
	$(BIN)/ruff check .
	@$(BIN)/python -c "from vbanana_ros.sim.gl import open_gl; open_gl(8, 8).free()" 2>/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq libosmesa6; } >/dev/null 2>&1 \
	  || echo "note: no OpenGL to render with; the tests that need it are skipped (Debian: libosmesa6)"
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest

bench: $(VENV)/.bench
	$(BIN)/vbanana bench

# Builds the ROS package with a sourced ROS 2 and runs the tests that need one.
ros: $(VENV)/.ros
	$(BIN)/colcon --log-base build/log build --base-paths . --build-base build/ros --install-base build/install \
	  --cmake-args -DPython3_EXECUTABLE=$(abspath $(BIN)/python)
	. build/install/setup.sh && OMP_WAIT_POLICY=PASSIVE $(BIN)/colcon --log-base build/log test --base-paths . \
	  --build-base build/ros --install-base build/install --event-handlers console_direct+ --return-code-on-test-failure

# One stamp a set of requirements; each is a superset of the one before where its target needs it.
$(VENV)/.run: EXTRA :=
$(VENV)/.test: EXTRA := [test]
$(VENV)/.bench: EXTRA := [test,bench]
$(VENV)/.ros: EXTRA := [test,ros]
# Python 3.10 brings an older pip, whose search for versions that fit together does not end.
$(VENV)/.run $(VENV)/.test $(VENV)/.bench $(VENV)/.ros: setup.py constraints.txt constraints-torch.txt
	@if $(PYTHON) -c "import torch" 2>/dev/null; then site=--system-site-packages; fi; \
	  [ -x $(BIN)/python ] || $(PYTHON) -m venv $$site $(VENV)
	@torch="-c constraints-torch.txt"; $(BIN)/python -c "import torch" 2>/dev/null && torch=; \
	  $(BIN)/python -m pip install -q --disable-pip-version-check "pip>=23.2" && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt $$torch -e ".$(EXTRA)"
	@touch $@

clean:
	rm -rf $(VENV) out build *.egg-info
