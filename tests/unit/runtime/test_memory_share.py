"""How many samples the losses allow a job to do without."""

import numpy as np
import pytest

from smart_sifting.memory.share import affordable_share


@pytest.mark.parametrize(
    ("losses", "share"),
    [
        ([2.0, 2.0, 2.0, 2.0], 1.0),  # all alike: each teaches as much as any other
        ([4.0, 0.0, 0.0, 0.0], 0.25),  # one in four holds all that is left
        ([9.0, 1.0], 0.8),  # (3 + 1)^2 / 2 / 10
        ([1.0, np.nan, np.inf, -1.0], 1.0),  # the others say nothing
        ([0.0, 0.0], 1.0),
        ([], 1.0),
    ],
)
def test_the_share_is_what_gradients_of_the_same_precision_need(losses, share):
    assert affordable_share(np.array(losses, np.float32)) == pytest.approx(share)
