"""A plan as a drawing: Mermaid for pages that render it, SVG for everything else. Pure: text out."""

from __future__ import annotations

from html import escape

from executor.sharding.devices import NO_LIMIT
from executor.sharding.planning import Plan, Stage
from headrace.sharding import in_words

_WIDE, _HIGH, _GAP, _TOP, _LEFT = 190, 112, 130, 56, 110
_COLOURS = {"weights": "#4477aa", "values": "#66ccee", "free": "#eeeeee", "time": "#ccbb44"}


def mermaid(plan: Plan) -> str:
    """A flowchart: stages, and what passes between them and the request."""
    lines = ["flowchart LR", "  request([request])"]
    for at, stage in enumerate(plan.stages):
        label = f"stage {at} on {stage.device}<br/>{in_words(stage.peak_bytes)}<br/>{stage.seconds * 1e3:.3g} ms"
        lines.append(f'  s{at}["{label}"]')
    for at, stage in enumerate(plan.stages):
        for source, moved in sorted(stage.comes.items()):
            lines.append(f'  {"request" if source < 0 else f"s{source}"} -- "{in_words(moved)}" --> s{at}')
    lines += [f"  s{at} --> answer" for at in plan.giving]
    return "\n".join([*lines[:2], "  answer([answer])", *lines[2:]]) + "\n"


def svg(plan: Plan) -> str:
    """The same, with what each stage takes of its device's memory and of the slowest one's time."""
    width = 2 * _LEFT + len(plan.stages) * (_WIDE + _GAP) - _GAP
    skips = sum(at - source > 1 for at, stage in enumerate(plan.stages) for source in stage.comes if source >= 0)
    height = _TOP + _HIGH + 50 + 22 * skips
    slowest = max(stage.seconds for stage in plan.stages)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
        ' font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<defs><marker id="end" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
        f'<text x="16" y="24" font-size="15">{escape(plan.model)}: {len(plan.stages)} stages,'
        f" balance {plan.balance:.2f}</text>",
    ]
    for at, stage in enumerate(plan.stages):
        parts += _box(at, stage, stage.seconds / slowest)
    depth = 0
    for at, stage in enumerate(plan.stages):
        for source, moved in sorted(stage.comes.items()):
            if source >= 0 and at - source > 1:
                depth += 1
                parts.append(_below(source, at, _TOP + _HIGH + 18 + 22 * (depth - 1), in_words(moved)))
            elif source >= 0 or at == 0:
                parts.append(_arrow(_x(at) - (_GAP if at else _LEFT - 10), _x(at), in_words(moved)))
    last = _x(len(plan.stages) - 1) + _WIDE
    return "\n".join([*parts, _arrow(last, last + _LEFT - 10, "answer"), "</svg>"]) + "\n"


def _x(at: int) -> int:
    return _LEFT + at * (_WIDE + _GAP)


def _box(at: int, stage: Stage, of_slowest: float) -> list[str]:
    x, inner = _x(at), _WIDE - 20
    limit = stage.peak_bytes if stage.limit_bytes >= NO_LIMIT else stage.limit_bytes
    weights = inner * stage.weight_bytes / limit
    values = inner * (stage.peak_bytes - stage.weight_bytes) / limit
    of = "" if stage.limit_bytes >= NO_LIMIT else f" of {in_words(stage.limit_bytes)}"

    direct = stage.comes.get(-1, 0) if at else 0

    def bar(left: float, top: int, wide: float, what: str) -> str:
        return f'<rect x="{left:.1f}" y="{top}" width="{wide:.1f}" height="10" fill="{_COLOURS[what]}"/>'

    return [
        f'<rect x="{x}" y="{_TOP}" width="{_WIDE}" height="{_HIGH}" rx="6" fill="white" stroke="black"/>',
        f'<text x="{x + 10}" y="{_TOP + 20}" font-weight="bold">stage {at} on {escape(stage.device)}</text>',
        f'<text x="{x + 10}" y="{_TOP + 40}">{in_words(stage.peak_bytes)}{of}</text>',
        bar(x + 10, _TOP + 46, inner, "free"),
        bar(x + 10, _TOP + 46, weights, "weights"),
        bar(x + 10 + weights, _TOP + 46, values, "values"),
        f'<text x="{x + 10}" y="{_TOP + 78}">{stage.seconds * 1e3:.3g} ms</text>',
        bar(x + 10, _TOP + 84, inner, "free"),
        bar(x + 10, _TOP + 84, inner * of_slowest, "time"),
        *([f'<text x="{x + 10}" y="{_TOP + 107}">{in_words(direct)} of the request</text>'] if direct else ()),
    ]


def _arrow(start: int, end: int, label: str) -> str:
    y = _TOP + _HIGH // 2
    return (
        f'<line x1="{start}" y1="{y}" x2="{end}" y2="{y}" stroke="black" marker-end="url(#end)"/>'
        f'<text x="{(start + end) // 2}" y="{y - 6}" text-anchor="middle">{label}</text>'
    )


def _below(source: int, at: int, y: int, label: str) -> str:
    """Past the stages between."""
    start, end, top = _x(source) + _WIDE // 2, _x(at) + _WIDE // 2, _TOP + _HIGH
    return (
        f'<path d="M{start},{top} V{y} H{end} V{top}" fill="none" stroke="black" marker-end="url(#end)"/>'
        f'<text x="{(start + end) // 2}" y="{y - 4}" text-anchor="middle">{label}</text>'
    )
