"""Relations of latency, input and output tokens: correlations, regression lines, and a comparison across packages."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmeval.scores.latency import correlations

FEWEST = 8  # points needed for a line or a correlation

Array = NDArray[np.float64]
Points = tuple[Sequence[float], Sequence[float]]  # output tokens, latency in seconds
Matrix = dict[str, dict[str, float | None]]


def matrices(columns: Mapping[str, Sequence[float]]) -> dict[str, Matrix]:
    """Pearson and Spearman matrices of columns of equal length; None for a constant column.

    Spearman's coefficient is Pearson's of the ranks, with mean ranks for ties. Raises ValueError if values are too few.
    """
    from scipy.stats import rankdata

    count = min(map(len, columns.values()))
    if count < FEWEST:
        raise ValueError(f"a correlation needs at least {FEWEST} requests with token counts; there are {count}")
    ranks = {name: [float(rank) for rank in rankdata(values)] for name, values in columns.items()}
    return {"pearson": correlations(columns), "spearman": correlations(ranks)}


def line(points: Points) -> dict[str, float]:
    """Regress latency on output tokens by least squares; the slope has a 95 % interval (Student's t).

    Raises ValueError if points are too few or all answers have the same length.
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
    """Test whether the packages' regression lines differ.

    F tests of nested least-squares models: one line per package against one common line ("lines"), and against
    parallel lines ("slopes": the interaction of package and tokens). `p_robust` is a Wald test with the HC3 covariance
    (MacKinnon & White): it allows long answers to scatter more than short ones, as they do under load. Packages without
    a line of their own are left out and named.
    Raises ValueError if fewer than two packages remain or every point lies on its line.
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
            f"the comparison needs two packages with a regression line; {len(compared)} of {len(packages)} have one"
        )
    seconds = np.concatenate([np.asarray(ys, dtype=float) for _, ys in compared.values()])
    full, parallel, one = _designs(compared)
    fit = OLS(seconds, full).fit()
    if fit.ssr <= 1e-18 * float(seconds @ seconds):
        raise ValueError("every point lies exactly on its line, so an F test is impossible")
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
    """Design matrices [requests, columns]: one line per package, parallel lines, one common line."""
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
        raise ValueError(f"all answers have {tokens[0]:g} tokens; a line needs at least two lengths")


def _check_spread(seconds: Array) -> None:
    if np.ptp(seconds) <= 1e-12 * np.abs(seconds).max():
        raise ValueError("all latencies are equal, so there is no variance to explain")
