"""Every network against its published definition, and the table that chooses it."""

from functools import cache
from itertools import pairwise

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tomli
from jsonschema import Draft202012Validator

from frepo.data.sources.digits import read_digits
from frepo.errors import FrepoError, SpecError
from frepo.networks.build import build_model
from frepo.networks.layers import normalize, pad_one_channel, relu_pool
from frepo.networks.losses import centered_one_hot
from frepo.networks.resnets import ResidualBlock
from frepo.networks.training import Network, Trainer
from frepo.spec import AlexNet, Conv, DcConv, KipConv, ResNet18, ResNet18Ap, Vgg11, json_schema, load_spec

NORMALIZATIONS = ["batch", "identity", "layer", "instance", "group", "one_group"]

SMALL = {
    "conv": Conv(width=4, depth=2),
    "dcconv": DcConv(width=4, depth=2),
    "kipconv": KipConv(width=4, depth=2),
    "alexnet": AlexNet(width=8),
    "vgg11": Vgg11(width=8),
    "resnet18": ResNet18(width=4),
    "resnet18_ap": ResNet18Ap(width=4),
}
SIDES = dict.fromkeys(SMALL, 16) | {"vgg11": 32}

every_architecture = pytest.mark.parametrize("name", SMALL)
every_normalization = pytest.mark.parametrize("normalization", NORMALIZATIONS)


def table(name, normalization):
    return SMALL[name].model_copy(update={"normalization": normalization})


@cache
def digits(side, count=40):
    """Return digits [n, side, side, 1], standardised, and their classes."""
    raw = read_digits()
    pixels = raw.train_images[:count].astype(np.float32)
    pixels = pixels.repeat(side // 8, axis=1).repeat(side // 8, axis=2)
    return jnp.asarray((pixels - pixels.mean()) / pixels.std()), raw.train_labels[:count]


@cache
def started(name, normalization):
    """Return a model of one-channel images and its first ((features, logits), variables) on digits."""
    side = SIDES[name]
    model = build_model(table(name, normalization), 10, (side, side, 1))
    return model, model.init_with_output(jax.random.key(0), digits(side)[0][:4], train=False)


def shapes(architecture, image_shape=(32, 32, 3), n=2):
    """Return the shapes and types of ((features, logits), variables), without computing anything."""
    model = build_model(architecture, 10, image_shape)
    return jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((n, *image_shape)), train=False),
    )


def parameters(architecture, image_shape=(32, 32, 3)):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(architecture, image_shape)[1]["params"]))


def conv(inputs, outputs, side=3, bias=1):
    return (inputs * side**2 + bias) * outputs


def test_parameters_of_conv():
    convolutions = conv(3, 128) + conv(128, 256) + conv(256, 512)
    head = (512 * 4 * 4 + 1) * 10
    assert parameters(Conv(normalization="identity")) == convolutions + head
    assert parameters(Conv(normalization="batch")) == convolutions + head + 2 * (128 + 256)
    layers = 2 * (16 * 16 * 128 + 8 * 8 * 256)
    assert parameters(Conv(normalization="layer")) == convolutions + head + layers


def test_parameters_of_dcconv_are_the_published_ones_but_for_the_biases():
    published = 320_010  # width 128, depth 3, instance normalisation, 32x32x3, 10 classes
    with_biases = conv(3, 128) + 2 * conv(128, 128) + 3 * 2 * 128 + (128 * 4 * 4 + 1) * 10
    assert with_biases == published
    assert parameters(DcConv(normalization="instance")) == published - 3 * 128
    assert parameters(DcConv(normalization="identity")) == published - 3 * 128 - 3 * 2 * 128


def test_parameters_of_kipconv():
    expected = conv(3, 128) + 3 * conv(128, 128) + (128 * 4 * 4 + 1) * 10
    assert parameters(KipConv(normalization="identity")) == expected
    assert parameters(KipConv(normalization="one_group")) == expected + 3 * 2 * 128


def test_parameters_of_alexnet():
    convolutions = conv(3, 128, 5) + conv(128, 192, 5) + conv(192, 256) + conv(256, 192) + conv(192, 192)
    assert parameters(AlexNet(normalization="identity")) == convolutions + (192 * 4 * 4 + 1) * 10
    norms = 2 * (128 + 192 + 256 + 192 + 192)
    assert parameters(AlexNet(normalization="batch")) == convolutions + norms + (192 * 4 * 4 + 1) * 10
    one_channel = conv(1, 128, 5) - conv(3, 128, 5)
    assert parameters(AlexNet(), (28, 28, 1)) == parameters(AlexNet()) + one_channel
    uniform = conv(3, 64, 5) + conv(64, 64, 5) + 3 * conv(64, 64) + (64 * 4 * 4 + 1) * 10
    assert parameters(AlexNet(width=64, normalization="identity")) == uniform


