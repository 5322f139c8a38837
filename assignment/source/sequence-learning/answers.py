"""Wrong and right answers: what each loses, whatever numbers are drawn.

A change is ``(answer cell, old, new)``, or ``(answer cell, function, body)`` with the new body of a
whole function.
"""

# Wrong answer → changes, points lost by check cell.
WRONG = {
    "trusts float() alone": (
        [
            ("answer_read_stroke", "if not np.isfinite(numbers).all():", "if False:"),
            ("answer_read_stroke", "if len(numbers) != 2 * int(words[0]):", "if False:"),
        ],
        {"check_read_stroke": 4},
    ),
    "the first word is not looked at": (
        [("answer_read_stroke", "not words[0].isdigit() or int(words[0]) == 0", "False")],
        # "0" before nothing; and the file is not named where int() complains
        {"check_read_stroke": 2},
    ),
    "an error without the file's name": (
        [("answer_read_stroke", 'f"{file}: found {len', 'f"found {len')],
        {"check_read_stroke": 1},
    ),
    "splits at spaces only": (
        [("answer_read_stroke", "text.split()", 'text.split(" ")')],
        {"check_read_stroke": 1},
    ),
    "rows counted from 0": (
        [("answer_read_segment", "enumerate(lines, 1)", "enumerate(lines)")],
        {"check_read_segment": 1},
    ),
    "any width of rows": (
        [("answer_read_segment", "if len(words) != 39:", "if len(words) > 40:")],
        {"check_read_segment": 3},
    ),
    "both axes scaled by the larger": (
        [("answer_scale", "span = x.max(axis=0) - low", "span = (x.max(axis=0) - low).max()")],
        {"check_scale": 2},
    ),
    "scales in place": (
        [
            (
                "answer_scale",
                "scale_stroke",
                "x -= x.min(axis=0); x /= np.where(np.ptp(x, axis=0) == 0, 1, np.ptp(x, axis=0)); return x",
            )
        ],
        {"check_scale": 2},
    ),
    "means file by file": (
        [
            (
                "answer_scale",
                "fit_standard",
                "return tuple(np.mean([f(x, axis=0) for x in sequences], axis=0) for f in (np.mean, np.std))",
            )
        ],
        {"check_scale": 2},
    ),
    "divides by zero": (
        [("answer_scale", "np.where(span == 0, 1, span)", "span")],
        {"check_scale": 1},
    ),
    "a mask of any feature": (
        [("answer_pad", "(batch != value).any(axis=-1)", "(batch != value).all(axis=-1)")],
        {"check_pad": 2},
    ),
    "a mask of the first feature": (
        [("answer_pad", "(batch != value).any(axis=-1)", "batch[..., 0] != value")],
        {"check_pad": 2},
    ),
    "pads in front": (
        [("answer_pad", "batch[i, : len(x)] = x", "batch[i, length - len(x) :] = x")],
        {"check_pad": 2},
    ),
    "cuts what is too long": (
        [
            ("answer_pad", "if longest > length:", "if False:"),
            ("answer_pad", "batch[i, : len(x)] = x", "batch[i, : len(x)] = x[:length]"),
        ],
        {"check_pad": 1},
    ),
    "masked steps are reset": (
        [("answer_rnn", "np.tanh(a), h)", "np.tanh(a), 0)")],
        {"check_rnn": 2},
    ),
    "no tanh in the step": (
        [("answer_rnn", "return np.tanh(x @ W_x + h @ W_h + b)", "return x @ W_x + h @ W_h + b")],
        {"check_rnn": 3},
    ),
    "no derivative of the tanh": (
        [("answer_backward", "delta = d_h * (1 - h * h)", "delta = d_h")],
        {"check_backward": 5},
    ),
    "the state after in place of the state before": (
        [("answer_backward", "d_W_h += before.T @ delta", "d_W_h += h.T @ delta")],
        {"check_backward": 2},
    ),
    "one step of the gradient": (
        [("answer_backward", "reversed(range(x.shape[1]))", "[x.shape[1] - 1]")],
        {"check_backward": 5},
    ),
    "forward differences": (
        [
            ("answer_backward", "array[index] = before - step", "array[index] = before"),
            ("answer_backward", "/ (2 * step)", "/ step"),
        ],
        {"check_backward": 2},
    ),
    "adds the step back": (
        [
            ("answer_backward", "array[index] = before - step", "array[index] -= 2 * step"),
            (
                "answer_backward",
                "        array[index] = before\n",
                "        array[index] += step\n",
            ),
        ],
        {"check_backward": 1},
    ),
    "gates in PyTorch's order": (
        [("answer_lstm", "a_i, a_f, a_c, a_o =", "a_i, a_f, a_o, a_c =")],
        {"check_lstm": 5},
    ),
    "a sigmoid that overflows": (
        [("answer_lstm", "return 0.5 + 0.5 * np.tanh(a / 2)", "return 1 / (1 + np.exp(-a))")],
        {"check_lstm": 1},
    ),
    "the cell state from before in h": (
        [
            ("answer_lstm", "    c = sigmoid", "    old, c = c, sigmoid"),
            ("answer_lstm", "* np.tanh(c), c", "* np.tanh(old), c"),
        ],
        {"check_lstm": 3},
    ),
    "an LSTM counted without biases": (
        [
            (
                "answer_count",
                '(4 if cell == "LSTM" else 1) * n * (m + n + 1)',
                '4 * n * (m + n) if cell == "LSTM" else n * (m + n + 1)',
            )
        ],
        {"check_count": 1},
    ),
    "a wrong number by hand": (
        [("answer_count", "first_of_rnn = 64 * (2 + 64 + 1)", "first_of_rnn = 64 * (2 + 64)")],
        {"check_count": 2},
    ),
    "stops where the error rises": (
        [("answer_stopped", "abs(losses[k] - losses[k - 1])", "losses[k - 1] - losses[k]")],
        {"check_stopped": 1},
    ),
    "epochs counted from 0": (
        [("answer_stopped", "return k + 1", "return k")],
        {"check_stopped": 3},
    ),
    "a split that is not stratified": (
        [
            (
                "answer_choose",
                "split",
                "order = np.random.default_rng(seed).permutation(len(y)); n = round(share * len(y)); return order[n:], order[:n]",
            )
        ],
        {"check_choose": 1},
    ),
    "a split that knows no seed": (
        [("answer_choose", "np.random.default_rng(seed)", "np.random.default_rng(0)")],
        {"check_choose": 1},
    ),
    "the best seed in place of the mean": (
        [("answer_choose", "sum(accuracies) / len(accuracies)", "max(accuracies)")],
        {"check_choose": 2},
    ),
    "chosen on the test files": (
        [("answer_choose", 'run["validation_accuracy"]', 'run["test_accuracy"]')],
        {"check_choose": 4},
    ),
    "ties to whatever comes first": (
        [("answer_choose", '-groups[units][0]["parameters"]', "0")],
        {"check_choose": 1},
    ),
    "rows and columns exchanged": (
        [
            (
                "answer_confusion",
                "(np.asarray(y), np.asarray(predicted))",
                "(np.asarray(predicted), np.asarray(y))",
            )
        ],
        {"check_confusion": 3},
    ),
    "plain accuracy": (
        [
            (
                "answer_confusion",
                "balanced_accuracy",
                "return float(np.trace(matrix) / np.sum(matrix))",
            )
        ],
        {"check_confusion": 3},
    ),
    "a class without files counts as 0": (
        [
            (
                "answer_confusion",
                "(np.diag(matrix)[files > 0] / files[files > 0]).mean()",
                "(np.diag(matrix) / np.maximum(files, 1)).mean()",
            )
        ],
        {"check_confusion": 1},
    ),
    "hard-coded: the LSTM step": (
        [
            (
                "answer_lstm",
                "lstm_step",
                "return np.array([[0.0546201]]), np.array([[0.4704070]])",
            )
        ],
        {"check_lstm": 5},
    ),
    "hard-coded: the backward pass": (
        [
            (
                "answer_backward",
                "rnn_backward",
                'return {"W_x": np.array([[0.3464706]]), "W_h": np.array([[0.1338028]]), "b": np.array([0.4033982])}',
            )
        ],
        {"check_backward": 5},
    ),
    "hard-coded: the counts": (
        [("answer_count", "count_parameters", "return 6 if cell == 'SimpleRNN' else 57")],
        {"check_count": 2},
    ),
    "hard-coded: the stopping rule": (
        [
            (
                "answer_stopped",
                "stopped_after",
                "return 3 if threshold == 0.2 else 4 if len(losses) == 5 else None",
            )
        ],
        {"check_stopped": 4},
    ),
    "hard-coded: balanced accuracy": (
        [("answer_confusion", "balanced_accuracy", "return 0.5555556")],
        {"check_confusion": 3},
    ),
    # --- Found by an attacker
    "the median over seeds": (
        [
            (
                "answer_choose",
                "sum(accuracies) / len(accuracies)",
                "sorted(accuracies)[len(accuracies) // 2]",
            )
        ],
        {"check_choose": 2},
    ),
    "the worst seed": (
        [("answer_choose", "sum(accuracies) / len(accuracies)", "min(accuracies)")],
        {"check_choose": 2},
    ),
    "the last seed": (
        [("answer_choose", "sum(accuracies) / len(accuracies)", "accuracies[-1]")],
        {"check_choose": 2},
    ),
    "the first seed": (
        [("answer_choose", "sum(accuracies) / len(accuracies)", "accuracies[0]")],
        {"check_choose": 2},
    ),
    "the seed of the largest number": (
        [
            (
                "answer_choose",
                "sum(accuracies) / len(accuracies)",
                "max((run['seed'], run['validation_accuracy']) for run in groups[units])[1]",
            )
        ],
        {"check_choose": 2},
    ),
    "the sum over seeds": (
        [("answer_choose", "sum(accuracies) / len(accuracies)", "sum(accuracies)")],
        {"check_choose": 2},
    ),
    "ties to the smaller first layer": (
        [("answer_choose", '-groups[units][0]["parameters"]', "-units[0]")],
        {"check_choose": 1},
    ),
    "ties to the better test accuracy": (
        [("answer_choose", '-groups[units][0]["parameters"]', 'groups[units][0]["test_accuracy"]')],
        {"check_choose": 1},
    ),
    "units as a text": (
        [
            (
                "answer_choose",
                "return list(max(groups, key=rank))",
                "return str(list(max(groups, key=rank)))",
            )
        ],
        {"check_choose": 4},
    ),
    "units in two dimensions": (
        [
            (
                "answer_choose",
                "return list(max(groups, key=rank))",
                "return [list(max(groups, key=rank))]",
            )
        ],
        {"check_choose": 4},
    ),
    "a gradient cut at 20 steps": (
        [
            (
                "answer_backward",
                "reversed(range(x.shape[1]))",
                "reversed(range(max(0, x.shape[1] - 20), x.shape[1]))",
            )
        ],
        {"check_backward": 5},
    ),
    "a gradient cut at 80 steps": (
        [
            (
                "answer_backward",
                "reversed(range(x.shape[1]))",
                "reversed(range(max(0, x.shape[1] - 80), x.shape[1]))",
            )
        ],
        {"check_backward": 5},
    ),
    "W_h is not transposed": (
        [("answer_backward", "d_h = delta @ W_h.T", "d_h = delta @ W_h")],
        {"check_backward": 5},
    ),
    "a gradient fitted to the visible cubic": (
        [("answer_backward", "numeric_gradient", "loss(); return 3 * array**2 + step**2")],
        {"check_backward": 3},
    ),
    "an error relative to the first array": (
        [
            (
                "answer_backward",
                "largest = max(np.abs(a).max(), np.abs(b).max())",
                "largest = np.abs(a).max()",
            )
        ],
        {"check_backward": 2},
    ),
    "a mask with a tolerance": (
        [
            (
                "answer_pad",
                "(batch != value).any(axis=-1)",
                "~np.isclose(batch, value, atol=0.1).all(axis=-1)",
            )
        ],
        {"check_pad": 2},
    ),
    "padding recognised with a tolerance": (
        [
            (
                "answer_pad",
                "(x == value).all(axis=1).any()",
                "np.isclose(x, value, atol=0.1).all(axis=1).any()",
            )
        ],
        {"check_pad": 2},
    ),
    "stopping epochs as an array": (
        [
            (
                "answer_stopped",
                "stopped_after",
                "return np.where(np.abs(np.diff(losses)) < threshold)[0] + 2",
            )
        ],
        {"check_stopped": 4},
    ),
    "patience of one epoch": (
        [
            (
                "answer_stopped",
                "stopped_after",
                "return next((k + 1 for k in range(1, len(losses)) if losses[k] > min(losses[:k]) - threshold), None)",
            )
        ],
        {"check_stopped": 1},
    ),
    "infinite counts": (
        [("answer_count", "count_parameters", "return 10**400")],
        {"check_count": 2},
    ),
    # --- With Keras
    "no masking": (
        [("answer_model", ", keras.layers.Masking(mask_value)]", "]")],
        {"check_model": 2},
    ),
    "masking of zeros": (
        [("answer_model", "keras.layers.Masking(mask_value)", "keras.layers.Masking(0.0)")],
        {"check_model": 2},
    ),
    "masking of the strokes' value": (
        [("answer_model", "keras.layers.Masking(mask_value)", "keras.layers.Masking(2.0)")],
        {"check_model": 2},
    ),
    "always an LSTM": (
        [("answer_model", "getattr(keras.layers, cell)", "keras.layers.LSTM")],
        {"check_model": 2},
    ),
    "no dropout": (
        [("answer_model", "keras.layers.Dropout(dropout)", "keras.layers.Dropout(0.0)")],
        {"check_model": 1},
    ),
    "another loss": (
        [("answer_model", 'loss="sparse_categorical_crossentropy"', 'loss="mean_squared_error"')],
        {"check_model": 2},
    ),
    "no stopping rule": (
        [("answer_train", "if len(losses) > 1 and", "if False and")],
        {"check_train": 1},
    ),
    "all epochs, and the list is cut": (
        [
            ("answer_train", "            break\n", "            stop = stop or len(losses)\n"),
            ("answer_train", "    losses = []\n", "    losses, stop = [], None\n"),
            ("answer_train", "return losses", "return losses[:stop]"),
        ],
        {"check_train": 1},
    ),
    "EarlyStopping": (
        [
            (
                "answer_train",
                "train_model",
                'return model.fit(x, y, batch_size=32, epochs=max_epochs, verbose=0, callbacks=[keras.callbacks.EarlyStopping("loss", min_delta=threshold, patience=1)]).history["loss"]',
            )
        ],
        {"check_train": 1},
    ),
    "nothing is trained": (
        [("answer_train", "train_model", "return [1.0 / (k + 1) for k in range(max_epochs)]")],
        {"check_train": 5},
    ),
}

