"""Encoders: the embedded model's backbone, networks in ONNX; equal numbers for mirror images, clear refusals."""

import shutil

import numpy as np
import pytest

from model.config import EMBEDDED_MODEL, ModelConfig
from pipeline.errors import ConfigError
from pipeline.passes.duplicates.encoders import encoder_fields, load_encoder
from pipeline.passes.options import EmbeddingsOptions
from tests.pipeline.passes.photos import make_photo


def model_encoder(px=64, **options):
    return load_encoder(EmbeddingsOptions(encoder_px=px), ModelConfig(**options))


def test_the_backbone_gives_an_image_and_its_mirror_image_the_same_numbers():
    encoder, photo = model_encoder(), make_photo(1)
    (one,), (other,) = encoder.of([photo]), encoder.of([np.ascontiguousarray(photo[:, ::-1])])
    assert one.shape == (encoder.length,) == (352,)
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert not np.allclose(one, encoder.of([make_photo(2)])[0], atol=1e-2)


def test_weights_are_loaded_at_first_use(tmp_path):
    shutil.copytree(EMBEDDED_MODEL / "conditioner", tmp_path / "conditioner")
    (tmp_path / "conditioner/diffusion_pytorch_model.safetensors").unlink()
    assert model_encoder(model=str(tmp_path)).length == 352


def test_weights_that_give_no_numbers_fail_the_images(monkeypatch):
    from model.features import BackboneFeatures
    from model.prediction import ModelOutputError

    encoder = model_encoder()
    assert isinstance(encoder, BackboneFeatures)
    next(encoder._network.backbone.parameters()).fill_(np.nan)
    with pytest.raises(ModelOutputError, match="NaN or infinite"):
        encoder.of([make_photo(1)])


def test_models_without_a_backbone_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--encoder none"):
        model_encoder(model="fake")
    with pytest.raises(ConfigError, match=r"no conditioner/config\.json"):
        model_encoder(model=str(tmp_path))


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    """A network that averages each third of the columns of an image of any size."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT

    def make(name, op="GlobalAveragePool", inputs=1, kind=floats):
        given = [helper.make_tensor_value_info(f"x{n}", kind, [1, 3, "h", "w"]) for n in range(inputs)]
        node = helper.make_node(op, ["x0"], ["y"])
        graph = helper.make_graph([node], "g", given, [helper.make_tensor_value_info("y", kind, None)])
        path = tmp_path_factory.mktemp("onnx") / name
        opset = [helper.make_opsetid("", 17)]
        path.write_bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())
        return str(path)

    return make


def test_a_network_in_onnx_gives_its_output(onnx_file):
    encoder = load_encoder(EmbeddingsOptions(encoder=onnx_file("mean.onnx"), encoder_px=32), ModelConfig())
    (found,) = encoder.of([np.full((10, 20, 3), 255, np.uint8)])
    np.testing.assert_allclose(found, (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225], rtol=1e-5)
    assert encoder.length == 3


def test_what_is_no_network_or_not_of_that_kind_is_refused(onnx_file, tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"no network")
    for path, message in [
        (tmp_path / "a.onnx", "no network in ONNX"),
        (tmp_path / "away.onnx", "can't be read"),
        (onnx_file("two.onnx", inputs=2), "its inputs are x0"),
        (onnx_file("whole.onnx", op="Identity", kind=7), "its inputs are x0: tensor.int64"),
    ]:
        with pytest.raises(ConfigError, match=message):
            load_encoder(EmbeddingsOptions(encoder=str(path)), ModelConfig())


def test_fields_tell_encoders_apart(onnx_file):
    files = [onnx_file("a.onnx"), onnx_file("b.onnx", op="GlobalMaxPool")]
    options = [EmbeddingsOptions(encoder=encoder) for encoder in ("none", "model", *files)]
    options.append(EmbeddingsOptions(encoder_px=64))
    fields = [dict(encoder_fields(given, ModelConfig())) for given in options]
    assert all(one != other for place, one in enumerate(fields) for other in fields[:place])
    assert not any(path in str(fields) for path in files)