def test_parameters_of_vgg11_are_the_published_ones():
    assert parameters(Vgg11(normalization="batch")) == 9_231_114
    assert parameters(Vgg11(normalization="identity")) == 9_225_610
    widths = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    convolutions = sum(conv(i, o) for i, o in pairwise(widths))
    assert convolutions + 513 * 10 == 9_225_610
    uniform = conv(3, 128) + 7 * conv(128, 128) + 129 * 10
    assert parameters(Vgg11(width=128, normalization="identity")) == uniform


def test_parameters_of_resnet18_are_the_published_ones():
    def stage(inputs, outputs):
        return conv(inputs, outputs, bias=0) + 3 * conv(outputs, outputs, bias=0) + conv(inputs, outputs, 1, bias=0)

    convolutions = conv(3, 64, bias=0) + 4 * conv(64, 64, bias=0) + stage(64, 128) + stage(128, 256) + stage(256, 512)
    norms = 2 * (5 * 64 + 5 * 128 + 5 * 256 + 5 * 512)
    assert convolutions + norms + 513 * 10 == 11_173_962
    assert parameters(ResNet18(normalization="batch")) == 11_173_962
    assert parameters(ResNet18(normalization="instance")) == 11_173_962
    assert parameters(ResNet18(normalization="identity")) == 11_173_962 - norms
    assert parameters(ResNet18Ap(normalization="batch")) == 11_173_962 + (512 * 4 * 4 - 512) * 10
    ap_of_one_channel = 11_173_962 - 2 * 9 * 64 + (512 * 3 * 3 - 512) * 10
    assert parameters(ResNet18Ap(normalization="instance"), (28, 28, 1)) == ap_of_one_channel


FEATURES = {
    "conv": (8 * 8 * 8, 8 * 8 * 8, 8 * 16 * 16),
    "dcconv": (4 * 8 * 8, 4 * 8 * 8, 4 * 16 * 16),
    "kipconv": (4 * 7 * 7, 4 * 8 * 8, 4 * 16 * 16),
    "alexnet": (8 * 4 * 4, 8 * 4 * 4, 8 * 8 * 8),
    "vgg11": (8, 8, 8 * 2 * 2),
    "resnet18": (32, 32, 32),
    "resnet18_ap": (32 * 3 * 3, 32 * 4 * 4, 32 * 8 * 8),
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@every_architecture
def test_outputs_are_float32_of_the_expected_shapes(name, precision):
    architecture = SMALL[name].model_copy(update={"precision": precision})
    image_shapes = [(28, 28, 1), (32, 32, 3), (64, 64, 3)] if precision == "float32" else [(32, 32, 3)]
    expected = FEATURES[name] if precision == "float32" else FEATURES[name][1:2]
    for image_shape, dimensions in zip(image_shapes, expected, strict=True):
        (features, logits), variables = shapes(architecture, image_shape, n=5)
        assert (features.shape, logits.shape) == ((5, dimensions), (5, 10))
        assert {leaf.dtype for leaf in jax.tree.leaves((features, logits, variables))} == {jnp.dtype(jnp.float32)}


@every_architecture
def test_a_model_says_what_it_was_built_with(name):
    architecture = SMALL[name].model_copy(update={"normalization": "layer", "precision": "tf32"})
    model = build_model(architecture, 7, (32, 32, 3), batch_momentum=0.1)
    said = (model.num_classes, model.normalization, model.precision, model.batch_momentum)
    assert said == (7, "layer", "tf32", 0.1)


@every_architecture
def test_every_layer_follows_precision_and_momentum(name):
    architecture = SMALL[name].model_copy(update={"precision": "bfloat16"})
    seen = {nn.BatchNorm: set(), nn.Conv: set(), nn.Dense: set()}

    def record(call, arguments, options, context):
        layer = context.module
        if type(layer) in seen:
            seen[type(layer)].add((layer.dtype, layer.momentum if isinstance(layer, nn.BatchNorm) else layer.precision))
        return call(*arguments, **options)

    model = build_model(architecture, 10, (32, 32, 3), batch_momentum=0.3)
    with nn.intercept_methods(record):
        jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=True))
    products = (jnp.bfloat16, jax.lax.Precision.DEFAULT)
    assert seen == {nn.BatchNorm: {(jnp.bfloat16, 0.3)}, nn.Conv: {products}, nn.Dense: {products}}


