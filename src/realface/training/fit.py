"""One training run: from a configuration and samples to a network with its best weights."""

import csv
import logging
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks as of_lightning
from pytorch_lightning.callbacks import EarlyStopping
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader
from torchmetrics.utilities.distributed import gather_all_tensors

from ..errors import ConfigError, DataError
from ..memory import keep_freed_memory
from ..networks.base import Network
from ..progress import bar
from .checkpoint import SafeCheckpoints, load_weights
from .config import Config
from .features import has_bfloat16
from .processes import place
from .sources import Source
from .twins import Twins

COLUMNS = ("epoch", "train_loss", "valid_loss", "valid_auc", "valid_accuracy", "learning_rate", "seconds")


class Task(pl.LightningModule):
    """Binary cross-entropy on a network's logits, for pictures or for cached features of a frozen trunk.

    Of N processes each takes every Nth picture of every batch. Gradients, losses and figures are those of all of them;
    only batch normalisation sees a process's own share.
    """

    def __init__(self, network: Network, config: Config, train: Source | Twins, valid: Source | Twins) -> None:
        super().__init__()
        self.network, self.config, self.train_source, self.valid_source = network, config, train, valid
        network.to(memory_format=torch.channels_last)  # pyrefly: ignore[no-matching-overload]
        if config.freeze:
            self.strict_loading = False
            for name, parameter in network.named_parameters():
                parameter.requires_grad_(name.startswith("head."))
        self._valid: list[Tensor] = []  # (N, 2) logits and rows
        self._losses: list[Tensor] = []

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.config.freeze:  # the trunk is not this run's to keep
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: value for name, value in state.items() if ".head." in name}

    def logits(self, inputs: Tensor) -> Tensor:
        if self.config.freeze:
            return self.network.classify(inputs.float())
        pixels = (inputs.float() / 255).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.network(pixels)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor | None:  # pyrefly: ignore[bad-override]
        inputs, rows = batch
        mine = len(rows) if len(rows) > 1 else 0  # BatchNorm needs two
        every = self.trainer.strategy.reduce(torch.tensor(float(mine), device=self.device), reduce_op="sum")
        processes = self.trainer.world_size
        if mine:  # weighed so that the mean over the processes is that over the pictures
            loss = binary_cross_entropy_with_logits(self.logits(inputs), self.train_source.labels_of(rows))
            loss = loss * (mine * processes / every)
        elif processes == 1:
            return None
        else:  # the others wait for its gradients
            loss = 0.0 * torch.stack([p.sum() for p in self.parameters() if p.requires_grad]).sum()
        if mine or every:
            self._losses.append(loss.detach())
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:  # pyrefly: ignore[bad-override]
        inputs, rows = batch
        if len(rows):
            self._valid.append(torch.stack([self.logits(inputs).cpu().double(), rows.cpu().double()], 1))

    def on_validation_epoch_end(self) -> None:
        judged = torch.cat([torch.empty(0, 2, dtype=torch.float64), *self._valid])
        if self.trainer.world_size > 1:
            judged = torch.cat(gather_all_tensors(judged.to(self.device))).cpu()
        if not len(judged):
            raise DataError("none of the validation pictures could be read")
        logits, rows = judged[:, 0].float(), judged[:, 1].long()
        if not logits.isfinite().all():
            raise ConfigError("training diverged; set a lower learning_rate")
        labels = self.valid_source.labels_of(rows)
        if labels.min() == labels.max():
            raise DataError("only one class of the validation pictures could be read")
        weight = self.valid_source.weights[rows]
        loss = binary_cross_entropy_with_logits(logits, labels, weight)
        self.log("valid_loss", loss)
        self.log("valid_auc", float(roc_auc_score(labels, logits)))
        self.log("valid_accuracy", ((logits > 0) == (labels > 0.5)).float().mean())
        if not self._losses:
            raise DataError("too few of the training pictures could be read to learn from")
        self.log("train_loss", self.trainer.strategy.reduce(torch.stack(self._losses).mean(), reduce_op="mean"))
        self._valid, self._losses = [], []

    def configure_optimizers(self) -> Any:
        config = self.config
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)
        if config.schedule == "plateau":
            scheduler: Any = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.2, patience=2)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "valid_loss"}}
        if config.schedule == "cosine":
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs)
            return {"optimizer": optimizer, "lr_scheduler": scheduler}
        return optimizer

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        if metric is None:  # else `on_train_epoch_end` has done it
            super().lr_scheduler_step(scheduler, metric)

    def on_train_epoch_end(self) -> None:
        # Lightning does this once the checkpoint is written, and a run that goes on from there would lack the step.
        if self.config.schedule == "plateau":
            scheduler: Any = self.lr_schedulers()
            scheduler.step(self.trainer.callback_metrics["valid_loss"])

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # So that a resumed run drops out the same as an undisturbed one, and each process its own.
        torch.manual_seed(self.config.seed * 1_000_003 + self.global_step + self.global_rank * 1_000_000_007)

    def train_dataloader(self) -> "DataLoader[Any]":
        return self._share(self.train_source.drawn(self.config, self.current_epoch))

    def val_dataloader(self) -> "DataLoader[Any]":
        return self._share(self.valid_source.in_order(self.config))

    def _share(self, whole: "DataLoader[Any]") -> "DataLoader[Any]":
        """This process's pictures of every batch; none, where a last one has fewer than there are processes."""
        mine = [list(batch)[self.global_rank :: self.trainer.world_size] for batch in whole.batch_sampler or ()]
        return DataLoader(whole.dataset, batch_sampler=mine, num_workers=whole.num_workers, collate_fn=whole.collate_fn)


