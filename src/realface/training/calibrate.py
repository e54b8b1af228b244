"""From scores on the validation split to probabilities that mean what they say, and thresholds that hold a policy."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from ..card import Calibration, Policy, Thresholds
from ..errors import DataError


def fit_calibration(labels: np.ndarray, logits: np.ndarray) -> Calibration:
    """Platt scaling with Platt's softened targets, both classes weighing the same.

    Platt 1999, "Probabilistic Outputs for Support Vector Machines". The softened targets keep the probabilities
    of a detector that makes no mistake on these pictures short of 0 and 1.

    Args:
        labels: (N,) int, 0 real, 1 fake.
        logits: (N,) uncalibrated scores.

    Raises:
        DataError: one class is missing, or the scores rank no better than chance.
    """
    fakes, reals = int((labels == 1).sum()), int((labels == 0).sum())
    if not fakes or not reals:
        raise DataError("calibration needs real and fake pictures in the valid split")
    target = np.where(labels == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    weight = np.where(labels == 1, 0.5 / fakes, 0.5 / reals) * len(labels)
    logits = logits.astype(np.float64)
    middle, spread = float(logits.mean()), float(logits.std()) or 1.0  # the solver wants scores around 0, near 1
    model = LogisticRegression(C=1e6, max_iter=1000)
    model.fit(
        (np.concatenate([logits, logits])[:, None] - middle) / spread,
        np.repeat([1, 0], len(labels)),
        np.concatenate([weight * target, weight * (1 - target)]),
    )
    scale = float(model.coef_[0, 0]) / spread
    if scale <= 0:
        raise DataError("on the valid split this network ranks no better than chance; train it longer or on more data")
    return Calibration(scale, float(model.intercept_[0]) - scale * middle)


def set_thresholds(labels: np.ndarray, fake: np.ndarray, policy: Policy) -> Thresholds:
    """The thresholds nearest to 0.5 that hold the policy on these pictures.

    `fake_from` is never under 0.5 and `real_below` never over it: nothing is called fake that is more likely real.

    Args:
        labels: (N,) int, 0 real, 1 fake.
        fake: (N,) calibrated probability of fake.
        policy: largest shares of real faces called fake and of fake faces called real.
    """
    reals, fakes = np.sort(fake[labels == 0])[::-1], np.sort(fake[labels == 1])
    over = reals[int(policy.max_bpcer * len(reals))]  # the first real face that may not be called fake
    under = fakes[int(policy.max_apcer * len(fakes))]  # the first fake face that may not be called real
    fake_from = 0.5 if over < 0.5 else float(np.nextafter(over, 2))
    return Thresholds(real_below=min(0.5, float(under)), fake_from=fake_from)