@every_normalization
@every_architecture
def test_outputs_are_finite_and_differ_between_images(name, normalization):
    _, ((features, logits), _) = started(name, normalization)
    assert np.isfinite(features).all()
    assert np.isfinite(logits).all()
    assert np.asarray(features).std(axis=0).max() > 1e-4


DEEP = ("resnet18", "resnet18_ap", "vgg11")
COSTLY = ("layer", "group", "one_group")
"""Normalisations whose steps in a deep network compile for long: of these the shapes are enough, unless tests may take
minutes."""


@every_normalization
@every_architecture
def test_a_few_steps_on_digits_lower_the_loss(name, normalization, long):
    model, (_, variables) = started(name, normalization)
    images, classes = digits(SIDES[name])
    labels = centered_one_hot(classes, 10)
    trainer = Trainer(model, optax.sign_sgd(2e-3), images.shape[1:])  # a step of Adam's size that compiles in less time
    params, stats = variables["params"], variables.get("batch_stats", {})
    network = Network(params, stats, trainer.optimizer.init(params))
    if name in DEEP and normalization in COSTLY and not long:
        stepped, loss = jax.eval_shape(trainer.step, network, images, labels)
        assert jax.tree.map(jnp.shape, stepped) == jax.tree.map(jnp.shape, network)
        assert (loss.shape, loss.dtype) == ((), jnp.float32)
        return
    step = jax.jit(trainer.step)
    losses = []
    for _ in range(9):
        network, loss = step(network, images, labels)
        losses.append(float(loss))
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.95 * losses[0]
    assert [path for path, same in unchanged(params, network.params) if same and "kernel" in path] == []
    changed = [not same for _, same in unchanged(stats, network.batch_stats)]
    assert all(changed)
    assert bool(changed) == (normalization == "batch")


def unchanged(old, new):
    """Return the path of each leaf, and whether it has the same numbers in both trees."""
    pairs = zip(jax.tree.leaves_with_path(old), jax.tree.leaves(new), strict=True)
    return [(jax.tree_util.keystr(path), np.array_equal(before, after)) for (path, before), after in pairs]


@every_normalization
@every_architecture
def test_an_output_does_not_depend_on_the_rest_of_the_batch(name, normalization):
    model, (outputs, variables) = started(name, normalization)
    images = digits(SIDES[name])[0][jnp.array([3, 20, 21, 22])]
    for other, expected in zip(model.apply(variables, images, train=False), outputs, strict=True):
        np.testing.assert_allclose(other[0], expected[3], rtol=1e-4, atol=1e-5)
        assert np.any(other[1] != expected[1])


class Normalized(nn.Module):
    """A normalisation by itself."""

    kind: str

    @nn.compact
    def __call__(self, x):
        return normalize(self.kind, x, train=True, batch_momentum=0.9, dtype=jnp.float32)