class ModelCheckpoint(of_lightning.ModelCheckpoint):  # of the same name, under which checkpoints have its state
    """Finds its one file where the run folder is now, where Lightning would forget how good the best epoch was."""

    FILE_EXTENSION = ".safetensors"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        path = self.format_checkpoint_name({})
        here = {"dirpath": self.dirpath, "best_model_path": path, "kth_best_model_path": path}
        scores = {path: state_dict["best_model_score"]} if state_dict["best_k_models"] else {}
        super().load_state_dict(state_dict | here | {"best_k_models": scores})


class _Journal(pl.Callback):
    """A row of metrics.csv for every epoch, and the progress bar of the whole run."""

    def __init__(self, path: Path) -> None:
        self.path, self.started = path, 0.0
        self.progress = bar()
        self.task = self.progress.add_task("training")

    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        done = trainer.current_epoch
        rows = list(csv.reader(self.path.read_text().splitlines()))[1 : done + 1] if done and self.path.exists() else []
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
        batches = int(trainer.num_training_batches)
        self.progress.update(self.task, total=(trainer.max_epochs or 1) * batches, completed=done * batches)
        self.progress.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self.progress.advance(self.task)

    def on_validation_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        seen = trainer.callback_metrics
        row = [trainer.current_epoch, *(round(float(seen[name]), 6) for name in COLUMNS[1:5])]
        row += [trainer.optimizers[0].param_groups[0]["lr"], round(time.monotonic() - self.started, 1)]
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow(row)
        text = f"epoch {row[0] + 1}: validation loss {row[2]:.4f}, AUC {row[3]:.4f}"
        self.progress.update(self.task, description=text)
        self.progress.console.print(text)


def fit(task: Task, run: Path, *, resume: bool = False, quiet: bool = False) -> None:
    """Train until the epochs are over or validation stops improving; then load the best weights.

    The best are those with the lowest validation loss, or without patience the last: the loss rises as a network grows
    too sure of itself, which calibration mends afterwards, and picks what ranks worse (docs/experiments.md). Where
    several processes train, the first of them writes the run folder and gets the weights.

    Args:
        task: what to train, changed in place.
        run: the run folder; gets `metrics.csv`, `checkpoints/best.safetensors` and, with patience, `last.safetensors`.
        resume: go on after the last whole epoch, if there is one; a run that had come to its end is not trained
            further.
        quiet: show no progress.

    Raises:
        KeyboardInterrupt: training was interrupted; the checkpoints hold what it had reached.
        DataError: the pictures of a whole class cannot be read.
        ConfigError: training diverged.
    """
    keep_freed_memory()
    config, folder = task.config, run / "checkpoints"
    gains = torch.cuda.is_available() or task.network.gains_by_bfloat16
    in_bfloat16 = has_bfloat16() and gains and not config.freeze
    journal = _Journal(run / "metrics.csv")
    journal.progress.console.quiet = quiet
    rank, processes, nodes = place()
    callbacks: list[pl.Callback] = [] if rank else [journal]
    if config.patience:  # before the last, which then knows how good the best is
        best = ModelCheckpoint(folder, "best", monitor="valid_loss", enable_version_counter=False)
        callbacks += [EarlyStopping("valid_loss", patience=config.patience), best]
    last = folder / ("last.safetensors" if config.patience else "best.safetensors")
    callbacks.append(ModelCheckpoint(folder, last.stem, enable_version_counter=False))
    for chatty in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    trainer = pl.Trainer(
        accelerator="auto" if processes * nodes == 1 or torch.cuda.is_available() else "cpu",
        devices=processes,
        num_nodes=nodes,
        use_distributed_sampler=False,  # every process takes its share itself
        precision="bf16-mixed" if in_bfloat16 else "32-true",
        max_epochs=config.epochs,
        callbacks=callbacks,
        plugins=[SafeCheckpoints()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
    )
    finished = folder / "finished"
    if not (resume and finished.exists()):
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's advice on workers and folders
            task.train()  # Lightning leaves it as it is, and whoever computed features has set it to eval
            try:
                trainer.fit(task, ckpt_path=last if resume and last.exists() else None)
            except (KeyboardInterrupt, SystemExit):  # of the first, Lightning makes the second, deaf to more of them
                signal.signal(signal.SIGINT, on_ctrl_c)
                raise KeyboardInterrupt from None
            finally:
                journal.progress.stop()
    if not rank:
        finished.touch()
        load_weights(task.network, run)
        task.network.cpu().eval()
