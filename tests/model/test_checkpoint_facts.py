"""What a checkpoint says of its best use: it counts where nothing is given, travels with the weights, is checked."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.checkpoint_facts import BOUNDS, STATED, CheckpointFacts, facts_of, recommended_for, settled
from model.checkpoint_files import CheckpointError
from model.config import EnsembleConfig, ModelConfig
from model.loading import load_model
from model.saliency import load_pipeline

STEPS, MEMBERS = st.integers(1, 999), st.integers(1, 1000)
FACTS = st.builds(
    CheckpointFacts,
    default_denoise_steps=STEPS,
    default_ensemble_size=MEMBERS,
    recommended_bounds=st.fixed_dictionaries({}, optional={name: st.floats(0, most) for name, most in BOUNDS.items()}),
)
PHOTO = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of a saved model that says of itself what it is given."""

    def saying(facts):
        shutil.copytree(tiny_folder, tmp_path / "own")
        index = tmp_path / "own" / "model_index.json"
        index.write_text(json.dumps(json.loads(index.read_bytes()) | facts if isinstance(facts, dict) else facts))
        return tmp_path / "own"

    return saying


@given(FACTS, MEMBERS | st.none(), STEPS | st.none())
def test_what_is_given_counts_and_else_what_the_checkpoint_says(facts, members, steps):
    ensemble = settled(EnsembleConfig(ensemble_size=members, denoise_steps=steps, seed=3), facts)
    assert ensemble.members == (members or facts.default_ensemble_size)
    assert ensemble.steps == (steps or facts.default_denoise_steps)
    assert ensemble.seed == 3
    assert settled(ensemble, CheckpointFacts()) == ensemble
    is_own = ensemble.steps == facts.default_denoise_steps
    for change in ({"timestep_spacing": "leading"}, {"processing_res": 96}, {"reduction": "median"}, {"stretch": True}):
        assert recommended_for(replace(ensemble, **change), facts) == {}
    assert recommended_for(ensemble, facts) == (facts.recommended_bounds if is_own else {})


def test_settings_that_are_the_weights_own_by_name_are_their_own():
    facts = facts_of(ModelConfig())
    ensemble = settled(EnsembleConfig(), facts)
    for same in ({"timestep_spacing": "trailing"}, {"processing_res": 192}, {"ensemble_size": 20}):
        assert recommended_for(replace(ensemble, **same), facts) == facts.recommended_bounds != {}
    for other in ({"timestep_spacing": "leading"}, {"processing_res": 0}):
        assert recommended_for(replace(ensemble, **other), facts) == {}


@given(FACTS)
def test_facts_survive_their_file(facts):
    fields = {name: getattr(facts, name) for name in STATED}
    assert CheckpointFacts.of(json.loads(json.dumps(fields))) == facts
    assert CheckpointFacts.of({**dict.fromkeys(fields), "_class_name": "Other"}) == CheckpointFacts()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"default_denoise_steps": 0}, "default_denoise_steps is 0; it must be from 1 to 999"),
        ({"default_denoise_steps": 1000}, "default_denoise_steps is 1000; it must be from 1 to 999"),
        ({"default_denoise_steps": True}, "default_denoise_steps is True; it must be a whole number"),
        ({"default_ensemble_size": "10"}, "default_ensemble_size is '10'; it must be a whole number"),
        ({"default_ensemble_size": 10**9}, "default_ensemble_size is 1000000000; it must be from 1 to 1000"),
        ({"recommended_bounds": [1]}, r"recommended_bounds is \[1\]; it must map options to numbers"),
        ({"recommended_bounds": {"max_variance": "1"}}, "it must map options to numbers"),
        ({"recommended_bounds": {"min_area": 0.1}}, "recommended_bounds has 'min_area'; it may have max_variance"),
        (
            {"recommended_bounds": {"max_variance": 0.3}},
            "bounds: max_variance is 0.3; it must be from 0 to 0.25",
        ),
        ([], "it holds a list, not an object"),
        ({"recommended_bounds": {"max_variance": float("nan")}}, "model_index.json"),
    ],
)
def test_facts_that_can_not_be_are_refused_with_their_file(folder, facts, said):
    own = folder(facts)
    with pytest.raises(ValueError, match=said) as refused:
        facts_of(ModelConfig(model=str(own)))
    assert str(own / "model_index.json") in str(refused.value)
    with pytest.raises(CheckpointError, match=r"model_index\.json"):
        load_pipeline(own)


def test_a_loaded_model_takes_its_own_number_of_members_and_steps(folder):
    own = folder({"default_denoise_steps": 2, "default_ensemble_size": 3})
    model = load_model(ModelConfig(model=str(own)), EnsembleConfig())
    (found,) = model.predict([PHOTO], ["a"])
    assert found.members.shape[0] == 3
    given = load_model(ModelConfig(model=str(own)), EnsembleConfig(ensemble_size=3, denoise_steps=2))
    (same,) = given.predict([PHOTO], ["a"])
    assert np.array_equal(found.saliency, same.saliency)


def test_what_is_stated_is_saved_and_loaded(tiny_folder, tmp_path):
    facts = CheckpointFacts(default_denoise_steps=4, default_ensemble_size=7, recommended_bounds={"max_variance": 0.01})
    pipeline = load_pipeline(tiny_folder)
    assert pipeline.facts == CheckpointFacts()
    pipeline.state_facts(facts)
    pipeline.save_pretrained(tmp_path / "saved")
    assert load_pipeline(tmp_path / "saved").facts == facts == facts_of(ModelConfig(model=str(tmp_path / "saved")))
    assert type(pipeline).from_pretrained(tmp_path / "saved").facts == facts
    assert type(pipeline).from_pipe(pipeline).facts == facts


def test_the_embedded_model_says_what_its_architecture_does():
    from model.architectures import NANO_FACTS, build_pipeline

    assert facts_of(ModelConfig()) == NANO_FACTS == build_pipeline("nano").facts
    assert facts_of(ModelConfig(model="fake:sleep_s=1")) == CheckpointFacts() == build_pipeline("full").facts
