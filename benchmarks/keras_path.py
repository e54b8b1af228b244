"""The notebook's way of judging files, in Keras, as a process of its own: driven by `speed.py` over its pipes.

Reads one JSON line a round, {"files": […], "batch": n}, and answers with the seconds it took. The model is the
notebook's small network with untrained weights: speed does not depend on them. `save FILE` stores it, `load FILE` does
nothing but import TensorFlow and load it, for `install.py`.
"""

import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
from keras import layers


def notebook_small() -> keras.Model:
    model = keras.Sequential([keras.Input((128, 128, 3))])
    for channels, dropout in ((32, 0), (64, 0.1), (64, 0), (128, 0.2), (256, 0.2)):
        model.add(layers.Conv2D(channels, 3, padding="same", activation="relu"))
        if dropout:
            model.add(layers.Dropout(dropout))
        model.add(layers.BatchNormalization())
        model.add(layers.MaxPooling2D(2))
    for layer in (
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(1, activation="sigmoid"),
    ):
        model.add(layer)
    model.compile("adam", "binary_crossentropy")
    return model


def pixels(path: str) -> np.ndarray:
    return np.asarray(keras.utils.img_to_array(keras.utils.load_img(path, target_size=(128, 128))) / 255)


def main() -> None:
    if sys.argv[1:2] == ["load"]:
        keras.models.load_model(sys.argv[2])
        return
    model = notebook_small()
    if sys.argv[1:2] == ["save"]:
        model.save(sys.argv[2])
        return
    print(json.dumps({"parameters": model.count_params(), "version": keras.__version__}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        files, batch = job["files"], job["batch"]
        start = time.perf_counter()
        for i in range(0, len(files), batch):
            model.predict(np.stack([pixels(path) for path in files[i : i + batch]]), verbose=0)
        print(json.dumps(time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
