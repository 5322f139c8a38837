"""Wrong and right answers: what each loses, whatever numbers are drawn."""

WRONG = {
    "a mask that is one step too long": (
        [("answer_mask_from", "np.arange(time) < lengths", "np.arange(time) <= lengths")],
        {"check_mask_from": 2},
    ),
    "a mask of padding": (
        [("answer_mask_from", "np.arange(time) < lengths", "np.arange(time) >= lengths")],
        {"check_mask_from": 2},
    ),
    "lengths that are cut": (
        [("answer_mask_from", "if (lengths > time).any():", "if False:")],
        {"check_mask_from": 1},
    ),
    "a mean over all steps": (
        [("answer_masked_mean", "np.maximum(mask.sum(axis=1), 1)[:, None]", "mask.shape[1]")],
        {"check_masked_mean": 3},
    ),
    "padding times zero": (
        [("answer_masked_mean", "np.where(mask[:, :, None], x, 0.0)", "x * mask[:, :, None]")],
        {"check_masked_mean": 1},
    ),
    "a mean of nothing": (
        [("answer_masked_mean", "np.maximum(mask.sum(axis=1), 1)", "mask.sum(axis=1)")],
        {"check_masked_mean": 1},
    ),
    "the last step": (
        [("answer_last_state", "last_state", "return states[:, -1]")],
        {"check_last_state": 4},
    ),
    "as many steps as are real": (
        [("answer_last_state", "time - 1 - mask[:, ::-1].argmax(axis=1)", "mask.sum(axis=1) - 1")],
        {"check_last_state": 2},
    ),
    "a mean of means": (
        [
            (
                "answer_masked_loss",
                "masked_loss",
                "return np.mean([-np.log(q[m, z[m]]).mean() for q, z, m in zip(p, y, mask)])",
            )
        ],
        {"check_masked_loss": 2},
    ),
    "a loss of padding too": (
        [
            (
                "answer_masked_loss",
                "masked_loss",
                "return float(-np.log(np.take_along_axis(p, y[..., None], -1)).mean())",
            )
        ],
        {"check_masked_loss": 4},
    ),
    "one length for all batches": (
        [("answer_wasted", "len(batch) * max(batch)", "len(batch) * max(lengths)")],
        {"check_wasted": 3},
    ),
    "the last batch is filled up": (
        [("answer_wasted", "len(batch) * max(batch)", "size * max(batch)")],
        {"check_wasted": 1},
    ),
    "the last batch is left out": (
        [
            (
                "answer_wasted",
                "range(0, len(lengths), size)",
                "range(0, len(lengths) - size + 1, size)",
            )
        ],
        {"check_wasted": 1},
    ),
}

RIGHT = {
    "the solution": [],
    "a mask of numbers": [
        (
            "answer_mask_from",
            "np.arange(time) < lengths[:, None]",
            "(np.arange(time) < lengths[:, None]) * 1.0",
        )
    ],
    "a mask of lists": [
        (
            "answer_mask_from",
            "np.arange(time) < lengths[:, None]",
            "(np.arange(time) < lengths[:, None]).tolist()",
        )
    ],
    "single precision": [
        (
            "answer_masked_mean",
            "np.where(mask[:, :, None], x, 0.0)",
            "np.where(mask[:, :, None], x, 0.0).astype(np.float32)",
        ),
        ("answer_masked_loss", "return float(", "return np.float32("),
    ],
    "masked arrays": [
        (
            "answer_masked_mean",
            "masked_mean",
            "return np.ma.array(x, mask=np.broadcast_to(~mask[:, :, None], x.shape)).mean(axis=1).filled(0.0)",
        )
    ],
    "a number in an array": [
        (
            "answer_wasted",
            "return 1 - sum(lengths) / computed",
            "return np.array([1 - sum(lengths) / computed])",
        )
    ],
}