# Right answers in other words → changes.
RIGHT = {
    "the solution": [],
    "an error of one's own": [
        (
            "answer_read_stroke",
            "def read_stroke",
            "class Broken(ValueError):\n    pass\n\n\ndef read_stroke",
        ),
        ("answer_read_stroke", "raise ValueError", "raise Broken"),
        ("answer_read_segment", "raise ValueError", "raise Broken"),
        ("answer_pad", "raise ValueError", "raise Broken"),
    ],
    "a decoding error": [("answer_pad", "raise ValueError(f", "raise UnicodeError(f")],
    "states stacked": [
        (
            "answer_lstm",
            "return sigmoid(a_o) * np.tanh(c), c",
            "return np.stack((sigmoid(a_o) * np.tanh(c), c))",
        )
    ],
    "states in a list": [
        (
            "answer_lstm",
            "return sigmoid(a_o) * np.tanh(c), c",
            "return [sigmoid(a_o) * np.tanh(c), c]",
        )
    ],
    "states in a dict": [
        (
            "answer_lstm",
            "return sigmoid(a_o) * np.tanh(c), c",
            'return {"h": sigmoid(a_o) * np.tanh(c), "c": c}',
        )
    ],
    "mean and deviation as one array": [
        (
            "answer_scale",
            "return steps.mean(axis=0), steps.std(axis=0)",
            "return np.array([steps.mean(axis=0), steps.std(axis=0)])",
        )
    ],
    "the choice as an array": [
        (
            "answer_choose",
            "return list(max(groups, key=rank))",
            "return np.array(max(groups, key=rank))",
        )
    ],
    "the choice as a tuple": [
        ("answer_choose", "return list(max(groups, key=rank))", "return max(groups, key=rank)")
    ],
    "numbers of NumPy": [
        ("answer_stopped", "return k + 1", "return np.int32(k + 1)"),
        (
            "answer_count",
            "return total + classes * (m + 1)",
            "return np.float64(total + classes * (m + 1))",
        ),
        ("answer_count", "dense_layer = 5 * (32 + 1)", "dense_layer = np.array([5 * (32 + 1)])"),
        ("answer_confusion", "return float((", "return np.asarray(("),
    ],
    "lists for arrays": [
        ("answer_confusion", "    return matrix\n", "    return matrix.tolist()\n"),
        (
            "answer_read_stroke",
            "return numbers.reshape(-1, 2)",
            "return numbers.reshape(-1, 2).tolist()",
        ),
        ("answer_read_segment", "return np.array(rows)", "return rows"),
        (
            "answer_choose",
            "np.setdiff1d(np.arange(len(y)), held), held",
            "[int(i) for i in np.setdiff1d(np.arange(len(y)), held)], held.tolist()",
        ),
    ],
    "single precision": [
        (
            "answer_rnn",
            "return np.tanh(x @ W_x + h @ W_h + b)",
            "return np.tanh(x @ W_x + h @ W_h + b).astype(np.float32)",
        ),
        (
            "answer_rnn",
            "h = np.zeros((len(x), W_h.shape[0]))",
            "h = np.zeros((len(x), W_h.shape[0]), np.float32)",
        ),
        (
            "answer_rnn",
            "return np.stack(states, axis=1)",
            "return np.stack(states, axis=1).astype(np.float32)",
        ),
        (
            "answer_backward",
            'return {"W_x": d_W_x, "W_h": d_W_h, "b": d_b}',
            'return {k: v.astype(np.float32) for k, v in {"W_x": d_W_x, "W_h": d_W_h, "b": d_b}.items()}',
        ),
        (
            "answer_scale",
            "return (x - low) / np.where(span == 0, 1, span)",
            "return ((x - low) / np.where(span == 0, 1, span)).astype(np.float32)",
        ),
    ],
    "computed in single precision": [
        (
            "answer_backward",
            "    d_W_x = np.zeros",
            "    x, states, d_h, W_h = (a.astype(np.float32) for a in (x, states, d_h, W_h))\n    d_W_x = np.zeros",
        ),
    ],
    "a mask of numbers": [
        (
            "answer_pad",
            "return (batch != value).any(axis=-1)",
            "return (batch != value).any(axis=-1).astype(int)",
        )
    ],
    "a split of scikit-learn": [
        (
            "answer_choose",
            "split",
            "from sklearn.model_selection import train_test_split; return train_test_split(np.arange(len(y)), test_size=share, stratify=y, random_state=seed)",
        )
    ],
    "the loss as a function": [
        (
            "answer_model",
            'loss="sparse_categorical_crossentropy"',
            "loss=keras.losses.sparse_categorical_crossentropy",
        )
    ],
    "the loss as an object": [
        (
            "answer_model",
            'loss="sparse_categorical_crossentropy"',
            "loss=keras.losses.SparseCategoricalCrossentropy()",
        )
    ],
    "a rule as a callback": [
        (
            "answer_train",
            "train_model",
            """class Rule(keras.callbacks.Callback):
        before = None
        def on_epoch_end(self, epoch, logs):
            if self.before is not None and abs(logs["loss"] - self.before) < threshold:
                self.model.stop_training = True
            self.before = logs["loss"]
    return model.fit(x, y, batch_size=32, epochs=max_epochs, verbose=0, callbacks=[Rule()]).history["loss"]""",
        )
    ],
}
