import torch

from lightning_failures.observe import Observation, draw_positions, pixel_rows, rows_of


def test_positions_follow_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert torch.equal(draw_positions(3, 4, seed=1), draw_positions(3, 4, seed=1))
    assert not torch.equal(draw_positions(3, 4, seed=1), draw_positions(3, 4, seed=2))
    assert torch.equal(before, torch.get_rng_state())


def test_rows_are_those_of_a_loop_over_images_and_places():
    maps, places = torch.rand(3, 5, 7, 4), draw_positions(3, 6, seed=0)
    literal = [maps[i, :, int(7 * h), int(4 * w)] for i in range(3) for h, w in places[i]]
    assert torch.equal(pixel_rows(maps, places), torch.stack(literal))
    assert torch.equal(pixel_rows(maps[:, 0], places), torch.stack(literal)[:, 0])


def test_maps_of_two_sizes_are_read_at_the_same_places():
    small = torch.arange(16).reshape(1, 1, 4, 4)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    places = draw_positions(1, 50, seed=3)
    assert torch.equal(pixel_rows(small, places), pixel_rows(large, places))


def test_labels_logits_and_features_of_segmentation_stay_together():
    labels = torch.randint(0, 4, (3, 6, 6))
    maps = torch.nn.functional.one_hot(labels, 4).movedim(3, 1).float()
    seen = rows_of(Observation(None, maps, labels, maps, {"head": maps, "pooled": torch.rand(3, 2)}), pixels=8)
    assert seen.targets.shape == (24,)
    assert torch.equal(seen.logits.argmax(1), seen.targets)
    assert torch.equal(seen.features["head"], seen.logits)
    assert seen.features["pooled"].shape == (3, 2)


def test_maps_of_logits_without_a_label_a_pixel_are_left_out():
    seen = rows_of(Observation(None, torch.rand(3, 1, 4, 4), torch.arange(3), torch.rand(3, 2, 4, 4)))
    assert seen.logits is None
    assert torch.equal(seen.targets, torch.arange(3))
