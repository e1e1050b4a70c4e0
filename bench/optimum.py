"""The least mean latency that any policy can have: one executor, Poisson arrivals of one row, a known curve.

A semi-Markov decision process. States are the rows that wait while the executor is free; actions are to run m of n rows
now (S(m) seconds, meanwhile a Poisson number arrives) or to wait for the next arrival. The cost rate is the number of
rows in the system: by Little's law the least average cost is the arrival rate times the least mean latency. Solved by
policy iteration (Puterman, Markov Decision Processes, 11.4). States end at `states`, where nobody is let in any more.
"""

from __future__ import annotations

import numpy as np


def least_mean_latency(seconds, rate, most_rows=64, states=256):
    """Seconds. `seconds(rows)` is the time of a batch, `rate` in rows per second, below capacity."""
    spans = np.array([0.0] + [seconds(rows) for rows in range(1, most_rows + 1)])
    arrivals = [_poisson(rate * span, states) for span in spans]
    choices = [_choices(n, spans, rate, arrivals, most_rows, states) for n in range(states)]
    policy = [len(options) - 1 for options in choices]  # the largest batch; in state 0 there is only waiting
    while True:
        cost, time, onward = (
            np.array(part) for part in zip(*(c[p] for c, p in zip(choices, policy, strict=True)), strict=True)
        )
        # values and average cost g: v = cost - g * time + onward @ v, with v[0] = 0
        system = np.eye(states) - onward
        system[:, 0] = time
        solved = np.linalg.solve(system, cost)
        average, values = solved[0], np.concatenate([[0.0], solved[1:]])
        better = []
        for options, now in zip(choices, policy, strict=True):
            worth = [c - average * t + o @ values for c, t, o in options]
            least = int(np.argmin(worth))
            better.append(least if worth[least] < worth[now] - 1e-9 * abs(worth[now]) else now)
        if better == policy:
            return average / rate
        policy = better


def _choices(n, spans, rate, arrivals, most_rows, states):
    onward = np.zeros(states)
    onward[min(n + 1, states - 1)] = 1.0
    options = [(n / rate, 1 / rate, onward)] if n < states - 1 else []  # nobody else is let in there
    for rows in range(1, min(n, most_rows) + 1):
        span = spans[rows]
        onward = np.zeros(states)
        left = n - rows
        onward[left:] = arrivals[rows][: states - left]
        onward[-1] += 1.0 - onward.sum()
        options.append((n * span + rate * span * span / 2, span, onward))
    return options


def _poisson(mean, states):
    logs = np.arange(1, states)
    terms = np.concatenate([[0.0], np.cumsum(np.log(mean) - np.log(logs))]) - mean if mean else None
    return np.exp(terms) if mean else np.eye(states)[0]
