"""Made-up speech: repeatable, of every class, and told apart by when and how its tone glides."""

import torch

from whet.testing.speech import CLASSES, SpeechNet, spectra


def test_spectra_are_repeatable_and_of_every_class() -> None:
    (x, y), (again, _), (other, _) = spectra(64, 0), spectra(64, 0), spectra(64, 1)
    assert x.shape == (64, 12, 24) and set(y.tolist()) == set(range(CLASSES))
    assert torch.equal(x, again) and not torch.equal(x, other)


def test_without_noise_classes_differ_more_between_than_within() -> None:
    x, y = spectra(400, 0, noise=0.0)
    centres = torch.stack([x[y == c].mean(0) for c in range(CLASSES)]).flatten(1)
    nearest = torch.cdist(x.flatten(1), centres).argmin(1)
    assert float((nearest == y).float().mean()) > 2 / CLASSES


def test_the_network_scores_each_class() -> None:
    assert SpeechNet(12, 8, 16).eval()(torch.randn(3, 12, 24)).shape == (3, CLASSES)