@pytest.mark.parametrize(("kind", "groups"), [("one_group", 1), ("group", 4), ("instance", 8)])
def test_group_normalization_has_an_affine_map_for_each_channel(kind, groups):
    random = np.random.default_rng(0)
    x, scale, bias = (random.normal(1, 2, shape).astype(np.float32) for shape in [(3, 5, 4, 8), (8,), (8,)])
    grouped = x.reshape(3, 5, 4, groups, 8 // groups)
    mean, variance = (f(grouped, axis=(1, 2, 4), keepdims=True) for f in (np.mean, np.var))
    expected = ((grouped - mean) / np.sqrt(variance + 1e-6)).reshape(x.shape) * scale + bias
    found = Normalized(kind).apply({"params": {"GroupNorm_0": {"scale": scale, "bias": bias}}}, jnp.asarray(x))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def by_hand(x):
    """Return x [n, h, w, c] with each image and channel standardised."""
    return (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-6)


def pool(x, reduce=np.mean):
    n, height, width, channels = x.shape
    x = np.asarray(x)[:, : height // 2 * 2, : width // 2 * 2]
    return reduce(x.reshape(n, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


def convolve(x, layer, stride=1):
    """Convolve as PyTorch does: padding on each side of half a kernel."""
    side = layer["kernel"].shape[0] // 2
    y = jax.lax.conv_general_dilated(
        x,
        layer["kernel"],
        (stride, stride),
        ((side, side), (side, side)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )
    return np.asarray(y + layer.get("bias", 0))


def relu(x):
    return np.maximum(x, 0)


def test_a_dcconv_block_is_convolution_normalization_relu_and_pooling():
    _, ((features, _), variables) = started("dcconv", "instance")
    x = np.pad(digits(16)[0][:4], ((0, 0), (2, 2), (2, 2), (0, 0)))
    for name in ("Conv_0", "Conv_1"):
        assert set(variables["params"][name]) == {"kernel"}
        x = pool(relu(by_hand(convolve(x, variables["params"][name]))))
    np.testing.assert_allclose(features, x.reshape(4, -1), rtol=1e-3, atol=1e-4)


def test_a_kipconv_has_a_convolution_and_relu_before_its_blocks():
    _, ((features, _), variables) = started("kipconv", "instance")
    layers = variables["params"]
    x = relu(convolve(digits(16)[0][:4], layers["Conv_0"]))
    for name in ("Conv_1", "Conv_2"):
        x = pool(relu(convolve(by_hand(x), layers[name])))
    np.testing.assert_allclose(features, x.reshape(4, -1), rtol=1e-3, atol=1e-4)


def test_vgg11_pools_after_the_first_second_fourth_sixth_and_eighth_convolution():
    _, ((features, _), variables) = started("vgg11", "instance")
    x = np.pad(digits(32)[0][:4], ((0, 0), (2, 2), (2, 2), (0, 0)))
    for position in range(8):
        x = relu(by_hand(convolve(x, variables["params"][f"Conv_{position}"])))
        x = pool(x, np.max) if position in (0, 1, 3, 5, 7) else x
    np.testing.assert_allclose(features, x.reshape(4, -1), rtol=1e-3, atol=1e-3)


def test_alexnet_pools_after_the_first_second_and_fifth_convolution():
    _, ((features, _), variables) = started("alexnet", "instance")
    x = np.pad(digits(16)[0][:4], ((0, 0), (2, 2), (2, 2), (0, 0)))
    for position in range(5):
        x = relu(by_hand(convolve(x, variables["params"][f"Conv_{position}"])))
        x = pool(x, np.max) if position in (0, 1, 4) else x
    np.testing.assert_allclose(features, x.reshape(4, -1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("halving", "side"), [("stride", 8), ("stride", 7), ("average", 8), ("average", 7)])
def test_a_residual_block_halves_in_both_branches(halving, side):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, side, side, 3)), jnp.float32)
    block = ResidualBlock("instance", "float32", 0.9, 5, halving)
    variables = block.init(jax.random.key(0), x, train=False)
    kernels = {layer["kernel"].shape[:3]: layer for layer in variables["params"].values() if "kernel" in layer}
    assert all(set(layer) == {"kernel"} for layer in kernels.values())
    first, second, shortcut = kernels[3, 3, 3], kernels[3, 3, 5], kernels[1, 1, 3]
    if halving == "stride":
        y = relu(by_hand(convolve(x, first, stride=2)))
        z = by_hand(convolve(x, shortcut, stride=2))
    else:
        y = pool(relu(by_hand(convolve(x, first))))
        z = by_hand(pool(convolve(x, shortcut)))  # in the published order
    expected = relu(by_hand(convolve(y, second)) + z)
    np.testing.assert_allclose(block.apply(variables, x, train=False), expected, rtol=1e-3, atol=1e-4)


def test_a_residual_block_that_keeps_its_size_adds_its_input():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 6, 4)), jnp.float32)
    block = ResidualBlock("identity", "float32", 0.9, 4, None)
    variables = block.init(jax.random.key(0), x, train=False)
    first, second = variables["params"].values()
    expected = relu(convolve(relu(convolve(x, first)), second) + np.asarray(x))
    np.testing.assert_allclose(block.apply(variables, x, train=False), expected, rtol=1e-4, atol=1e-5)


def test_weights_of_dcconv_and_kipconv_start_as_published():
    _, (_, variables) = started("dcconv", "identity")
    kernel = np.asarray(variables["params"]["Dense_0"]["kernel"])
    assert kernel.var() == pytest.approx(2 / len(kernel), rel=0.1)
    model = build_model(KipConv(width=512, depth=1), 500, (4, 4, 3))
    variables = model.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False)
    for name in ("Conv_0", "Conv_1", "Dense_0"):
        assert np.std(variables["params"][name]["bias"]) == pytest.approx(0.1, rel=0.1)


