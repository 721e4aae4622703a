import pytest
import torch
from torch import nn

from lightning_failures.errors import DiscoveryError, InputError
from lightning_failures.observe import PENULTIMATE, Observation, find_layers, pool, pooling_of
from tests.test_probe import IMAGES, LABELS, Module, hooks_on, loss_only, watch


def names(module):
    return {name: child for name, child in module.named_modules() if name}


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.ModuleDict({f"layer{i}": nn.Sequential(nn.Identity(), nn.ReLU()) for i in (1, 2, 3)})


def test_a_glob_matches_the_last_parts_of_a_name_part_by_part():
    modules = names(Residual())
    assert list(find_layers(modules, ["layer*"])) == ["net.layer1", "net.layer2", "net.layer3"]
    assert list(find_layers(modules, ["layer[13].1"])) == ["net.layer1.1", "net.layer3.1"]
    assert find_layers(modules, ["layer*", "net.layer2"])["net.layer2"]
    assert list(find_layers(modules, ["penultimate", "layer3"])) == ["net.layer3", PENULTIMATE]


def test_feature_info_stands_for_the_stages_that_a_timm_model_lists():
    timm = pytest.importorskip("timm")
    module = nn.Module()
    module.encoder = timm.create_model("resnet10t")
    stages = ["act1", "layer1", "layer2", "layer3", "layer4"]
    assert list(find_layers(names(module), ["feature_info"])) == [f"encoder.{stage}" for stage in stages]


@pytest.mark.parametrize(
    ("model", "layer", "how"),
    [
        ("vit_tiny_patch16_224", "blocks.3", "class token"),
        ("deit_tiny_distilled_patch16_224", "blocks.3", "class token"),
        ("swin_tiny_patch4_window7_224", "layers.1", "channels last"),
        ("resnet10t", "layer2", "mean"),
    ],
)
def test_the_pooling_is_the_models_own(model, layer, how):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        network = timm.create_model(model)
    assert pooling_of({"": network, **names(network)}, layer) == how


def test_a_transformer_that_averages_its_tokens_is_pooled_so_though_it_has_a_class_token():
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        network = timm.create_model("vit_tiny_patch16_224", global_pool="avg")
    assert network.cls_token is not None
    assert pooling_of({"": network, **names(network)}, "blocks.3") == "mean"


def test_maps_tokens_and_views_become_rows():
    maps, tokens = torch.rand(4, 6, 2, 3), torch.rand(4, 5, 6)
    torch.testing.assert_close(pool(maps, 4, "a"), maps.mean((2, 3)))
    torch.testing.assert_close(pool(maps.movedim(1, 3), 4, "a", "channels last"), maps.mean((2, 3)))
    torch.testing.assert_close(pool(tokens, 4, "a"), tokens.mean(1))
    torch.testing.assert_close(pool(tokens, 4, "a", "class token"), tokens[:, 0])
    torch.testing.assert_close(pool(maps, 2, "a"), maps.mean((2, 3)))
    with pytest.raises(InputError, match="the layer 'a' does not give one row per image; given"):
        pool(maps, 3, "a")


def test_a_layer_that_is_called_on_two_views_gives_the_rows_of_both():
    module = Module()
    other = IMAGES.flip(3)
    _, seen = watch(module, lambda m, b: (m.net(b[0]) - m.net(other)).sum(), layers=["net.body"])
    expected = torch.cat([module.net.body(IMAGES), module.net.body(other)]).detach()
    torch.testing.assert_close(seen.features["net.body"], expected)
    assert seen.logits is None


def test_a_head_on_two_views_is_still_an_error_where_its_input_is_asked_for():
    with pytest.raises(DiscoveryError, match=r"the layer 'net.head' was called 2 times in one step"):
        watch(Module(), lambda m, b: (m.net(b[0]) - m.net(b[0].flip(3))).sum(), layers=["body", "penultimate"])


def test_the_penultimate_layer_can_be_watched_beside_others():
    module = Module()
    probe, seen = watch(module, loss_only, layers=["net.body.0", "penultimate"])
    assert list(seen.features) == ["net.body.0", PENULTIMATE]
    assert probe.head == "net.head"


def test_what_a_glob_finds_is_left_out_where_the_step_does_not_call_it():
    module = Module()
    module.net.body2 = nn.Linear(6, 6)
    _, seen = watch(module, loss_only, layers="body*")
    assert list(seen.features) == ["net.body"]
    with pytest.raises(DiscoveryError, match=r"the layer 'net.body2' was called 0 times in one step"):
        watch(module, loss_only, layers="net.body2")


def test_only_named_layers_and_the_head_carry_a_hook_after_the_first_batch():
    from lightning_failures import Probe

    module, probe, user = Module(), Probe(layers="body"), object()
    probe.attach(module, user)
    probe.observe(module, loss_only(module, (IMAGES, LABELS)), (IMAGES, LABELS))
    assert hooks_on(module) == 2
    probe.detach(user)
    assert hooks_on(module) == 0


def test_selected_images_keep_the_rows_of_all_their_views():
    rows = torch.arange(6.0)[:, None]
    seen = Observation(None, inputs=torch.rand(3, 1), features={"a": rows}).select(torch.tensor([True, False, True]))
    assert seen.features["a"].flatten().tolist() == [0, 2, 3, 5]
