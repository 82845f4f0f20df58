"""How latency, input and output tokens hang together: correlations, lines, and whether the lines of packages differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmeval.scores.latency import correlations

FEWEST = 8  # points of a line or a correlation

Array = NDArray[np.float64]
Points = tuple[Sequence[float], Sequence[float]]  # output tokens, latency in seconds
Matrix = dict[str, dict[str, float | None]]


def matrices(columns: Mapping[str, Sequence[float]]) -> dict[str, Matrix]:
    """{"pearson": matrix, "spearman": matrix} of columns of one length; None where a column is constant.

    Spearman's is Pearson's of the ranks, ties sharing their mean rank. Raises ValueError where values are few.
    """
    from scipy.stats import rankdata

    count = min(map(len, columns.values()))
    if count < FEWEST:
        raise ValueError(f"a correlation needs at least {FEWEST} requests with token counts; there are {count}")
    ranks = {name: [float(rank) for rank in rankdata(values)] for name, values in columns.items()}
    return {"pearson": correlations(columns), "spearman": correlations(ranks)}


def line(points: Points) -> dict[str, float]:
    """Latency against output tokens by least squares, the slope with its 95 % interval (Student's t).

    Raises ValueError where points are few, or all answers have one length.
    """
    from statsmodels.regression.linear_model import OLS

    _check_points(points)
    tokens, seconds = (np.asarray(column, dtype=float) for column in points)
    fit = OLS(seconds, np.column_stack([np.ones_like(tokens), tokens])).fit()
    _check_spread(seconds)
    low, high = fit.conf_int()[1]
    return {
        "intercept_s": float(fit.params[0]), "s_per_token": float(fit.params[1]),
        "low": float(low), "high": float(high),
        "r_squared": float(fit.rsquared), "count": int(fit.nobs),
    }  # fmt: skip


def differ(packages: Mapping[str, Points]) -> dict[str, Any]:
    """Whether the packages' lines are one and the same.

    F tests of nested models by least squares: a line a package against one line for all ("lines"), and against
    parallel ones ("slopes": the interaction of package and tokens). `p_robust` is Wald's test with White's covariance
    as MacKinnon & White corrected it (HC3): it holds too where long answers scatter more than short ones, which under
    load they do. Packages without a line of their own are left out and named.
    Raises ValueError where fewer than two are left, or no point is off its line.
    """
    from statsmodels.regression.linear_model import OLS

    compared, left_out = {}, {}
    for name, points in packages.items():
        try:
            _check_points(points)
            compared[name] = points
        except ValueError as error:
            left_out[name] = str(error)
    if len(compared) < 2:
        raise ValueError(
            f"lines of packages are compared where two have one; here {len(compared)} of {len(packages)} have"
        )
    seconds = np.concatenate([np.asarray(ys, dtype=float) for _, ys in compared.values()])
    full, parallel, one = _designs(compared)
    fit = OLS(seconds, full).fit()
    if fit.ssr <= 1e-18 * float(seconds @ seconds):
        raise ValueError("every point lies on its line: there is no scatter to compare a difference with")
    robust = fit.get_robustcov_results("HC3")
    count = len(compared)
    slopes = np.eye(full.shape[1])[count + 1 :]  # columns: 1, package 2.., tokens, package 2.. x tokens
    lines = np.vstack([np.eye(full.shape[1])[1:count], slopes])
    comparison: dict[str, Any] = {"packages": list(compared), "left_out": left_out, "requests": len(seconds)}
    for name, reduced, zero in (("lines", one, lines), ("slopes", parallel, slopes)):
        f, p, between = fit.compare_f_test(OLS(seconds, reduced).fit())
        comparison[name] = {
            "f": float(f), "p": float(p), "df": [int(between), int(fit.df_resid)],
            "p_robust": float(np.squeeze(robust.f_test(zero).pvalue)),
        }  # fmt: skip
    return comparison


def _designs(packages: Mapping[str, Points]) -> tuple[Array, Array, Array]:
    """[requests, columns] of: a line a package; parallel lines; one line."""
    tokens = np.concatenate([np.asarray(xs, dtype=float) for xs, _ in packages.values()])
    number = np.repeat(np.arange(len(packages)), [len(xs) for xs, _ in packages.values()])
    others = (number[:, None] == np.arange(1, len(packages))).astype(float)
    one = np.column_stack([np.ones_like(tokens), tokens])
    parallel = np.column_stack([np.ones_like(tokens), others, tokens])
    return np.column_stack([parallel, others * tokens[:, None]]), parallel, one


def _check_points(points: Points) -> None:
    tokens, _ = points
    if len(tokens) < FEWEST:
        raise ValueError(f"a line needs at least {FEWEST} requests with token counts; there are {len(tokens)}")
    if min(tokens) == max(tokens):
        raise ValueError(f"all answers have {tokens[0]:g} tokens: a line needs two lengths")


def _check_spread(seconds: Array) -> None:
    if np.ptp(seconds) <= 1e-12 * np.abs(seconds).max():
        raise ValueError("all latencies are alike: there is nothing to explain")