def test_relu_is_pooled_as_the_table_says():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 4, 2)), jnp.float32)
    positive = relu(np.asarray(x))
    np.testing.assert_array_equal(relu_pool("none", x), positive)
    np.testing.assert_allclose(relu_pool("average", x), pool(positive), rtol=1e-6)
    np.testing.assert_array_equal(relu_pool("max", x), pool(positive, np.max))


def test_pooling_is_the_tables():
    for name in ("conv", "dcconv", "kipconv"):
        unpooled = SMALL[name].model_copy(update={"pooling": "none"})
        (features, _), _ = shapes(unpooled, (3, 3, 3))
        assert features.shape == (2, 9 * unpooled.widths[-1])
    for name, kinds in {"conv": ["average", "max"], "alexnet": ["max", "average"], "vgg11": ["max", "average"]}.items():
        assert SMALL[name].pooling == kinds[0]
        model, ((features, _), variables) = started(name, "identity")
        other = model.clone(pooling=kinds[1]).apply(variables, digits(SIDES[name])[0][:4], train=False)[0]
        assert (jnp.mean(other) > jnp.mean(features)) == (kinds[1] == "max")


def test_only_one_channel_images_are_padded():
    assert pad_one_channel(jnp.ones((1, 28, 28, 1))).shape == (1, 32, 32, 1)
    assert float(pad_one_channel(jnp.ones((1, 28, 28, 1))).sum()) == 28**2
    assert pad_one_channel(jnp.ones((1, 28, 28, 3))).shape == (1, 28, 28, 3)


LEAST = [
    (SMALL["dcconv"], (4, 4, 3), None),
    (SMALL["dcconv"], (3, 4, 3), "halves images of 3x4 pixels to nothing; at most 1 blocks fit"),
    (SMALL["dcconv"], (1, 1, 1), None),
    (SMALL["kipconv"], (4, 4, 1), None),
    (SMALL["kipconv"], (3, 9, 1), "halves images of 3x9 pixels to nothing; at most 1 blocks fit"),
    (SMALL["alexnet"], (8, 8, 3), None),
    (SMALL["alexnet"], (7, 8, 3), "type = 'alexnet' .* at least 8x8 pixels, not 7x8"),
    (SMALL["alexnet"], (4, 4, 1), None),
    (SMALL["vgg11"], (32, 32, 3), None),
    (SMALL["vgg11"], (31, 31, 3), "type = 'vgg11' .* at least 32x32 pixels, not 31x31"),
    (SMALL["vgg11"], (28, 28, 1), None),
    (SMALL["vgg11"], (27, 28, 1), "at least 28x28 pixels"),
    (SMALL["resnet18"], (1, 1, 3), None),
    (table("resnet18", "instance"), (9, 9, 3), None),
    (table("resnet18", "instance"), (8, 8, 3), "normalization = 'instance' needs images of at least 9x9"),
    (SMALL["resnet18_ap"], (8, 8, 1), None),
    (SMALL["resnet18_ap"], (7, 7, 1), "at least 8x8 pixels"),
    (table("resnet18_ap", "instance"), (15, 15, 1), "at least 16x16 pixels"),
]


@pytest.mark.parametrize(("architecture", "image_shape", "reason"), LEAST)
def test_images_that_leave_nothing_are_refused(architecture, image_shape, reason):
    if reason is None:
        (features, _), _ = shapes(architecture, image_shape)
        assert features.size > 0
        return
    with pytest.raises(FrepoError, match=reason):
        build_model(architecture, 10, image_shape)


@every_architecture
def test_group_normalization_needs_widths_that_4_divides(name):
    with pytest.raises(ValueError, match="needs a width that is a multiple of 4, not 6"):
        type(SMALL[name])(width=6, normalization="group")
    for normalization in NORMALIZATIONS:
        if normalization != "group":
            type(SMALL[name])(width=6, normalization=normalization)
        type(SMALL[name])(normalization=normalization)


HEAD = """\
name = "small"
dataset.name = "digits"
distill = { method = "frepo", ipc = 1 }

"""
CROSS = """\
[[application]]
type = "cross_architecture"
architectures = [
  { width = 8 },
"""


