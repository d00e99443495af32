"""One sentence that says from when a number may go on, and why: in English and in Chinese."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fallow.domain.rules import ONE_DAY, Choice, Traits

#: The longest unit that a span fills comes first.
_UNITS = (
    (ONE_DAY, "day", "天"),
    (timedelta(hours=1), "hour", "小时"),
    (timedelta(minutes=1), "minute", "分钟"),
    (timedelta(seconds=1), "second", "秒"),
)
#: Words of the file in Chinese; a carrier's own words (carrier, pool) stand as they are.
CLASSES_ZH = {"mobile": "移动号码", "fixed": "固定电话", "toll-free": "免费电话", "data-only": "纯数据号码"}
REASONS_ZH = {
    "ordinary": "正常销号",
    "non-payment": "欠费销号",
    "nuisance": "骚扰电话",
    "threat": "危及生命的电话",
    "fraud": "涉嫌诈骗",
    "crime": "涉案",
    "deceased": "机主去世",
    "real-name-termination": "实名不合规",
    "wrongful": "误销号",
    "data-only": "仅用于数据",
    "recall": "从买家收回",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The same sentence twice.

    Attributes:
        en: in English.
        zh: in Chinese.
    """

    en: str
    zh: str


def explain(
    choice: Choice, traits: Traits, *, disconnected_at: datetime, enrolled_at: datetime, release_at: datetime, extended: bool = False
) -> Explanation:
    """Say from when a number may go on and under which rule.

    Args:
        choice: the rule that applies and how it was chosen.
        traits: what it was chosen by.
        disconnected_at: when the former holder's line ended.
        enrolled_at: when the engine learned of it.
        release_at: the end of quarantine as it stands, with jitter or extension.
        extended: whether a person moved it later.
    """
    rule = choice.rule
    later = release_at - rule.release_at(disconnected_at, enrolled_at)
    until, ended_on, seen_on = (
        f"{_utc(release_at):%Y-%m-%d %H:%M} UTC",
        f"{_utc(disconnected_at):%Y-%m-%d}",
        f"{_utc(enrolled_at):%Y-%m-%d}",
    )
    declared, observed = rule.quarantine_for, rule.observed_for
    en = (
        f"It may go on from {until}: the later of {_en(declared)} after its line ended on {ended_on} and {_en(observed)} after its "
        f"enrolment on {seen_on}{_later_en(later, extended=extended)}; {_why_en(choice, traits)}."
    )
    zh = (
        f"该号码自 {until} 起方可进入下一步：{ended_on} 销号后满 {_zh(declared)}，且 {seen_on} 登记后满 {_zh(observed)}，以较晚者为准"
        f"{_later_zh(later, extended=extended)}；{_why_zh(choice, traits)}。"
    )
    return Explanation(en, zh)


def _why_en(choice: Choice, traits: Traits) -> str:
    sets = f" ({', '.join(choice.rule_sets)})" if choice.rule_sets else ""
    if choice.matching == 1:
        return f"one rule matches {traits}{sets}"
    if choice.matching:
        return f"{choice.matching} rules match {traits} and the strictest applies{sets}"
    return f"no rule matches {traits}, so the strictest of all {len(choice.among)} applies{sets}"


def _why_zh(choice: Choice, traits: Traits) -> str:
    number_class, reason = CLASSES_ZH.get(traits.number_class, traits.number_class), REASONS_ZH.get(traits.reason, traits.reason)
    about = "、".join(part for part in (traits.country, number_class, traits.carrier, traits.pool, reason) if part)
    sets = f"（{'、'.join(choice.rule_sets)}）" if choice.rule_sets else ""
    if choice.matching == 1:
        return f"{about}：适用一条规则{sets}"
    if choice.matching:
        return f"{about}：适用 {choice.matching} 条规则，取其中最严者{sets}"
    return f"{about}：没有适用的规则，取全部 {len(choice.among)} 条中最严者{sets}"


def _later_en(later: timedelta, *, extended: bool) -> str:
    if extended:
        return ", then moved later by an order"
    return f", plus {_en(later)} so that releases spread" if later >= timedelta(seconds=1) else ""


def _later_zh(later: timedelta, *, extended: bool) -> str:
    if extended:
        return "，后经人工指令延期"
    return f"，另加 {_zh(later)}以错开放行时间" if later >= timedelta(seconds=1) else ""


def _en(span: timedelta) -> str:
    count, unit, _ = _counted(span)
    return f"{count} {unit}{'' if count == '1' else 's'}"


def _zh(span: timedelta) -> str:
    count, _, unit = _counted(span)
    return f"{count} {unit}"


def _counted(span: timedelta) -> tuple[str, str, str]:
    """Return how many of which unit: days where they are whole, else the longest unit that fits, to one decimal."""
    for unit, en, zh in _UNITS:
        if span >= unit and not (unit == ONE_DAY and span % ONE_DAY):
            return f"{span / unit:.1f}".removesuffix(".0"), en, zh
    return f"{span.total_seconds():.1f}".removesuffix(".0"), "second", "秒"


def _utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)
