"""The texture of what the autoencoder leaves out, measured on cases."""

from collections.abc import Sequence

import torch
from torch import Tensor

from geoscope.models.scenarios.networks import ScoreAutoencoder
from geoscope.models.scenarios.texture import fit_variances
from geoscope.training.scenarios.autoencoder import known_scores
from geoscope.training.scenarios.cases import Case

MEASURED_CASES = 48


@torch.no_grad()
def residuals(encoder: ScoreAutoencoder, cases: Sequence[Case]) -> Tensor:
    """Scores less the autoencoder's mean, over its spread, (N, P, P): one step each of some of the largest cases."""
    side = max(min(case.rows, case.columns) for case in cases)
    largest = [case for case in cases if min(case.rows, case.columns) == side]
    device, found = encoder.centre.device, []
    for case in largest[:: -(-len(largest) // MEASURED_CASES)]:
        scores = known_scores(case)[:1].to(device)
        mean, spread = encoder.decode(encoder.encode(scores))
        pixels = scores.shape[1] * side // case.rows
        found.append(((scores - mean) / spread)[:, :pixels, :pixels].cpu())
    return torch.cat(found)


def texture_of(encoder: ScoreAutoencoder, cases: Sequence[Case]) -> Tensor:
    """The variances of the texture's scales."""
    return fit_variances(residuals(encoder, cases))