@pytest.fixture
def spec(tmp_path):
    def spec(text):
        path = tmp_path / "spec.toml"
        path.write_text(HEAD + text)
        return load_spec(path).spec

    return spec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Conv()),
        ("[architecture]\nwidth = 32", Conv(width=32)),
        ('[architecture]\ntype = "conv"\ndepth = 4\npooling = "max"', Conv(depth=4, pooling="max")),
        *[(f'architecture.type = "{name}"', type(architecture)()) for name, architecture in SMALL.items()],
        ('architecture = { type = "vgg11", width = 128 }', Vgg11(width=128)),
    ],
)
def test_a_table_without_a_type_is_a_conv(spec, text, expected):
    assert spec(text).architecture == expected


ALL_TYPES = "allowed: conv, dcconv, kipconv, alexnet, vgg11, resnet18, resnet18_ap"
WRONG = {
    "unknown type": (
        '[architecture]\nwidth = 3\ntype = "alexnt"',
        "spec.toml:7: architecture.type: 'alexnt' is not allowed, did you mean `alexnet`?; " + ALL_TYPES,
    ),
    "type that is no word": ("[architecture]\ntype = 3", "spec.toml:6: architecture.type: 3 is not allowed; allowed:"),
    "type that is an array": ("architecture.type = []", "spec.toml:5: architecture.type: an array is not allowed; "),
    "unknown field of a conv": (
        "[architecture]\nwidht = 3",
        "spec.toml:6: architecture.widht: unknown field, did you mean `width`?; allowed here: normalization, "
        "precision, type, width, depth, pooling",
    ),
    "field named as a type": (
        "[architecture]\nconv = 3",
        "spec.toml:6: architecture.conv: unknown field; ",
    ),
    "field of another type": (
        '[architecture]\ntype = "vgg11"\ndepth = 3',
        "spec.toml:7: architecture.depth: unknown field, did you mean `width`?; allowed here: normalization, "
        "precision, type, width, pooling",
    ),
    "wrong value": (
        '[architecture]\ntype = "resnet18"\nwidth = 0',
        "spec.toml:7: architecture.width: input should be greater than or equal to 1, got 0",
    ),
    "wrong literal": (
        '[architecture]\ntype = "vgg11"\npooling = "none"',
        "spec.toml:7: architecture.pooling: 'none' is not allowed; allowed: max, average",
    ),
    "rule over fields": (
        '[architecture]\ntype = "alexnet"\nwidth = 6\nnormalization = "group"',
        "spec.toml:5: architecture: normalization = 'group' needs a width that is a multiple of 4, not 6",
    ),
    "number for the table": ("architecture = 3", "spec.toml:5: architecture: input should be a valid dictionary"),
    "unknown type in a list": (
        CROSS + '  { type = "alexnt" },\n]',
        "spec.toml:7: application.0.architectures.1.type: 'alexnt' is not allowed, did you mean `alexnet`?; allowed",
    ),
    "unknown field in a list": (
        CROSS + '  { type = "resnet18", widht = 3 },\n]',
        "spec.toml:7: application.0.architectures.1.widht: unknown field, did you mean `width`?; allowed here: "
        "normalization, precision, width, type",
    ),
    "wrong value of a conv in a list": (
        CROSS + "  { width = 0 },\n]",
        "spec.toml:7: application.0.architectures.1.width: input should be greater than or equal to 1, got 0",
    ),
    "number in a list": (CROSS + "  3\n]", "spec.toml:7: application.0.architectures.1: input should be a valid dict"),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_an_error_names_the_field_and_what_its_type_allows(spec, tmp_path, text, expected):
    with pytest.raises(SpecError) as caught:
        spec(text)
    (line,) = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    assert line.startswith(expected)


@pytest.mark.parametrize(
    ("text", "at", "phrase"),
    [
        ("[architecture]\nwidth = 32", None, None),
        ('[architecture]\ntype = "alexnet"\npooling = "average"', None, None),
        ("[architecture]\nwidht = 32", ["architecture"], "'widht' was unexpected"),
        ('architecture.type = "alexnt"', ["architecture", "type"], "'alexnt' is not one of ['conv', 'dcconv',"),
        ('[architecture]\ntype = "resnet18"\ndepth = 3', ["architecture"], "'depth' was unexpected"),
        ("architecture = 3", ["architecture"], "3 is not of type 'object'"),
        (CROSS + "  { width = 0 },\n]", ["application", 0, "architectures", 1, "width"], "0 is less than the minimum"),
    ],
)
def test_the_schema_takes_a_table_without_a_type_for_a_conv(text, at, phrase):
    errors = list(Draft202012Validator(json_schema()).iter_errors(tomli.loads(HEAD + text)))
    assert [list(error.absolute_path) for error in errors] == ([] if at is None else [at])
    assert all(phrase in error.message for error in errors)
