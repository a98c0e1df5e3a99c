"""The networks there are, as the panel shows them: from their cards, without opening the weights."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from slicer.i18n import tr as _

__all__ = ["ModelInfo", "list_model_infos"]


@dataclass(frozen=True)
class ModelInfo:
    """`summary` is one line for a tool tip; `html` everything a user should know before using the network."""

    name: str
    title: str
    summary: str
    html: str
    needs: tuple = ()  # roles that may not be missing


def list_model_infos() -> list:
    """One ModelInfo a network that finds tumours, embedded ones first. Raises BrainTumorSegError when a card cannot be read."""
    from braintumorseg.model_zoo import list_models

    return [_info(model.card) for model in list_models() if model.card.finds == "tumour"]


def _info(card) -> ModelInfo:
    cases = sum(int(one.get("cases") or 0) for one in card.training_data)
    summary = _("{task}. Licence: {licence}. {intended}").format(task=card.task, licence=card.licence, intended=card.intended_use)
    return ModelInfo(card.name, f"{card.name} {card.version}", summary, _html(card, cases),
                     tuple(role for role in card.roles if role not in card.may_be_missing))


def _html(card, cases: int) -> str:
    data = "".join(f"<li>{escape(str(one.get('name', '')))}: {one.get('cases', '?')} {_('cases')}, {escape(str(one.get('licence', '')))}</li>"
                   for one in card.training_data)
    parts = [f"<p><b>{escape(card.task)}</b> ({escape(card.name)} {escape(card.version)})</p>",
             f"<p><b>{_('Intended use')}</b>: {escape(card.intended_use)}</p>",
             f"<p><b>{_('Limits')}</b></p><ul>{''.join(f'<li>{escape(limit)}</li>' for limit in card.limits)}</ul>",
             f"<p><b>{_('Accuracy')}</b>: {_accuracy(card.metrics)}</p>",
             f"<p><b>{_('Training data')}</b> ({cases} {_('cases')})</p><ul>{data}</ul>",
             f"<p><b>{_('Licence')}</b>: {escape(card.licence)}</p>"]
    return "".join(parts)


def _accuracy(metrics) -> str:
    rows = [_("Dice {region}: mean {mean:.2f}, median {median:.2f}, worst {worst:.2f} (N = {n})").format(
        region=escape(region), mean=row["mean"], median=row["median"], worst=row["worst"], n=row["n"])
        for region, row in (metrics or {}).get("dice", {}).items() if row.get("n")]   # of no case there is no score
    if not rows:
        return _("not measured")
    return escape(metrics.get("definition", "")) + "<ul>" + "".join(f"<li>{row}</li>" for row in rows) + "</ul>"
