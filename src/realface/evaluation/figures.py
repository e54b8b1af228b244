"""Plots of a training run and of a test."""

import csv
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay


def curves_plot(metrics: Path, out: Path) -> None:
    """Loss, AUC and accuracy by epoch, from a run's metrics.csv, as a PNG."""
    with metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row["epoch"]) + 1 for row in rows]
    panels = {
        "loss": ("train_loss", "valid_loss"),
        "validation AUC and accuracy": ("valid_auc", "valid_accuracy"),
        "learning rate": ("learning_rate",),
    }
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    for axis, (title, columns) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for column in columns:
            axis.plot(epochs, [float(row[column]) for row in rows], label=column.replace("_", " "), marker=".")
        axis.set(title=title, xlabel="epoch")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(out, dpi=120)


def confusion_plot(labels: np.ndarray, fake: np.ndarray, out: Path) -> None:
    """The confusion matrix at probability 0.5, as a PNG."""
    figure = Figure(figsize=(4, 3.6), layout="constrained")
    axis = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(
        labels, fake >= 0.5, labels=[0, 1], display_labels=["real", "fake"], cmap="Blues", ax=axis, colorbar=False
    )
    axis.set(xlabel="called (at probability 0.5)", ylabel="is")
    figure.savefig(out, dpi=120)
